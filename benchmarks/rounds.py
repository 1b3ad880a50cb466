"""Ways to do the same, timed side by side in rounds, so that a slow minute of the machine meets all of them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

_WARM_S = 0.5


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of doing it: ``run`` is timed, ``prepare`` is not; ``against`` names the way it is compared with.

    ``rows`` is how many candles ``run`` handles: slow ways are given fewer, and compared by the candle. What is to be
    ``warm`` runs once untimed and then as often as half a second allows, at least once, of which the median counts: the
    garbage of the way before it is not what it is asked about. ``ours`` marks what this project made.
    """

    name: str
    run: Callable[[], object]
    prepare: Callable[[], object] = _nothing
    against: str
    rows: int
    warm: bool = False
    ours: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a way took for its ``rows``, a figure a round; ``seconds_against`` is what it was compared with.

    The latter took as long for ``rows_against`` candles, in the same rounds.
    """

    name: str
    rows: int
    against: str
    ours: bool = False
    rows_against: int
    seconds: list[float] = field(default_factory=list)
    seconds_against: list[float] = field(default_factory=list)

    @property
    def rows_per_s(self) -> float:
        """The median of the rounds."""
        return self.rows / statistics.median(self.seconds)

    @property
    def ratio(self) -> float:
        """How many times as fast a candle is as by ``against``: the median of the rounds' own ratios."""
        ratios = (a / b for a, b in zip(self.seconds_against, self.seconds, strict=True))
        return statistics.median(ratios) * self.rows / self.rows_against

    def ms_for(self, rows: int) -> tuple[float, float, float]:
        """Milliseconds for so many candles: median, fastest and slowest round."""
        scale = 1000 * rows / self.rows
        return statistics.median(self.seconds) * scale, min(self.seconds) * scale, max(self.seconds) * scale


def timed(ways: Sequence[Way], *, rounds: int) -> list[Timing]:
    """Run every way once a round; each round begins with the next way."""
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    rows = {way.name: way.rows for way in ways}
    for number in range(rounds):
        first = number % len(ways)
        for way in (*ways[first:], *ways[:first]):
            seconds[way.name].append(_seconds(way))
    return [
        Timing(
            name=way.name,
            rows=way.rows,
            against=way.against,
            ours=way.ours,
            rows_against=rows[way.against],
            seconds=seconds[way.name],
            seconds_against=seconds[way.against],
        )
        for way in ways
    ]


def _seconds(way: Way) -> float:
    way.prepare()
    gc.collect()
    if not way.warm:
        return _once(way)
    way.run()
    found = [_once(way)]
    while sum(found) < _WARM_S:
        found.append(_once(way))
    return statistics.median(found)


def _once(way: Way) -> float:
    began = time.perf_counter()
    result = way.run()
    seconds = time.perf_counter() - began
    del result  # to give memory back takes time too, which nobody waits for
    return seconds
