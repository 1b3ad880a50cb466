"""A market that repeats what was recorded."""

from __future__ import annotations

import functools
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import replace
from decimal import Decimal
from pathlib import Path
from typing import Self

import numpy as np

from chandlery.domain.candle import PRICE_COLUMNS, CandleBatch, CandleRows
from chandlery.domain.rollup import decimal_places
from chandlery.domain.span import Span
from chandlery.domain.timeframe import Timeframe, UtcMs
from chandlery.errors import ConfigurationError, DataNotFoundError, DataValidationError
from chandlery.simulator.bars import Bar
from chandlery.simulator.listings import Listing, listing
from chandlery.simulator.recording import joined_recordings, read_recording

_FINEST_TICK_PLACES = 12


class ReplayMarket:
    """Recorded candles, value for value; a candle that is missing in the recording is missing here.

    Each instrument has the one timeframe of its recording; coarser candles are exact roll-ups of it, finer ones do not
    exist. The instrument's contract is the catalogue's, its tick is the finest step among its prices. Where a file has
    no quote volume it is close x base volume.

    Raises DataValidationError for two timeframes of one instrument and for recordings that contradict each other.
    """

    def __init__(self, recordings: Iterable[CandleBatch]) -> None:
        by_symbol: dict[str, list[CandleBatch]] = defaultdict(list)
        for recording in recordings:
            by_symbol[recording.series.symbol].append(recording)
        self._recorded = {symbol: _one(symbol, batches) for symbol, batches in by_symbol.items()}
        if not self._recorded:
            raise ConfigurationError("There is no recording to replay.", hint="Name at least one file of candles.")
        self.listings: Mapping[str, Listing] = {name: _listing(batch) for name, batch in self._recorded.items()}
        self.ends_at: UtcMs | None = max(each.history_end for each in self.listings.values())
        # a series has fewer than twenty bars; all of those of fifty series stay rolled up
        self._rolled = functools.lru_cache(maxsize=1_000)(self._roll)

    @classmethod
    def from_files(cls, paths: Iterable[Path], *, symbol: str | None = None, timeframe: str | None = None) -> Self:
        """From Parquet, Feather or CSV files, of one instrument or several, of one period or several.

        Symbol and timeframe are read from each file's name unless given. Raises DataValidationError for a file that
        cannot be understood.
        """
        return cls(read_recording(Path(path), symbol=symbol, timeframe_name=timeframe) for path in paths)

    def finest(self, symbol: str) -> Timeframe:
        """The timeframe in which ``symbol`` was recorded."""
        return self._recording(symbol).series.timeframe

    def newest(self, symbol: str, bar: Bar, span: Span, count: int) -> CandleRows:
        """The newest ``count`` candles that open in ``span``, ascending, as they are when they have closed.

        Raises DataNotFoundError for an instrument that was not recorded and for a bar that its candles cannot make.
        """
        if not bar.made_of(self.finest(symbol)):
            raise DataNotFoundError(f"Candles of {self.finest(symbol)} cannot be made into {bar} candles.")
        rows = self._rolled(symbol, bar)
        start, end = np.searchsorted(rows.open_time, (span.start, span.end)).tolist()
        return rows.take(slice(max(start, end - count), end))

    def _recording(self, symbol: str) -> CandleBatch:
        found = self._recorded.get(symbol)
        if found is None:
            raise DataNotFoundError(f"There is no recording of {symbol!r}.", hint="Name its file among the files.")
        return found

    def _roll(self, symbol: str, bar: Bar) -> CandleRows:
        recording = self._recording(symbol)
        return recording if bar.timeframe == recording.series.timeframe else bar.join(recording)


def _one(symbol: str, batches: list[CandleBatch]) -> CandleBatch:
    timeframes = {batch.series.timeframe.name for batch in batches}
    if len(timeframes) > 1:
        raise DataValidationError(
            f"{symbol} was recorded in several timeframes: {', '.join(sorted(timeframes))}.",
            hint="Give the files of one of them; coarser candles are made of them.",
        )
    return joined_recordings(batches) if len(batches) > 1 else batches[0]


def _listing(recording: CandleBatch) -> Listing:
    """The catalogue's listing, with the history and the tick of the recording, alive as long as it."""
    known = listing(recording.series.symbol)
    span = recording.span
    assert span is not None, "a recording holds at least one candle"
    facts = {"tick_size": _tick(recording), "listed_at": span.start, "expires_at": None, "state": "live"}
    instrument = replace(known.instrument, **facts)  # type: ignore[arg-type]
    return replace(known, instrument=instrument, history_start=span.start, history_end=span.end)


def _tick(recording: CandleRows) -> str:
    """The power of ten of which all prices are multiples."""
    prices = np.concatenate([getattr(recording, name) for name in PRICE_COLUMNS])
    places = decimal_places(prices)
    return f"{Decimal(1).scaleb(-(_FINEST_TICK_PLACES if places is None else places)):f}"
