"""What a server remembers of announcements is bounded, whoever looks."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from candles import START
from chandlery.storage.announcements import Announcement
from chandlery.web.live import Live


def test_only_the_last_minute_is_remembered_though_no_page_asks(monkeypatch: pytest.MonkeyPatch) -> None:
    """A server runs for months; without a page nobody asks how much it heard."""
    live = Live("")
    told = Announcement(
        exchange="okx", symbol="BTC-USDT", timeframe="1m", start=START, end=START + 60_000, inserted=2, revised=0
    )
    for second in range(3_600):
        monkeypatch.setattr("chandlery.web.live.time", SimpleNamespace(monotonic=lambda at=second: float(at)))
        live._stored(told)
    assert len(live._heard) == 61
    assert live.heard_in_last_minute() == 2 * 61
