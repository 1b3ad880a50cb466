"""However a collection ends, Ctrl-C, SIGTERM or ``kill -9``, the next one goes on where the ledger says."""

from __future__ import annotations

import signal
import time

import pytest
from market import asked, assert_complete, days, pages_served, series, wait_until

from chandlery.domain.span import Spans
from chandlery.simulator import FaultKind, Simulator
from chandlery.storage.postgres import PostgreSQLStorage
from processes import Shell

SERIES = series("BTC-USDT")
WANTED = days(20)
"""96 pages, more than ten seconds at the paced rate."""
COLLECT = ("collect", "BTC-USDT", "--since", "2024-02-10")
PACED = {"CHANDLERY_DATA_COLLECTION_HISTORY_LIMIT": "20", "CHANDLERY_DATA_COLLECTION_CANDLES_LIMIT": "40"}
IN_MIDDLE = 15
PROMPTLY_S = 3.0
"""Two are promised, to whom the machine belongs; here other tests run beside."""


@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -signal.SIGKILL)],
    ids=["Ctrl-C", "SIGTERM", "kill -9"],
)
def test_the_next_run_asks_only_for_what_was_not_committed(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage, number: signal.Signals, code: int
) -> None:
    collecting = shell.start(*COLLECT, **PACED)
    wait_until(lambda: pages_served(exchange) > IN_MIDDLE)
    stopped = collecting.interrupt(number, within_s=PROMPTLY_S)
    assert stopped.code == code
    if number is not signal.SIGKILL:
        assert "Run the same again to go on." in stopped.out
        assert "Traceback" not in stopped.err

    covered = storage.ledger.covered(SERIES)
    assert 0 < covered.length < WANTED.length
    exchange.journal.clear()
    assert shell.run(*COLLECT).code == 0
    assert Spans(asked(exchange, SERIES)) == Spans([WANTED]) - covered
    assert_complete(storage, exchange, SERIES, WANTED)


@pytest.mark.parametrize("endpoint", ["time", "instruments", "history-candles"])
def test_ctrl_c_stops_in_time_although_the_exchange_is_silent(shell: Shell, exchange: Simulator, endpoint: str) -> None:
    """It accepts connections and never answers: the worst case, for nothing fails by itself."""
    exchange.arm(FaultKind.HANG, count=1_000, endpoint=endpoint, duration_s=60)
    collecting = shell.start(*COLLECT)
    wait_until(lambda: any(request.fault for request in exchange.journal.requests))
    stopped = collecting.interrupt(signal.SIGINT, within_s=PROMPTLY_S)
    assert stopped.code == 130
    assert "Traceback" not in stopped.err


def test_ctrl_c_stops_in_time_while_the_exchange_is_away(shell: Shell, exchange: Simulator) -> None:
    collecting = shell.start(*COLLECT, **PACED)
    wait_until(lambda: pages_served(exchange) > 3)
    exchange.outage(60.0)
    time.sleep(0.5)  # time enough to notice
    stopped = collecting.interrupt(signal.SIGINT, within_s=PROMPTLY_S)
    assert stopped.code == 130


@pytest.mark.parametrize("presses", [1, 2])
def test_ctrl_c_stops_although_the_database_is_locked(
    shell: Shell, exchange: Simulator, storage: PostgreSQLStorage, presses: int
) -> None:
    """Somebody holds the ledger; a write that waits for him is given up, at the latest when asked twice."""
    collecting = shell.start(*COLLECT, **PACED)
    wait_until(lambda: pages_served(exchange) > 3)
    with storage.database.connect() as outsider:
        outsider.execute("LOCK TABLE chandlery.coverage IN ACCESS EXCLUSIVE MODE")
        time.sleep(0.5)
        if presses == 2:
            collecting.process.send_signal(signal.SIGINT)
            time.sleep(0.3)  # two signals at once would be one
        assert collecting.interrupt(signal.SIGINT, within_s=PROMPTLY_S).code == 130
