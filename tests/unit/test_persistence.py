"""When the database is asked again, and when not. Time is a number here: nothing sleeps."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from itertools import pairwise

import pytest

from chandlery.domain.resilience import BreakerState
from chandlery.errors import ConnectionError, DatabaseError
from chandlery.storage.resilience import LONGEST_OPEN_S, Persistence, Setback


class FakeTime:
    """A clock that only sleeping moves."""

    def __init__(self) -> None:
        self.now = 1000.0
        self.slept: list[float] = []

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


class Server:
    """Work that fails with ``error`` until ``back_at``, and remembers when it was asked."""

    def __init__(self, time: FakeTime, error: DatabaseError, back_at: float) -> None:
        self._time, self._error, self._back_at = time, error, back_at
        self.asked: list[float] = []

    def __call__(self) -> str:
        self.asked.append(self._time.now)
        if self._time.now < self._back_at:
            raise self._error
        return "done"


def gone() -> DatabaseError:
    return ConnectionError("lost PostgreSQL.", transient=True, kind="connection")


def locked() -> DatabaseError:
    return DatabaseError("lock timeout.", transient=True, kind="contention", sqlstate="55P03")


def refused_row() -> DatabaseError:
    return DatabaseError("a check.", kind="data", sqlstate="23514")


def persistence(time: FakeTime, *, patience_s: float = 1e9, seed: int = 1, **more: object) -> Persistence:
    return Persistence(
        patience_s=patience_s,
        clock=time.clock,
        sleep=time.sleep,
        rng=random.Random(seed),
        **more,  # type: ignore[arg-type]
    )


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.parametrize("outage_s", [0.1, 10.0, 120.0])
def test_work_is_done_within_five_seconds_of_the_servers_return(seed: int, outage_s: float) -> None:
    time = FakeTime()
    server = Server(time, gone(), back_at=time.now + outage_s)
    assert persistence(time, seed=seed).run(server) == "done"
    assert server.asked[-1] - (1000.0 + outage_s) <= 5.0


@pytest.mark.parametrize("seed", range(20))
def test_before_the_breaker_opens_it_backs_off_with_full_jitter_and_then_waits_one_to_four_seconds(seed: int) -> None:
    time = FakeTime()
    server = Server(time, gone(), back_at=time.now + 60)
    persistence(time, seed=seed).run(server)
    pauses = [later - earlier for earlier, later in pairwise(server.asked)]
    assert all(pause <= 0.2 * 2**number for number, pause in enumerate(pauses[:4]))
    assert all(1.0 <= pause <= LONGEST_OPEN_S for pause in pauses[4:])
    assert max(pauses[4:]) > 3.0


@pytest.mark.parametrize("seed", range(20))
def test_contention_is_backed_off_up_to_five_seconds_and_never_opens_the_breaker(seed: int) -> None:
    time = FakeTime()
    server = Server(time, locked(), back_at=time.now + 60)
    waiting = persistence(time, seed=seed)
    waiting.run(server)
    assert waiting.breaker.state(time.now) is BreakerState.CLOSED
    for number, (earlier, later) in enumerate(pairwise(server.asked)):
        assert later - earlier <= min(5.0, 0.2 * 2**number)


def test_a_refused_row_is_raised_at_once_and_ends_a_row_of_failures() -> None:
    time = FakeTime()
    waiting = persistence(time, patience_s=0.0)
    for _ in range(10):
        for _ in range(4):
            with pytest.raises(ConnectionError):
                waiting.run(Server(time, gone(), back_at=1e9))
        with pytest.raises(DatabaseError, match="a check"):
            waiting.run(Server(time, refused_row(), back_at=1e9))
    assert waiting.breaker.state(time.now) is BreakerState.CLOSED


def test_five_failures_in_a_row_open_it_whoever_met_them() -> None:
    time = FakeTime()
    waiting = persistence(time, patience_s=0.0)
    for _ in range(5):
        assert waiting.breaker.state(time.now) is BreakerState.CLOSED
        with pytest.raises(DatabaseError):
            waiting.run(Server(time, gone(), back_at=1e9))
    assert waiting.breaker.state(time.now) is BreakerState.OPEN
    server = Server(time, gone(), back_at=0)
    with pytest.raises(DatabaseError, match="lost PostgreSQL"):
        waiting.run(server)
    assert not server.asked


def test_patience_counts_from_the_first_failure_and_ends_with_the_last_error() -> None:
    time = FakeTime()
    server = Server(time, gone(), back_at=1e9)
    with pytest.raises(ConnectionError, match="lost PostgreSQL"):
        persistence(time, patience_s=30.0).run(server)
    assert 30.0 <= time.now - 1000.0 <= 30.0 + LONGEST_OPEN_S


def test_a_final_failure_is_not_tried_again() -> None:
    time = FakeTime()
    server = Server(time, DatabaseError("no such role.", kind="configuration"), back_at=1e9)
    with pytest.raises(DatabaseError, match="no such role"):
        persistence(time).run(server)
    assert len(server.asked) == 1
    assert not time.slept


def test_every_wait_is_told_before_it_begins() -> None:
    time, told = FakeTime(), list[Setback]()
    server = Server(time, gone(), back_at=time.now + 20)
    persistence(time, on_setback=told.append).run(server)
    assert [setback.attempt for setback in told] == list(range(1, len(server.asked)))
    assert [setback.wait_s for setback in told[:4]] == time.slept[:4]
    assert [setback.breaker_open for setback in told] == [False] * 4 + [True] * (len(told) - 4)


def test_attempts_to_connect_are_a_second_apart_once_one_failed() -> None:
    time = FakeTime()
    waiting = persistence(time)
    asked = []
    for _ in range(5):
        with pytest.raises(DatabaseError):
            waiting.connecting(Server(time, gone(), back_at=1e9))
        asked.append(time.now)
    assert all(later - earlier >= 1.0 for earlier, later in pairwise(asked))
    for _ in range(5):  # the next has to wait once more, and after a good one nobody has
        assert waiting.connecting(lambda: "connected") == "connected"
    assert time.now == asked[-1] + 1.0


def test_half_open_one_caller_asks_and_all_others_wait_for_his_answer() -> None:
    """Real threads: eight callers meet an open breaker; while the first asks, the other seven ask nothing."""
    waiting = Persistence(patience_s=60.0, rng=random.Random(1))
    waiting.patience_s = 0.0
    for _ in range(5):
        with pytest.raises(DatabaseError):
            waiting.run(_raising(gone()))
    waiting.patience_s = 60.0
    asking, most, lock = [0], [0], threading.Lock()
    answer = threading.Event()

    def work() -> None:
        with lock:
            asking[0] += 1
            most[0] = max(most[0], asking[0])
        answer.wait(10)

    callers = [threading.Thread(target=waiting.run, args=(work,)) for _ in range(8)]
    for caller in callers:
        caller.start()
    while not most[0]:
        threading.Event().wait(0.01)
    threading.Event().wait(0.3)
    assert most[0] == 1
    answer.set()
    for caller in callers:
        caller.join()
    assert asking[0] == 8


def _raising(error: DatabaseError) -> Callable[[], None]:
    def work() -> None:
        raise error

    return work


def test_giving_up_ends_a_wait_and_does_not_ask_a_server_that_failed() -> None:
    waiting = Persistence(patience_s=float("inf"))
    failed, ended = threading.Event(), list[BaseException]()
    waiting.on_setback = lambda _: failed.set()

    def work() -> None:
        try:
            waiting.run(_raising(gone()))
        except DatabaseError as error:
            ended.append(error)

    caller = threading.Thread(target=work)
    caller.start()
    assert failed.wait(5)
    waiting.give_up()
    caller.join(1)
    assert len(ended) == 1
    with pytest.raises(ConnectionError):
        waiting.run(lambda: pytest.fail("it was asked"))
    waiting.take_heart()
    assert waiting.run(lambda: "asked") == "asked"


def test_giving_up_sends_home_those_who_wait_for_their_turn_to_connect() -> None:
    waiting = Persistence(patience_s=float("inf"))
    ended = list[BaseException]()

    def connect() -> None:
        waiting.given_up.wait(10)
        raise gone()

    def work() -> None:
        try:
            waiting.connecting(connect)
        except DatabaseError as error:
            ended.append(error)

    callers = [threading.Thread(target=work) for _ in range(4)]
    for caller in callers:
        caller.start()
    waiting.give_up()
    for caller in callers:
        caller.join(1)
    assert len(ended) == 4
    assert len(set(ended)) == 1, "one of them asked, all heard what he did"


def test_giving_up_does_not_disturb_a_server_that_answers() -> None:
    waiting = Persistence(patience_s=float("inf"))
    waiting.give_up()
    assert waiting.run(lambda: "done") == "done"
    with pytest.raises(DatabaseError):
        waiting.run(_raising(locked()))
    assert waiting.run(lambda: "done") == "done"
