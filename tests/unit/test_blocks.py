"""Memory is lent again only when nobody can see it any more."""

from __future__ import annotations

import gc

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from chandlery.storage.blocks import Blocks

ROWS, COLUMNS = 7, 200_000


def address(array: np.ndarray) -> int:
    return int(array.ctypes.data)


def test_memory_that_nobody_sees_any_more_is_lent_again() -> None:
    blocks = Blocks()
    first = address(blocks.lend(ROWS, COLUMNS))
    gc.collect()
    assert address(blocks.lend(ROWS, COLUMNS)) == first
    assert address(blocks.lend(ROWS, COLUMNS - 1_000)) == first


def test_whoever_keeps_the_last_array_until_he_has_the_next_needs_two_blocks() -> None:
    blocks = Blocks()
    addresses = []
    for _ in range(6):
        held = blocks.lend(ROWS, COLUMNS)
        addresses.append(address(held))
    assert len(set(addresses)) == 2


VIEWS = {
    "a row": lambda block: block[3],
    "a few values": lambda block: block[2, 5:9],
    "whole numbers": lambda block: block[0].view(np.int64),
    "an Arrow array": lambda block: pa.array(block[1]),
    "a slice of an Arrow table": lambda block: pa.table({"close": block[1]}).slice(5, 3),
    "what Arrow gives to numpy": lambda block: pa.table({"close": block[1]})["close"].to_numpy(),
    "a frame": lambda block: pd.DataFrame({"close": block[4]}, copy=False),
    "a column of a frame": lambda block: pd.DataFrame({"close": block[4]}, copy=False)["close"],
    "another view of a view": lambda block: block[1:][2][::-1].T,
}


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_memory_that_somebody_sees_is_not_lent_again(view) -> None:  # type: ignore[no-untyped-def]
    blocks = Blocks()
    block = blocks.lend(ROWS, COLUMNS)
    block[:] = 1.0
    seen = view(block)
    before = str(seen)
    del block
    gc.collect()
    others = [blocks.lend(ROWS, COLUMNS) for _ in range(3)]
    for other in others:
        other[:] = 2.0
    del others, other
    blocks.lend(ROWS, COLUMNS)[:] = 3.0
    assert str(seen) == before


def test_a_small_array_does_not_hold_a_large_block() -> None:
    blocks = Blocks()
    large = address(blocks.lend(ROWS, COLUMNS * 5))
    assert address(blocks.lend(ROWS, COLUMNS)) != large
    assert blocks.lend(ROWS, 10).base is None


def test_two_readers_at_a_time_get_memory_of_their_own() -> None:
    blocks = Blocks()
    one, other = blocks.lend(ROWS, COLUMNS), blocks.lend(ROWS, COLUMNS)
    assert not np.shares_memory(one, other)
    blocks.clear()
    assert not np.shares_memory(other, blocks.lend(ROWS, COLUMNS))
