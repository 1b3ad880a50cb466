"""``python -m validation``: one table, which says what failed, and an exit code; the whole of it is `make validate`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from validation.__main__ import LIFE, main
from validation.comparing import compare
from validation.failing import Failed
from validation.life import Life
from validation.report import Step
from validation.source import COLLECTED, IMPORTED, find_source


def good(life: Life) -> str:
    """Do something."""
    return f"{len(list(life.folder.iterdir()))} files"


def bad(_life: Life) -> str:
    """Do something else."""
    raise Failed("3 [candles] are missing")


@pytest.fixture(autouse=True)
def _no_real_candles(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CHANDLERY_REAL_CANDLES", str(tmp_path))


def test_a_step_that_fails_ends_the_life_with_1(capsys: pytest.CaptureFixture[str]) -> None:
    """The table has its sentence, and the steps that were not reached."""
    assert main([Step("first", good), Step("second", bad), Step("third", good)]) == 1
    heading, _, *lines = (line.rstrip() for line in capsys.readouterr().out.splitlines())
    assert heading == "The whole life of made-up candles, for there are no real ones here"
    first, second, third = lines
    assert first.startswith("first")
    assert "Do something" in first
    assert first.endswith("passed")
    assert "3 [candles] are missing" in second
    assert second.endswith("FAILED")
    assert third.endswith("not reached")


def test_a_life_without_a_failure_ends_with_0(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([Step("only", good)]) == 0
    assert "passed" in capsys.readouterr().out


def test_every_step_says_what_is_done() -> None:
    assert all(step.done for step in LIFE)
    assert len({step.name for step in LIFE}) == len(LIFE)


def test_the_last_bit_of_one_value_is_a_failure(tmp_path: Path) -> None:
    expected = find_source(tmp_path).coarser(COLLECTED, "1h")
    assert compare(expected, expected, "hours") == COLLECTED.count // 60
    other = expected | {"low": expected["low"].copy()}
    other["low"][7] = np.nextafter(other["low"][7], 0.0)
    with pytest.raises(Failed, match="hours has low"):
        compare(other, expected, "hours")


def test_a_candle_too_few_is_a_failure(tmp_path: Path) -> None:
    """A turnover that neither side knows is the same."""
    expected = find_source(tmp_path).candles(IMPORTED)
    assert compare(expected, expected, "imported") == IMPORTED.count
    with pytest.raises(Failed, match="other times"):
        compare({name: column[1:] for name, column in expected.items()}, expected, "imported")
