"""Pages of other files and a footer of ours are a Parquet file, which any reader of Parquet takes for one."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pa_parquet
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from chandlery.storage.parquet_footer import MAGIC, StoredColumn, footer

whole_numbers = st.lists(st.integers(-(2**63), 2**63 - 1), min_size=1, max_size=300)


def pages(values: Sequence[float | None], kind: pa.DataType, *, nullable: bool) -> bytes:
    """The pages of a file of one column, without what stands around them."""
    table = pa.table([pa.array(values, kind)], schema=pa.schema([pa.field("x", kind, nullable=nullable)]))
    file = io.BytesIO()
    encoding = "BYTE_STREAM_SPLIT" if pa.types.is_floating(kind) else "DELTA_BINARY_PACKED"
    pa_parquet.write_table(table, file, compression="none", use_dictionary=False, column_encoding={"x": encoding})
    column = pa_parquet.read_metadata(file).row_group(0).column(0)
    return file.getvalue()[column.data_page_offset :][: column.total_compressed_size]


def put_together(rows: int, columns: dict[str, tuple[bool, bool, list[bytes]]]) -> bytes:
    """A file of ``columns``, for each of which is told whether it has doubles, and null, and its pages."""
    file, stored = MAGIC, []
    for name, (doubles, nullable, its_pages) in columns.items():
        size = sum(map(len, its_pages))
        stored.append(StoredColumn(name=name, doubles=doubles, nullable=nullable, offset=len(file), size=size))
        file += b"".join(its_pages)
    return file + footer(rows, stored)


@settings(max_examples=100)
@given(st.lists(whole_numbers, min_size=1, max_size=5))
def test_pages_of_many_files_are_one_column(parts: list[list[int]]) -> None:
    values = [value for part in parts for value in part]
    halves = [value / 2 for value in values]
    whole = [pages(part, pa.int64(), nullable=False) for part in parts]
    doubles = [pages([value / 2 for value in part], pa.float64(), nullable=False) for part in parts]
    file = put_together(len(values), {"whole": (False, False, whole), "doubles": (True, False, doubles)})
    table = pa_parquet.read_table(io.BytesIO(file))
    assert table["whole"].to_pylist() == values
    assert np.array_equal(table["doubles"].to_numpy(), halves)


def test_null_stays_where_it_was() -> None:
    parts = [[1, None, 3], [None], [5, 6]]
    file = put_together(6, {"x": (False, True, [pages(part, pa.int64(), nullable=True) for part in parts])})
    assert pa_parquet.read_table(io.BytesIO(file))["x"].to_pylist() == [1, None, 3, None, 5, 6]


def test_another_reader_takes_it_too(tmp_path: Path) -> None:
    names = [f"column_{number}" for number in range(7)]
    parts = [list(range(start, start + 50_000)) for start in (0, 50_000)]
    its_pages = [pages(part, pa.int64(), nullable=False) for part in parts]
    path = tmp_path / "together.parquet"
    path.write_bytes(put_together(100_000, dict.fromkeys(names, (False, False, its_pages))))
    found = duckdb.execute(f"SELECT count(*), sum(column_6), count(column_0) FROM '{path}'").fetchone()
    assert found == (100_000, sum(range(100_000)), 100_000)


def test_more_columns_than_the_footer_can_list_are_refused() -> None:
    its_pages = [pages([1], pa.int64(), nullable=False)]
    with pytest.raises(ValueError, match="at most 14"):
        put_together(1, {f"column_{number}": (False, False, its_pages) for number in range(14)})
