"""No hostile candle crashes a door, gets stored, or takes a good one with it. ``make fuzz`` is the long form."""

from __future__ import annotations

import random
from pathlib import Path

import pytest

from chandlery.storage.postgres import PostgreSQLStorage
from fuzz.doors import DOORS, Fuzz
from fuzz.hostile import START, good_row, worth

THROWS = {"REST answers": 12, "stream messages": 12, "CSV files": 2, "zip files": 6, "DataFrames": 4, "records": 4}


@pytest.mark.parametrize("door", DOORS)
def test_a_door_takes_what_is_good_and_nothing_else(door: str, storage: PostgreSQLStorage, tmp_path: Path) -> None:
    fuzz = Fuzz(storage, tmp_path)
    storage.require_schema()
    for seed in range(THROWS.get(door, 12)):
        fuzz.throw(door, seed)
    assert fuzz.bad_rows() == 0
    assert door == "listings" or fuzz.counts["stored"] > 100


def test_the_judge_of_the_doors_believes_a_good_row_and_no_bad_one() -> None:
    row = good_row(random.Random(0), START)
    assert len(list(worth(row))) == 2
    for cell, value in ((1, "1_000"), (2, "0.5"), (3, "NaN"), (4, True), (0, "1704067200001"), (0, None)):
        assert not list(worth([*row[:cell], value, *row[cell + 1 :]]))
