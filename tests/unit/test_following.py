"""When rounds begin, what ends them, and what is waited out, by a clock that only the test moves."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator, Sequence
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.domain.instrument import Series
from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.errors import ChandleryError, ConnectionError, DataNotFoundError, ExchangeUnavailable
from chandlery.services.collect import Collector, Follower, Round, SeriesReport, Wanted
from chandlery.services.collect.following import pause_s

WANTED = Wanted(symbols=["BTC-USDT"], timeframes=[])
MIDNIGHT = 1_709_251_200.0


@given(
    now=st.floats(1e9, 4e9, allow_nan=False),
    every=st.sampled_from([1.0, 60.0, 300.0, 3_600.0, 86_400.0]),
    lag=st.floats(0, 0.2),
)
def test_the_next_round_is_the_next_moment_after_a_turn_and_not_now(now: float, every: float, lag: float) -> None:
    pause = pause_s(now, every, lag)
    assert 0 < pause <= every
    after_turn = (now + pause) % every
    assert min(abs(after_turn - lag), abs(after_turn - lag - every), abs(after_turn - lag + every)) < 1e-5


class Rounds:
    """Collectors that do as ``script`` says, on a clock that jumps over every wait and gains ``lasts`` a round."""

    def __init__(self, *script: ChandleryError | None, lasts: float = 0.2) -> None:
        self.now = MIDNIGHT
        self.told: list[Round] = []
        self.began: list[float] = []
        self._script = list(script)
        self._lasts = lasts
        self.follower = Follower(self._one_round, 60.0, self.told.append, clock=lambda: self.now, wait=self._wait)

    def follow(self) -> None:
        asyncio.run(self.follower.run(WANTED))

    @contextlib.contextmanager
    def _one_round(self) -> Iterator[Collector]:
        yield cast("Collector", self)

    async def run(self, wanted: Wanted) -> Sequence[SeriesReport]:
        assert wanted is WANTED
        self.began.append(self.now)
        self.now += self._lasts
        failure = self._script.pop(0)
        if failure is not None:
            raise failure
        return []

    def stop(self) -> None:
        """What a collector has."""

    async def _wait(self, seconds: float) -> None:
        self.now += seconds
        if not self._script:
            self.follower.stop()


def test_a_round_begins_a_little_after_every_minute() -> None:
    rounds = Rounds(None, None, None, None)
    rounds.follow()
    first, *later = [began - MIDNIGHT for began in rounds.began]
    assert first == 0
    assert all(1 <= began % 60 <= 2 for began in later)
    assert [began // 60 for began in later] == [0, 1, 2], "the first turn was a moment ago"
    assert [told.number for told in rounds.told] == [1, 2, 3, 4]


def test_a_round_that_takes_longer_than_its_interval_misses_turns_and_is_never_made_up_for() -> None:
    rounds = Rounds(None, None, None, lasts=130.0)
    rounds.follow()
    assert {later - earlier for earlier, later in zip(rounds.began[1:], rounds.began[2:], strict=False)} == {180.0}


@pytest.mark.parametrize("failure", [ExchangeUnavailable("away"), ConnectionError("away", transient=True)])
def test_what_passes_by_itself_is_waited_out_from_the_first_round_on(failure: ChandleryError) -> None:
    rounds = Rounds(failure, failure, None, failure)
    rounds.follow()
    assert [told.error for told in rounds.told] == [failure, failure, None, failure]
    assert rounds.told[0].problems == ("away",)


def test_a_mistake_ends_it_at_once() -> None:
    rounds = Rounds(DataNotFoundError("okx does not list BTC-USDX."), None)
    with pytest.raises(DataNotFoundError, match="BTC-USDX"):
        rounds.follow()


def test_what_was_right_once_is_waited_out() -> None:
    rounds = Rounds(None, DataNotFoundError("okx does not list BTC-USDT."), None)
    rounds.follow()
    assert [bool(told.error) for told in rounds.told] == [False, True, False]


def test_a_stop_ends_the_wait_at_once() -> None:
    told: list[Any] = []

    async def run() -> None:
        rounds = Rounds(None)
        follower: Follower

        def tell_and_stop(done: Round) -> None:
            told.append(done)
            asyncio.get_running_loop().call_soon(follower.stop)

        follower = Follower(rounds._one_round, 86_400.0, tell_and_stop)
        await asyncio.wait_for(follower.run(WANTED), 10)

    asyncio.run(run())
    assert len(told) == 1


@pytest.mark.parametrize(
    ("error", "failed"),
    [(None, False), (DataNotFoundError("not listed any more"), False), (ExchangeUnavailable("down"), True)],
)
def test_what_is_not_listed_any_more_does_not_make_all_rounds_fail(error: ChandleryError | None, failed: bool) -> None:
    """Else nobody would be told that something new fails, for that is told once until a round goes well."""
    series = Series("okx", "BTC-USDT-240329", TIMEFRAMES["1m"])
    done = Round(number=1, began=0, reports=[SeriesReport(series=series, error=error)])
    assert done.went_well is not failed
    assert bool(done.problems) is bool(error)
