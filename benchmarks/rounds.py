"""Ways to do the same, timed side by side in rounds, so that a slow minute of the machine meets all of them."""

from __future__ import annotations

import gc
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


def _nothing() -> None:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class Way:
    """One way of doing it: ``run`` is timed, ``prepare`` is not; ``against`` names the way it is compared with."""

    name: str
    run: Callable[[], object]
    prepare: Callable[[], object] = _nothing
    against: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """How long a way took, a figure a round, and what it was compared with in the same rounds."""

    name: str
    rows: int
    against: str
    seconds: list[float] = field(default_factory=list)
    seconds_against: list[float] = field(default_factory=list)

    @property
    def rows_per_s(self) -> float:
        """The median of the rounds."""
        return self.rows / statistics.median(self.seconds)

    @property
    def spread(self) -> tuple[float, float]:
        """Rows a second in the slowest and the fastest round."""
        return self.rows / max(self.seconds), self.rows / min(self.seconds)

    @property
    def ratio(self) -> float:
        """How many times as fast as ``against``: the median of the rounds' own ratios."""
        return statistics.median(a / b for a, b in zip(self.seconds_against, self.seconds, strict=True))


def timed(ways: Sequence[Way], *, rows: int, rounds: int) -> list[Timing]:
    """Run every way once a round; each round begins with the next way."""
    seconds: dict[str, list[float]] = {way.name: [] for way in ways}
    for number in range(rounds):
        first = number % len(ways)
        for way in (*ways[first:], *ways[:first]):
            seconds[way.name].append(_seconds(way))
    return [
        Timing(
            name=way.name,
            rows=rows,
            against=way.against,
            seconds=seconds[way.name],
            seconds_against=seconds[way.against],
        )
        for way in ways
    ]


def _seconds(way: Way) -> float:
    way.prepare()
    gc.collect()
    began = time.perf_counter()
    way.run()
    return time.perf_counter() - began
