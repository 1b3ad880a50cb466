"""The doors through which candles come in, each thrown a batch of hostile ones; what it took is compared."""

from __future__ import annotations

import contextlib
import io
import json
import random
import re
import time
import zipfile
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pandas as pd

from chandlery.domain.candle import CandleRows
from chandlery.domain.instrument import Kind, Series, canonical_symbol
from chandlery.domain.rules import judge
from chandlery.domain.span import Span, Spans
from chandlery.domain.timeframe import timeframe
from chandlery.errors import ChandleryError
from chandlery.exchange.okx import candle_files, paging, stream_wire, wire
from chandlery.exchange.source import CandleFile
from chandlery.services.bulk_import.given import Told, find_sources
from chandlery.services.bulk_import.run import Manner, import_sources
from chandlery.storage.delivery import Delivery
from chandlery.storage.postgres import PostgreSQLStorage
from fuzz.hostile import (
    CONFIRM,
    MINUTE,
    START,
    SYMBOLS,
    TEXTS,
    THINGS,
    TIME,
    Row,
    Values,
    hostile_body,
    hostile_rows,
    plain,
    worth,
)

EVER = Span(0, 4_102_444_800_000)
NAMES = ("timestamp", "open", "high", "low", "close", "volume", "volume_currency", "quote_volume", "confirmed")
DAY = 1_440

_NO_NUMBER = re.compile(r"(?<=[\[ ])-?(NaN|Infinity)(?=[,\]])")
_MARKS = re.compile('[,;"\r\n\ud800]')

BAD_ROWS = """
SELECT count(*) FROM chandlery.candle
 WHERE NOT (low > 0 AND low <= least(open, close) AND high >= greatest(open, close) AND high < 'Infinity'
            AND base_volume >= 0 AND base_volume < 'Infinity' AND (quote_volume >= 0 AND quote_volume <> 'Infinity')
            AND open_time >= '2009-01-01Z' AND open_time <= now() AND date_trunc('minute', open_time) = open_time)
"""


class Failed(AssertionError):
    """A door that crashed, stored what was not said, or lost what was; the message has the seed."""


@dataclass
class Fuzz:
    """Throws batches at the doors. ``counts`` has cases, batches refused as a whole, and candles stored, by door."""

    storage: PostgreSQLStorage
    folder: Path
    counts: Counter[str] = field(default_factory=Counter)
    _number: int = 0

    def throw(self, door: str, seed: int) -> int:
        """One batch at one door; how many cases that were."""
        rng = random.Random(f"{door} {seed}")
        self._number += 1
        series = Series("okx", f"F{self._number}-USDT", timeframe("1m"))
        batch = Batch(rng, series, self)
        try:
            DOORS[door](batch)
        except ChandleryError:
            self.counts[f"{door}: refused"] += 1
            batch.whole = False
        except Exception as error:
            raise Failed(f"{door} crashed, seed {seed}: {error!r}") from error
        self._compare(batch, f"{door}, seed {seed}")
        self.counts[f"{door}: cases"] += batch.cases
        return batch.cases

    def _compare(self, batch: Batch, what: str) -> None:
        stored = self.storage.reader.candles(batch.series, EVER)
        columns = (stored.open, stored.high, stored.low, stored.close, stored.base_volume)
        there = dict(zip(stored.open_time.tolist(), zip(*(c.tolist() for c in columns), strict=True), strict=True))
        self.counts["stored"] += len(there)
        if batch.garbled:  # nobody can say what a garbled text says; the rules are looked at in the end
            return
        may: dict[int, set[Values]] = {}
        for row in batch.rows:
            for moment, values in worth(row):
                may.setdefault(moment, set()).add(values)
        for moment, values in there.items():
            if values not in may.get(moment, ()):
                raise Failed(
                    f"{what}: stored {values} at {moment}, of {[r for r in batch.rows if str(moment) in str(r[0])]}"
                )
        lost = batch.surely_good() - there.keys() if batch.whole else ()
        if lost:
            first = next(row for row in batch.rows if str(row[TIME]) == str(min(lost)))
            raise Failed(f"{what}: lost {len(lost)} good candles, the first is {first}")

    def bad_rows(self) -> int:
        """How many stored rows break a rule, counted by the database itself."""
        (count,) = self.storage.database.transact(lambda connection: connection.execute(BAD_ROWS).fetchone())
        return int(count)


