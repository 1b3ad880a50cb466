"""The SQL in the documentation runs, and systemd has nothing to say about the units in it."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

import psycopg
import pytest

from candles import candles, series
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.writer import Delivery

DOCS = Path(__file__).parents[2] / "docs"


def blocks(page: str, language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", (DOCS / page).read_text(), flags=re.MULTILINE | re.DOTALL)


def test_every_example_in_sql_runs_and_finds_something(storage: PostgreSQLStorage) -> None:
    storage.require_schema()
    batches = [candles(series(symbol, bar), 50) for symbol in ("BTC-USDT", "ETH-USDT") for bar in ("1m", "1h")]
    storage.writer.write([Delivery(batch=batch, covered=batch.runs()) for batch in batches])
    statements = [text for block in blocks("sql.md", "sql") for text in block.split(";\n")]
    with psycopg.connect(storage.database.conninfo) as connection:
        connection.execute("SET timezone = 'Asia/Kolkata'")
        for statement in statements:
            cursor = connection.execute(statement)  # type: ignore[call-overload]
            if cursor.description is not None and statement.strip():
                assert cursor.fetchall(), statement
        connection.rollback()


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="there is no systemd here")
def test_the_units_are_valid(tmp_path: Path) -> None:
    service, timer = blocks("scheduling.md", "ini")
    (tmp_path / "environment").touch()
    service = service.replace("/usr/local/bin/chandlery", "/bin/true").replace("/etc/chandlery", str(tmp_path))
    paths = [tmp_path / "chandlery.service", tmp_path / "chandlery.timer"]
    for path, text in zip(paths, (service, timer), strict=True):
        path.write_text(text)
    checked = subprocess.run(["systemd-analyze", "verify", *paths], capture_output=True, text=True, check=False)
    assert "chandlery" not in checked.stderr, checked.stderr
