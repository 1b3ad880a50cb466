"""PostgreSQLStorage: the door to candles in PostgreSQL.

storage = PostgreSQLStorage("postgresql://user@host/database")
storage.save_ohlcv_data(frame, "BTC-USDT", "1m")
frame = storage.get_ohlcv_data("BTC-USDT", "1m", "2024-01-01", "2024-01-31")
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Self

from chandlery.domain.candle import CandleBatch, Rejected
from chandlery.domain.instrument import Series, canonical_symbol
from chandlery.domain.rules import judge
from chandlery.domain.timeframe import TIMEFRAMES, Timeframe, UtcMs, timeframe
from chandlery.errors import DamagedDataError, DatabaseError, DataNotFoundError, DataValidationError
from chandlery.storage.asked import fields_of, listed, span_of
from chandlery.storage.candles import Candles
from chandlery.storage.catalog import DEFAULT_EXCHANGE, Catalog
from chandlery.storage.clock import earlier_now
from chandlery.storage.config import PostgresConfig
from chandlery.storage.coverage import Ledger
from chandlery.storage.database import Database, DatabaseOptions
from chandlery.storage.health import Health, examine
from chandlery.storage.pace import SharedPace
from chandlery.storage.pgtime import to_datetime
from chandlery.storage.reader import Reader
from chandlery.storage.schema import require_schema
from chandlery.storage.writer import Delivery, RevisionPolicy, SaveResult, Writer

if TYPE_CHECKING:
    from datetime import datetime

    import pandas as pd

    from chandlery.storage.asked import Bound
    from chandlery.storage.intake.tables import FrameRows


# what needs pandas is imported where it is used: most commands start a third sooner without it
class PostgreSQLStorage:
    """Candles in one PostgreSQL database.

    Nothing connects before it must. The schema is made by the first call if the database has none; an older one is
    left for ``chandlery schema apply``. Safe to share between threads. Every method may raise a DatabaseError.
    """

    def __init__(
        self,
        connection_string: str,
        pool_config: DatabaseOptions | Mapping[str, Any] | None = None,
        *,
        exchange: str | None = None,
        on_revision: RevisionPolicy = "replace",
        batch_size: int = 100_000,
        supported_intervals: Sequence[str] = tuple(TIMEFRAMES),
        notify: bool = False,
    ) -> None:
        """``connection_string`` is a libpq URL or key=value string.

        ``pool_config`` takes the fields of ``DatabaseOptions``, as such or as a mapping. ``exchange`` names whose
        candles are meant; None writes as ``okx`` and reads whichever exchange has the symbol, ``okx`` first.
        ``on_revision`` says which values stay when a stored candle comes again with others; ``batch_size`` is how many
        rows one COPY carries; ``notify`` announces what is stored to those who ``chandlery.listen``.
        Raises ConfigurationError.
        """
        options = pool_config if isinstance(pool_config, DatabaseOptions) else DatabaseOptions(**(pool_config or {}))
        self.database = Database(connection_string, options)
        self.catalog = Catalog(self.database)
        self.ledger = Ledger(self.database, self.catalog)
        self.pace = SharedPace(self.database)
        self.reader = Reader(self.database, self.catalog, self._remember_damage)
        self.writer = Writer(
            self.database, self.catalog, on_revision=on_revision, rows_per_copy=batch_size, notify=notify
        )
        self._exchange = exchange
        self._intervals = tuple(supported_intervals)
        self._schema_checked = False

    @classmethod
    def from_config(cls, config: PostgresConfig) -> Self:
        """Connect as a ``PostgresConfig`` says."""
        return cls(
            config.conninfo(),
            DatabaseOptions(
                pool_size=config.pool_size,
                max_overflow=config.max_overflow,
                pool_timeout_s=config.pool_timeout,
                pool_recycle_s=config.pool_recycle,
                pool_pre_ping=config.pool_pre_ping,
            ),
            batch_size=config.batch_size,
            supported_intervals=config.supported_intervals,
        )

    @classmethod
    def from_env(cls) -> Self:
        """Connect as POSTGRES_HOST, _PORT, _DB, _USER, _PASSWORD and _SSL_MODE say. Raises ConfigurationError."""
        return cls.from_config(PostgresConfig.from_env())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def __repr__(self) -> str:
        return f"PostgreSQLStorage({self.database.name})"

    def close(self) -> None:
        """Give all connections back."""
        self.reader.close()
        self.pace.close()
        self.database.close()

    def save_ohlcv_data(self, df: pd.DataFrame, symbol: str, interval: str) -> SaveResult:
        """Store a frame of closed candles in one transaction: all good rows or none.

        Columns: ``timestamp`` (or a DatetimeIndex), ``open`` or ``open_price`` and so on, ``volume`` in base currency,
        ``quote_volume`` if known. Times are aware, naive UTC, or integer milliseconds, and mean the open of the bar.
        Rows that break a rule go to the table ``rejected`` with the reason. Saving the same again changes nothing.

        Raises DataValidationError for a frame that cannot be understood as a whole.
        """
        from chandlery.storage.intake.frames import rows_from_frame

        series = self._series(self._exchange or DEFAULT_EXCHANGE, symbol, interval)
        self.require_schema()
        rows = rows_from_frame(df, series)
        return self.writer.write([_delivery(rows, earlier_now(self.database))])

    def bulk_insert(self, records: Sequence[Mapping[str, Any]]) -> int:
        """Store records of any number of series in one transaction; the number of new candles.

        Each record has ``symbol``, ``interval`` and the columns of ``save_ohlcv_data``.
        """
        return self.save_records(records).inserted

    def save_records(self, records: Sequence[Mapping[str, Any]]) -> SaveResult:
        """As ``bulk_insert``, with the whole result."""
        from chandlery.storage.intake.frames import rows_from_records

        self.require_schema()
        sorted_out = rows_from_records(records, self._exchange or DEFAULT_EXCHANGE, self._intervals)
        now = earlier_now(self.database)
        deliveries = [_delivery(rows, now) for rows in sorted_out.by_series.values()]
        return self.writer.write(deliveries, sorted_out.refused)

    def get_ohlcv_data(
        self,
        symbol: str | Sequence[str],
        interval: str | Sequence[str],
        start_date: Bound | None = None,
        end_date: Bound | None = None,
        *,
        columns: Sequence[str] | None = None,
    ) -> pd.DataFrame:
        """All stored candles that open from ``start_date`` to ``end_date``, both included as in pandas ``.loc``.

        Columns ``timestamp`` (UTC), ``open``, ``high``, ``low``, ``close``, ``volume`` (base currency),
        ``quote_volume`` (NaN where not known), oldest first; or ``columns`` of these in the order given, such as
        ``["timestamp", "close"]``: of sealed months nothing else is fetched. Never cut, never filled: what is missing
        is missing. A text such as ``2024-01-31`` as the end includes that whole day; None is the beginning or the end
        of what is stored. With a sequence of symbols or of intervals the columns ``symbol`` and ``timeframe``
        (categoricals) come first, and the rows stand by symbol and timeframe in the order asked for, then by time.
        Raises DataNotFoundError that names the symbols of which nothing is stored, and DataValidationError.
        """
        from chandlery.storage.intake.frames import columns_for, table_frame

        many = not (isinstance(symbol, str) and isinstance(interval, str))
        fields, span = fields_of(columns, many=many), span_of(start_date, end_date)
        series = self.all_stored_series(listed(symbol, "symbol"), listed(interval, "interval"))
        return table_frame(self.reader.read(series, span, columns_for(fields), unit="ns"), fields)

    def get_candles(
        self, symbol: str, interval: str, start_date: Bound | None = None, end_date: Bound | None = None
    ) -> CandleBatch:
        """The candles of one series as columns of numpy arrays."""
        return self.reader.candles(self.stored_series(symbol, interval), span_of(start_date, end_date))

    def candles(
        self, symbol: str, interval: str, start_date: Bound | None = None, end_date: Bound | None = None
    ) -> Candles:
        """The candles of one series as an object that other libraries take: ``.to_polars()``, ``.to_backtesting()``."""
        return Candles(self.get_candles(symbol, interval, start_date, end_date))

    def get_aligned(
        self, symbol: str, fine: str, coarse: str, start_date: Bound | None = None, end_date: Bound | None = None
    ) -> pd.DataFrame:
        """The candles in ``fine``, each with the last one in ``coarse`` that had closed when it opened.

        So nothing stands in a row that was not known at its ``timestamp``. Columns as in ``get_ohlcv_data``, then the
        same with ``coarse_`` before their names: NaT and NaN where no coarse candle had closed yet. The same as
        ``chandlery.aligned`` in SQL, but for the end, which is included here, and for sealed months without rows, which
        SQL does not see.
        """
        from chandlery.storage.intake.frames import aligned_frame

        candles = self.get_candles(symbol, fine, start_date, end_date)
        return aligned_frame(candles, self.reader.closed_by(self.stored_series(symbol, coarse), candles.span))

    def get_latest_candles(self, symbols: str | Sequence[str] | None = None, interval: str = "1m") -> pd.DataFrame:
        """The newest stored candle of each of ``symbols``, or of all symbols, in one query however many they are.

        Columns of the view ``ohlcv``: ``exchange``, ``symbol``, ``timeframe``, ``timestamp`` and so on, by exchange
        and symbol. A symbol without candles in this interval has no row; one that is not stored at all raises
        DataNotFoundError.
        """
        from chandlery.storage.intake.frames import latest_frame

        self.require_schema()
        bar = self._timeframe(interval)
        names = (
            None
            if symbols is None
            else [s.symbol for s in self.all_stored_series(listed(symbols, "symbol"), [interval])]
        )
        return latest_frame(self.reader.latest(bar, names, self._exchange))

    def get_latest_timestamp(self, symbol: str, interval: str) -> datetime | None:
        """The open time of the newest stored candle, aware, UTC; None if there is none."""
        try:
            newest = self.reader.latest_open_time(self.stored_series(symbol, interval))
        except DataNotFoundError:
            return None
        return None if newest is None else to_datetime(newest)

    def get_available_intervals(self, symbol: str) -> list[str]:
        """The timeframes in which candles of ``symbol`` are stored, shortest first."""
        self.require_schema()
        wanted = canonical_symbol(symbol)
        entries = [entry.series for entry in self.ledger.entries() if entry.held]
        names = {s.timeframe.name for s in entries if s.symbol == wanted and self._exchange in (None, s.exchange)}
        return [name for name in TIMEFRAMES if name in names]

    def health_check(self) -> Health:
        """What ``chandlery doctor`` looks at in the database: connection, server, permissions, schema."""
        return examine(self.database)

    def get_pool_stats(self) -> dict[str, int]:
        """Counters of the connection pool: pool_size, pool_available, requests_num, requests_waiting and others."""
        return self.database.pool_stats()

    def require_schema(self) -> None:
        """Make the schema if there is none. Raises SchemaError if it is older or newer than this program."""
        if not self._schema_checked:
            require_schema(self.database)
            self._schema_checked = True

    def stored_series(self, symbol: str, interval: str) -> Series:
        """The series that a reader means. Raises DataNotFoundError if nothing of the symbol is stored."""
        return self.all_stored_series([symbol], [interval])[0]

    def all_stored_series(self, symbols: Sequence[str], intervals: Sequence[str]) -> list[Series]:
        """Every symbol in every interval, in this order. Raises DataNotFoundError that names all unknown symbols."""
        self.require_schema()
        bars = [self._timeframe(interval) for interval in dict.fromkeys(intervals)]
        names = list(dict.fromkeys(canonical_symbol(symbol) for symbol in symbols))
        exchanges = self.catalog.exchanges_of(names, self._exchange)
        return [Series(exchanges[name], name, bar) for name in names for bar in bars]

    def _remember_damage(self, series: Series, error: DamagedDataError) -> None:
        """For ``chandlery status``; whoever may only read still reads."""
        with contextlib.suppress(DatabaseError):
            self.ledger.remember_error(series, {"message": str(error)})

    def _series(self, exchange: str, symbol: str, interval: str) -> Series:
        return Series(exchange, canonical_symbol(symbol), self._timeframe(interval))

    def _timeframe(self, interval: str) -> Timeframe:
        bar = timeframe(interval)
        if bar.name not in self._intervals:
            raise DataValidationError(
                f"the interval {interval} is not among the supported_intervals of this configuration.",
                hint=f"They are {', '.join(self._intervals)}.",
            )
        return bar


def _delivery(given: FrameRows, now: UtcMs) -> Delivery:
    """Judge what was handed in. What holding these candles proves is the runs they fill, and no more."""
    verdict = judge(given.rows, now=now, raw=given.raw)
    rejected: Rejected = given.rejected + verdict.rejected
    return Delivery(
        batch=verdict.accepted,
        covered=verdict.accepted.runs(),
        rejected=rejected if len(rejected) else None,
        repeated=verdict.repeated,
        rounded=given.rounded,
    )
