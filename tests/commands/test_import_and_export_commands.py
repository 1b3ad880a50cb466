"""``import`` and ``export`` as their users run them, with the examples of the how-to among them."""

from __future__ import annotations

import gzip
import json
import re
import shlex
import signal
import zipfile
from pathlib import Path

import psycopg
import pytest
from market import wait_until

from candles import candles, series
from chandlery.cli import main
from chandlery.storage.csv_format import HEADER, encode
from chandlery.storage.postgres import PostgreSQLStorage
from processes import REPOSITORY, Shell, as_url, postgres_variables

PAGE = REPOSITORY / "docs" / "migrate-from-csv.md"
EXAMPLES = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE.read_text(), flags=re.DOTALL) for line in block.splitlines()
]
ROWS = [f"{1_704_067_200_000 + 60_000 * n},1,2,0.5,1.5,{n}" for n in range(20)]


@pytest.fixture
def desk(database_url: str, tmp_path: Path) -> Shell:
    """A shell with the test's database and no exchange."""
    return Shell(folder=tmp_path, variables={"CHANDLERY_DATABASE_URL": as_url(database_url)})


@pytest.fixture
def here(desk: Shell, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The same folder and database for commands in this process, which start at once."""
    monkeypatch.chdir(desk.folder)
    monkeypatch.setenv("CHANDLERY_DATABASE_URL", desk.variables["CHANDLERY_DATABASE_URL"])
    return desk.folder


def klines(folder: Path, count: int = 100) -> Path:
    """The specification's folder of files."""
    klines = folder / "data" / "klines"
    klines.mkdir(parents=True)
    for of in (series(), series("ETH-USDT-SWAP", "1h")):
        (klines / f"{of.symbol}_{of.timeframe}.csv").write_bytes(HEADER + encode(candles(of, count)))
    return klines


def prepare(folder: Path, database_url: str) -> None:
    """Everything that the examples of the how-to name."""
    klines(folder)
    (folder / "BTCUSDT_1h.csv").write_text("date,open,high,low,close,volume\n2024-01-01 01:00:00,1,2,0.5,1.5,7\n")
    (folder / "prices.csv").write_text("\n".join(["T,O,H,L,C,V", *ROWS, ""]))
    shuffled = [",".join(row.split(",")[n] for n in (0, 1, 4, 2, 3, 5)) for row in ROWS]
    (folder / "BTCUSD.csv.gz").write_bytes(gzip.compress("\n".join([*shuffled, ""]).encode()))
    (folder / "bulk").mkdir()
    header = "instrument_name,open,high,low,close,vol,vol_ccy,vol_quote,open_time,confirm"
    with zipfile.ZipFile(folder / "bulk" / "BTC-USDT-candlesticks-2024-01-02.zip", "w") as archive:
        archive.writestr("a.csv", f"{header}\nBTC-USDT,1,2,0.5,1.5,7,8,9,1704153600000,1\n")
    with psycopg.connect(database_url) as connection:
        connection.execute(
            'CREATE TABLE public.ohlcv_data (symbol text, "interval" text, "timestamp" timestamp, open_price numeric,'
            " high_price numeric, low_price numeric, close_price numeric, volume numeric)"
        )
        connection.execute("INSERT INTO public.ohlcv_data VALUES ('XRP-USDT', '1d', '2024-01-01', 1, 1, 1, 1, 1)")


def test_every_example_of_the_how_to_does_what_it_says(
    here: Path, database_url: str, storage: PostgreSQLStorage, capsys: pytest.CaptureFixture[str]
) -> None:
    prepare(here, database_url)
    assert len(EXAMPLES) >= 9
    for example in EXAMPLES:
        assert main(shlex.split(example)[1:]) == 0, (example, capsys.readouterr())
    stored = {(e.series.exchange, str(e.series)): e.spans.length for e in storage.ledger.entries()}
    assert set(stored) == {
        ("okx", "BTC-USDT 1m"),
        ("okx", "BTC-USDT 1h"),
        ("okx", "ETH-USDT-SWAP 1h"),
        ("bitfinex", "BTC-USD 1m"),
        ("okx", "XRP-USDT 1d"),
    }
    exported = {path.name for path in (here / "exported").rglob("*.*")}
    assert exported == {
        *("BTC-USDT_1m.csv", "BTC-USDT_1h.csv", "ETH-USDT-SWAP_1h.csv", "BTC-USD_1m.csv", "XRP-USDT_1d.csv"),
        "BTC-USDT_1h.parquet",
    }


def test_results_are_told_to_people_and_to_programs(desk: Shell) -> None:
    folder = klines(desk.folder)
    with (folder / "BTC-USDT_1m.csv").open("a") as more:
        more.write("2024-01-01 09:00:00,1,2,0.5,1.5\n2024-01-01 09:01:00Z,1,2,x,1.5,1,\n")
    dry = desk.run("import", folder, "--dry-run")
    assert dry.code == 1
    assert "BTC-USDT 1m" in dry.out
    assert "200 candles would be stored, 200 of them new; 2 rows rejected." in dry.out
    assert "1 rejected: 5 columns instead of 7" in dry.err
    told = desk.run("import", folder, "--verify", "--json")
    assert told.code == 1
    by_symbol = {source["series"][0]["symbol"]: source for source in told.json["sources"]}
    assert by_symbol["BTC-USDT"]["rejected"] == 2
    assert by_symbol["BTC-USDT"]["reasons"] == {"unreadable low": 1, "5 columns instead of 7": 1}
    assert by_symbol["ETH-USDT-SWAP"]["verified"] == {"compared": 100, "differences": {}}
    again = desk.run("import", folder / "ETH-USDT-SWAP_1h.csv", "--json")
    assert again.code == 0
    assert (again.json["sources"][0]["inserted"], again.json["sources"][0]["unchanged"]) == (0, 100)


def test_verifying_ends_with_1_if_anything_differs(
    here: Path, database_url: str, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = str(klines(here))
    assert main(["import", folder]) == 0
    with psycopg.connect(database_url) as connection:
        connection.execute("UPDATE chandlery.candle_1h SET close = high WHERE open_time = '2024-01-02 00:00Z'")
    assert main(["import", folder, "--dry-run", "--verify"]) == 1
    assert "100 candles compared with what is stored: close 1." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ((), "files or a table have to be named"),
        (("nowhere",), "nothing to import at nowhere"),
        (("bad.csv",), "tells the symbol and the timeframe"),
        (("bad.csv", "--timezone", "Mars"), "no time zone"),
        (("bad.csv", "--time-unit", "years"), "no unit of times"),
        (("bad.csv", "--columns", "time"), "names no column"),
        (("--from-table", "public.nothing"), "no table public.nothing"),
    ],
)
def test_what_cannot_be_understood_is_refused_in_a_sentence(
    arguments: tuple[str, ...], said: str, here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (here / "bad.csv").write_text("\n".join(["ts,open,high,low,close,volume", *ROWS, ""]))
    assert main(["import", *arguments]) == 2
    assert said in capsys.readouterr().err


def test_a_killed_import_is_completed_by_the_next(desk: Shell, storage: PostgreSQLStorage) -> None:
    of, count = series(), 300_000
    path = desk.folder / "BTC-USDT_1m.csv"
    path.write_bytes(HEADER + encode(candles(of, count)))
    under_way = desk.start("import", path)
    wait_until(lambda: storage.get_latest_timestamp("BTC-USDT", "1m") is not None)
    under_way.interrupt(signal.SIGKILL)
    kept = storage.ledger.covered(of).length // 60_000
    assert 0 < kept < count
    again = desk.run("import", path, "--verify", "--json")
    assert again.code == 0, again.text
    [report] = again.json["sources"]
    assert (report["inserted"], report["unchanged"]) == (count - kept, kept)
    assert report["verified"] == {"compared": count, "differences": {}}


def test_ctrl_c_is_told_and_costs_nothing(desk: Shell, storage: PostgreSQLStorage) -> None:
    path = desk.folder / "BTC-USDT_1m.csv"
    path.write_bytes(HEADER + encode(candles(series(), 300_000)))
    under_way = desk.start("import", path)
    wait_until(lambda: storage.get_latest_timestamp("BTC-USDT", "1m") is not None)
    done = under_way.interrupt(signal.SIGINT)
    assert done.code == 130
    assert "Run the same again" in done.err
    assert "Traceback" not in done.err


def test_the_specifications_script_migrates_the_folder(
    desk: Shell, database_url: str, storage: PostgreSQLStorage
) -> None:
    klines(desk.folder)
    script = ("migrate_csv_to_postgres.py", "data/klines", "--verify")
    done = Shell(folder=desk.folder, variables={}).script(*script, **postgres_variables(database_url))
    assert done.code == 0, done.text
    assert "200 candles are stored, 200 of them new" in done.out
    assert len(storage.get_ohlcv_data("ETH-USDT-SWAP", "1h")) == 100
    missing = Shell(folder=desk.folder, variables={}).script(*script)
    assert missing.code == 2
    assert "POSTGRES_DB is not set" in missing.err


def test_exports_are_told_and_nothing_is_overwritten_by_accident(
    here: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["import", str(klines(here))]) == 0
    capsys.readouterr()
    assert main(["export", "parquet", "out", "--json"]) == 0
    files = json.loads(capsys.readouterr().out)
    assert {(file["symbol"], file["candles"]) for file in files} == {("BTC-USDT", 100), ("ETH-USDT-SWAP", 100)}
    assert main(["export", "parquet", "out"]) == 2
    assert "--overwrite" in capsys.readouterr().err
    assert main(["export", "parquet", "out", "BTC-USDT", "--overwrite", "--until", "2024-01-01T00:09"]) == 0
    assert main(["export", "csv", "out", "BTC-USDX"]) == 2
    assert "Did you mean BTC-USDT" in capsys.readouterr().err
    assert main(["export", "csv", "none", "--timeframe", "3m", "--json"]) == 2
    nothing = "chandlery: no candle is stored of what is to be exported. See: chandlery status\n"
    assert capsys.readouterr() == ("", nothing)