@dataclass
class Batch:
    """The rows of one throw, and how the door's outcome may be judged."""

    rng: random.Random
    series: Series
    fuzz: Fuzz
    rows: list[Row] = field(default_factory=list)
    cases: int = 0
    garbled: bool = False
    whole: bool = True

    def make(self, count: int, *, things: bool, times: bool) -> list[Row]:
        """New rows of the batch."""
        self.rows = hostile_rows(self.rng, count, things=things, times=times)
        self.cases += count
        return self.rows

    def surely_good(self) -> set[int]:
        """Open times of rows that only text cells and no other row of their time speak of."""
        times = Counter(str(row[TIME]).strip() for row in self.rows)
        alone = [row for row in self.rows if plain(row) and times[row[TIME]] == 1]
        said = [list(worth(row)) for row in alone]
        return {candles[0][0] for candles in said if len(candles) == 2}

    def take(self, rows: CandleRows, raw: Callable[[int], str]) -> None:
        """Judge and store, as whoever collects does."""
        verdict = judge(rows, now=time.time_ns() // 1_000_000, raw=raw)
        rejected = verdict.rejected if len(verdict.rejected) else None
        delivery = Delivery(batch=verdict.accepted, covered=verdict.accepted.runs(), rejected=rejected)
        self.fuzz.storage.writer.write([delivery])


def rest(batch: Batch) -> None:
    """A page of an answer: cells of any JSON type, wrong counts of cells, garbled bodies."""
    rng = batch.rng
    rows = batch.make(300, things=rng.random() < 0.7, times=rng.random() < 0.1)
    sent = [list(row) for row in reversed(rows)]
    if rng.random() < 0.1:
        rng.choice(sent)[CONFIRM] = rng.choice(("2", "", 1, None))
    if rng.random() < 0.1:
        shape = rng.choice(sent)
        shape[:] = rng.choice((shape[:8], [*shape, "more"], [], shape * 2))
    body = _json(rng, {"code": "0", "msg": "", "data": sent})
    if rng.random() < 0.3:
        body, batch.garbled = hostile_body(rng, body), True
    kind = Kind.SPOT if rng.random() < 0.5 else Kind.SWAP
    answer = wire.candles(wire.data_of(rng.choice((200, 200, 200, 502)), body), batch.series, kind)
    asked = Span(START, START + 300 * MINUTE)
    paging.check(batch.series.timeframe, asked, answer.rows.open_time)
    kept = answer.take(answer.confirmed)
    batch.take(kept.rows, kept.raw)


def stream(batch: Batch) -> None:
    """Messages of a row or three; one that is refused is passed over, and the others count."""
    rng = batch.rng
    rows = batch.make(60, things=True, times=rng.random() < 0.5)
    batch.whole, at = False, 0
    while at < len(rows):
        size = rng.randint(1, 3)
        argument: dict[str, Any] = {"channel": "candle1m", "instId": batch.series.symbol}
        if rng.random() < 0.1:
            argument[rng.choice(("channel", "instId"))] = rng.choice(SYMBOLS)
        text = _json(rng, {"arg": argument, "data": rows[at : at + size]})
        at += size
        if rng.random() < 0.2:
            text, batch.garbled = hostile_body(rng, text), True
        with contextlib.suppress(ChandleryError):
            message = stream_wire.message(text.decode("utf-8", "replace"))
            if isinstance(message, stream_wire.Push):
                answer = wire.candles(message.data, batch.series, Kind.SPOT)
                kept = answer.take(answer.confirmed)
                batch.take(kept.rows, kept.raw)


def csv_file(batch: Batch) -> None:
    """A file of text: quotes, delimiters, NULs, line ends and bytes that are no UTF-8, where they do not belong."""
    rng = batch.rng
    rows = batch.make(2_000, things=False, times=rng.random() < 0.2)
    batch.garbled = _without_marks(rng, rows)
    end = rng.choice(("\n", "\r\n"))
    lines = [",".join(str(cell) for cell in row[:CONFIRM]) for row in rows]
    text = end.join([",".join(NAMES[:CONFIRM]), *lines, ""]).encode("utf-8", "surrogatepass")
    if rng.random() < 0.3:
        text, batch.garbled = hostile_body(rng, text), True
    path = batch.fuzz.folder / f"{batch.series.symbol}_1m.csv"
    path.write_bytes(text)
    told = Told.of(symbol=batch.series.symbol, timeframe_name="1m", exchange=None, columns=None, unit="ms", zone="UTC")
    [report] = import_sources(batch.fuzz.storage, find_sources([str(path)]), told, Manner())
    path.unlink()
    if report.error is not None:
        raise report.error


def zip_file(batch: Batch) -> None:
    """A day of the exchange's files: its rows, its CSV and its zip garbled."""
    rng = batch.rng
    rows = batch.make(DAY, things=False, times=rng.random() < 0.1)
    batch.garbled = _without_marks(rng, rows)
    lines = [",".join(candle_files.COLUMNS)]
    lines += [",".join(map(str, (batch.series.symbol, *row[1:8], row[TIME], row[CONFIRM]))) for row in rows]
    text = "\n".join([*lines, ""]).encode("utf-8", "surrogatepass")
    if rng.random() < 0.3:
        text, batch.garbled = hostile_body(rng, text), True
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr(rng.choice(("a.csv", "../../a.csv", "/etc/passwd")), text)
    body = packed.getvalue()
    if rng.random() < 0.3:
        body, batch.garbled = hostile_body(rng, body), True
    span = Span(START, START + DAY * MINUTE)
    page = candle_files.read(body, CandleFile(name="a", url="", span=span), batch.series, Kind.SPOT, Spans([span]))
    batch.whole = False  # it may leave rows to the pages
    batch.take(page.rows, page.raw)


def frame(batch: Batch) -> None:
    """A frame whose columns hold objects of all kinds."""
    rng = batch.rng
    rows = batch.make(1_000, things=rng.random() < 0.7, times=rng.random() < 0.3)
    columns = dict(zip(NAMES, zip(*rows, strict=True), strict=True))
    del columns["volume_currency"], columns["confirmed"]
    table = pd.DataFrame({name: pd.Series(list(cells), dtype=object) for name, cells in columns.items()})
    if not any(row[TIME] for row in rows if not str(row[TIME]).isdecimal()):
        table["timestamp"] = [int(row[TIME]) if len(str(row[TIME])) < 19 else row[TIME] for row in rows]
    if rng.random() < 0.1:
        table = table.drop(columns=rng.choice(list(table.columns)))
    if rng.random() < 0.1:
        table = table.rename(columns={rng.choice(list(table.columns)): rng.choice(("open", "x", 5, None))})
    batch.fuzz.storage.save_ohlcv_data(table, batch.series.symbol, "1m")


def records(batch: Batch) -> None:
    """Dicts of many shapes, with symbols and intervals that are none."""
    rng = batch.rng
    rows = batch.make(500, things=True, times=rng.random() < 0.3)
    batch.whole = False  # another symbol takes a row elsewhere
    made: list[Any] = []
    for row in rows:
        record: dict[Any, Any] = {"symbol": batch.series.symbol, "interval": "1m"} | dict(zip(NAMES, row, strict=True))
        del record["volume_currency"], record["confirmed"]
        if rng.random() < 0.05:
            record[rng.choice(("symbol", "interval"))] = rng.choice(SYMBOLS)
        if rng.random() < 0.02:
            record.pop(rng.choice(list(record)))
        made.append(record)
    if rng.random() < 0.05:
        made[rng.randrange(len(made))] = rng.choice(THINGS)
    batch.fuzz.storage.save_records(made)


def listing(batch: Batch) -> None:
    """The exchange's list of instruments, with names and values that are none."""
    rng = batch.rng
    names = ("instId", "baseCcy", "quoteCcy", "tickSz", "lotSz", "ctVal", "listTime", "state", "uly")
    rows: list[dict[str, Any]] = []
    for number in range(100):
        row: dict[str, Any] = dict.fromkeys(names, "1") | {"instType": "SPOT", "instId": f"L{number}-USDT"}
        if rng.random() < 0.5:
            value = rng.choice((SYMBOLS, TEXTS)[rng.randint(0, 1)])
            row[rng.choice(names)] = value if isinstance(value, str) or rng.random() < 0.01 else None
        rows.append(row)
    batch.cases, batch.whole = len(rows), False
    body = _json(rng, {"code": "0", "data": rows})
    found = wire.instruments(wire.data_of(200, hostile_body(rng, body) if rng.random() < 0.3 else body), "okx")
    assert all(canonical_symbol(instrument.symbol) == instrument.symbol for instrument in found)


DOORS: dict[str, Callable[[Batch], None]] = {
    "REST answers": rest,
    "stream messages": stream,
    "CSV files": csv_file,
    "zip files": zip_file,
    "DataFrames": frame,
    "records": records,
    "listings": listing,
}


def throws(cases: int) -> Iterator[str]:
    """The doors to throw at so that each gets its share of so many cases."""
    sizes = {"REST answers": 300, "stream messages": 60, "CSV files": 2_000, "zip files": DAY, "DataFrames": 1_000}
    for door in DOORS:
        size = {**sizes, "records": 500}.get(door, 100)
        for _ in range(-(-cases // (len(DOORS) * size))):
            yield door


def _json(rng: random.Random, value: Any) -> bytes:
    """As an exchange sends it; now and then with what JSON cannot say: NaN, or half a surrogate pair."""
    text = json.dumps(value)
    if rng.random() > 0.05:
        text = _NO_NUMBER.sub("null", text).replace("\\ud800", "?")
    return text.encode()


def _without_marks(rng: random.Random, rows: list[Row]) -> bool:
    """Take out, mostly, what moves the cells behind it in a file; whether it was left in."""
    if rng.random() < 0.2:
        return True
    for row in rows:
        row[:] = ["?" if isinstance(cell, str) and _MARKS.search(cell) else cell for cell in row]
    return False
