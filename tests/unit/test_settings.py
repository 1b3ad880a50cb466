from __future__ import annotations

import json
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import ValidationError

from chandlery.domain.timeframe import TIMEFRAMES
from chandlery.errors import ConfigurationError, DataValidationError
from chandlery.setting_sources import LARGEST_FILE, variable_name
from chandlery.settings import KEYS, Settings, load_settings
from chandlery.storage.intake.bounds import parse_bound

ROOT = Path(__file__).parents[2]


@pytest.fixture(autouse=True)
def nowhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder and a configuration folder with nothing in them."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "user"))
    return tmp_path


def written(path: Path, content: dict[str, Any] | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def message_of(**arguments: Any) -> str:
    with pytest.raises(ConfigurationError) as caught:
        load_settings(**{"environ": {}, **arguments})
    return str(caught.value)


def test_without_any_configuration_the_defaults_hold() -> None:
    settings = load_settings(environ={})
    assert settings == Settings()
    assert settings.data.output == "postgres"
    assert settings.database.embedded
    assert settings.database.postgres() is None
    assert settings.database.supported_intervals == tuple(TIMEFRAMES)


def test_settings_cannot_be_changed() -> None:
    with pytest.raises(ValidationError):
        load_settings(environ={}).data.output = "csv"  # type: ignore[misc]


def test_the_command_line_beats_the_environment_beats_the_file_beats_the_defaults(tmp_path: Path) -> None:
    file = written(
        tmp_path / "f.json", {"data_collection": {"page_size": 1, "concurrency": 1, "attempts": 1}, "data": {}}
    )
    environ = {"CHANDLERY_DATA_COLLECTION_CONCURRENCY": "2", "CHANDLERY_DATA_COLLECTION_ATTEMPTS": "2"}
    overrides = {"data_collection.attempts": 3, "data_collection.page_size": None}
    collection = load_settings(file, environ, overrides).data_collection
    assert (collection.page_size, collection.concurrency, collection.attempts) == (1, 2, 3)
    assert collection.rate_share == 0.9


def test_the_file_is_the_chosen_one_then_the_variables_then_the_projects_then_the_users(tmp_path: Path) -> None:
    def page_size(chosen: Path | None = None, **environ: str) -> int:
        return load_settings(chosen, environ).data_collection.page_size

    assert page_size() == 300
    written(tmp_path / "user/chandlery/workflow.json", {"data_collection": {"page_size": 4}})
    assert page_size() == 4
    written(tmp_path / "config/workflow.json", {"data_collection": {"page_size": 3}})
    assert page_size() == 3
    named = written(tmp_path / "named.json", {"data_collection": {"page_size": 2}})
    assert page_size(CHANDLERY_CONFIG=str(named)) == 2
    chosen = written(tmp_path / "chosen.json", {"data_collection": {"page_size": 1}})
    assert page_size(chosen, CHANDLERY_CONFIG=str(named)) == 1


def test_a_file_that_was_named_must_exist(tmp_path: Path) -> None:
    assert "absent.json" in message_of(config_path=tmp_path / "absent.json")
    assert "CHANDLERY_CONFIG" in message_of(environ={"CHANDLERY_CONFIG": "absent.json"})


def test_every_setting_can_be_given_by_its_own_variable() -> None:
    variables = [variable_name(key) for key in KEYS]
    assert len(set(variables)) == len(variables)
    assert "CHANDLERY_DATA_COLLECTION_BASE_URL" in variables
    environ = {"CHANDLERY_DATABASE_HOST": "h", "CHANDLERY_DATABASE_NAME": "d", "CHANDLERY_DATABASE_USER": "u"}
    database = load_settings(environ=environ).database
    assert (database.host, database.name, database.user) == ("h", "d", "u")


def test_lists_booleans_dates_and_null_are_read_from_text() -> None:
    environ = {
        "CHANDLERY_DATA_COLLECTION_SYMBOLS": "btc/usdt, ETH-USDT-SWAP",
        "CHANDLERY_DATA_COLLECTION_DEMO": "true",
        "CHANDLERY_DATA_COLLECTION_SINCE": "2024-01-31",
        "CHANDLERY_DATA_COLLECTION_UNTIL": "2024-02-01T01:00+01:00",
        "CHANDLERY_DATABASE_RETENTION_DAYS": "null",
        "CHANDLERY_DATA_CSV_FOLDER": "",
        "OTHER_VARIABLE": "is none of ours",
        "CHANDLERY_TEST_DATABASE": "nor this",
        "CHANDLERY_REAL_CANDLES": "nor this",
    }
    settings = load_settings(environ=environ)
    assert settings.data_collection.symbols == ("BTC-USDT", "ETH-USDT-SWAP")
    assert settings.data_collection.demo is True
    assert settings.data_collection.since == date(2024, 1, 31)
    assert settings.data_collection.until == datetime(2024, 2, 1, tzinfo=UTC)
    assert settings.database.retention_days is None
    assert settings.data.csv_folder == Path("data/klines")


def test_null_in_a_variable_beats_the_file(tmp_path: Path) -> None:
    file = written(tmp_path / "f.json", {"database": {"retention_days": 30}})
    assert load_settings(file, {}).database.retention_days == 30
    assert load_settings(file, {"CHANDLERY_DATABASE_RETENTION_DAYS": "null"}).database.retention_days is None


def test_a_date_as_the_end_includes_its_day() -> None:
    day = load_settings(
        environ={}, overrides={"data_collection.since": "2024-01-31", "data_collection.until": "2024-01-31"}
    ).data_collection
    assert (day.since_ms, day.until_ms) == (1_706_659_200_000, 1_706_745_600_000)
    assert load_settings(environ={}).data_collection.until_ms is None


@pytest.mark.parametrize(
    ("text", "since", "until"),
    [
        ("2024", "2024-01-01T00:00Z", "2025-01-01T00:00Z"),
        ("2024-02", "2024-02-01T00:00Z", "2024-03-01T00:00Z"),
        ("2024-01-31", "2024-01-31T00:00Z", "2024-02-01T00:00Z"),
        ("2024-01-31+08:00", "2024-01-30T16:00Z", "2024-01-31T16:00Z"),
        ("2024-01-31T12", "2024-01-31T12:00Z", "2024-01-31T12:00Z"),
        ("2024-01-31 12:30:00.25", "2024-01-31T12:30:00.25Z", "2024-01-31T12:30:00.25Z"),
        ("2024-01-31T12:00+08:00", "2024-01-31T04:00Z", "2024-01-31T04:00Z"),
    ],
)
def test_times_are_written_as_in_a_query(text: str, since: str, until: str) -> None:
    """What ``show`` takes, ``collect`` takes too; of a moment only queries take the whole candle as the end."""
    for key, moment in (("since", since), ("until", until)):
        chosen = load_settings(environ={}, overrides={f"data_collection.{key}": text}).data_collection
        assert getattr(chosen, f"{key}_ms") == datetime.fromisoformat(moment).timestamp() * 1_000
    assert parse_bound(text, "start") == datetime.fromisoformat(since).timestamp() * 1_000


@pytest.mark.parametrize("text", ["20240131", "2024-W05", "2024-1-1", "2024-02-30", "2024-01-31_12:00", "9999-12"])
def test_what_a_query_does_not_understand_no_setting_does(text: str) -> None:
    assert "2024-01-31" in message_of(overrides={"data_collection.until": text})
    with pytest.raises(DataValidationError):
        parse_bound(text, "end")


@pytest.mark.parametrize(
    ("key", "value", "told"),
    [
        ("data.output", "parquet", "'postgres', 'csv' or 'both'"),
        ("data_collection.page_size", "301", "300"),
        ("data_collection.page_size", "0", "1"),
        ("data_collection.rate_share", "0", "greater than 0"),
        ("data_collection.rate_share", "nan", "greater than 0"),
        ("data_collection.request_timeout_s", "inf", "finite"),
        ("data_collection.symbols", "BTC USDT", "symbol"),
        ("data_collection.timeframes", "1m,7m", "Use one of 1m"),
        ("data_collection.since", "soon", "2024-01-31"),
        ("data_collection.until", "9999-12-31", "2024-01-31"),
        ("data_collection.base_url", "openapi.okx.com", "https://"),
        ("database.supported_intervals", "1m,60min", "Use one of 1m"),
        ("database.retention_days", "forever", "integer"),
        ("database.ssl_mode", "maybe", "'verify-full'"),
        ("metrics.file", "metrics.txt", ".prom"),
    ],
)
def test_a_bad_value_is_refused_with_its_place_itself_and_what_is_permitted(
    tmp_path: Path, key: str, value: str, told: str
) -> None:
    section, name = key.split(".")
    file = written(tmp_path / "f.json", {section: {name: value}})
    for message, place in (
        (message_of(config_path=file), f"{key} in {file}"),
        (message_of(environ={variable_name(key): value}), variable_name(key)),
        (message_of(overrides={key: value}), f"the option {key}"),
    ):
        assert place in message
        assert value in message
        assert told in message


def test_an_unknown_name_is_refused_with_the_nearest_known_one_and_without_its_value(tmp_path: Path) -> None:
    file = written(tmp_path / "f.json", {"database": {"pasword": "hunter2"}})
    wrong_section = written(tmp_path / "g.json", {"databse": {}})
    for message, nearest in (
        (message_of(config_path=file), "database.password?"),
        (message_of(config_path=wrong_section), "database?"),
        (message_of(environ={"CHANDLERY_DATABASE_PASWORD": "hunter2"}), "CHANDLERY_DATABASE_PASSWORD?"),
        (message_of(overrides={"database.pasword": "hunter2"}), "database.password?"),
    ):
        assert f"Did you mean {nearest}" in message
        assert "hunter2" not in message


def test_all_bad_values_are_told_at_once() -> None:
    environ = {"CHANDLERY_DATA_OUTPUT": "x", "CHANDLERY_DATABASE_PORT": "y"}
    assert all(variable in message_of(environ=environ) for variable in environ)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ('{"data": {\n  "output": }}', "line 2, column 13"),
        ('{"data": {"output": "csv", "output": "both"}}', "output stands twice"),
        ('{"data": {}, "data": {}}', "data stands twice"),
        ('{"data_collection": {"rate_share": NaN}}', "NaN"),
        ("[]", "not a JSON object"),
        ('{"data": 1}', "data"),
        ('{"data": {"output": null}}', "data.output"),
        ('{"data_collection": {"page_size": true}}', "page_size"),
        ("[" * 100_000, "JSON"),
        ("\udcff", "JSON"),
    ],
)
def test_a_file_that_makes_no_sense_is_refused_with_the_place(tmp_path: Path, text: str, told: str) -> None:
    file = tmp_path / "f.json"
    file.write_bytes(text.encode(errors="surrogateescape"))
    message = message_of(config_path=file)
    assert told in message
    assert str(file) in message


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    assert "cannot be read" in message_of(config_path=tmp_path)


def test_a_database_is_given_once_and_whole() -> None:
    url = {"CHANDLERY_DATABASE_URL": "postgresql://u:hunter2@h/db"}
    host = {"CHANDLERY_DATABASE_HOST": "h", "CHANDLERY_DATABASE_NAME": "d", "CHANDLERY_DATABASE_USER": "u"}
    assert load_settings(environ=url).database.postgres().password == "hunter2"  # type: ignore[union-attr]
    assert load_settings(environ=host).database.postgres().host == "h"  # type: ignore[union-attr]
    for environ, told in (
        (url | host, "database.url and database.host"),
        (url | {"CHANDLERY_DATABASE_PORT": "1"}, "database.url and database.port"),
        (url | {"CHANDLERY_DATABASE_PASSWORD": "other"}, "database.password"),
        ({"CHANDLERY_DATABASE_HOST": "h"}, "without database.name"),
        ({"CHANDLERY_DATABASE_PASSWORD": "hunter2"}, "neither database.url nor database.host"),
        ({"CHANDLERY_DATABASE_URL": "postgresql://u:hunter2/3@h:x/db"}, "CHANDLERY_DATABASE_URL"),
    ):
        message = message_of(environ=environ)
        assert told in message
        assert "hunter2" not in message
        assert all(variable in message for variable in environ if variable.removeprefix("CHANDLERY_") in message)


def test_a_password_may_stand_beside_a_url_that_has_none() -> None:
    environ = {"CHANDLERY_DATABASE_URL": "postgresql://u@h/db", "CHANDLERY_DATABASE_PASSWORD": "hunter2"}
    config = load_settings(environ=environ).database.postgres()
    assert config is not None
    assert (config.password, config.ssl_mode) == ("hunter2", "verify-full")


def test_no_secret_shows_in_the_settings_or_in_any_refusal() -> None:
    environ = {"CHANDLERY_DATABASE_URL": "postgresql://u:hunter2@h/db"}
    settings = load_settings(environ=environ)
    assert "hunter2" not in f"{settings!r} {settings} {settings.model_dump()} {settings.model_dump_json()}"
    misplaced = {"CHANDLERY_DATA_OUTPUT": "postgresql://u:hunter2@h/db" + "x" * 100}
    assert "hunter2" not in message_of(environ=misplaced)
    assert "postgresql://u:***@h/db" in message_of(environ=misplaced)
    with pytest.raises(ConfigurationError) as caught:
        load_settings(environ={"CHANDLERY_DATABASE_URL": "hunter2"})
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None


def test_timeframes_that_the_database_refuses_are_not_collected() -> None:
    message = message_of(environ={"CHANDLERY_DATABASE_SUPPORTED_INTERVALS": "1h"})
    assert "data_collection.timeframes has 1m" in message
    assert "CHANDLERY_DATABASE_SUPPORTED_INTERVALS" in message


def test_the_client_waits_longer_than_the_server() -> None:
    assert "client_deadline_s" in message_of(overrides={"database.client_deadline_s": 30})


def test_the_example_file_holds_every_setting_with_its_default() -> None:
    example = ROOT / "config/workflow.json"
    document = json.loads(example.read_text())
    assert [f"{section}.{name}" for section in document for name in document[section]] == list(KEYS)
    assert load_settings(example, {}) == Settings()


def test_the_documentation_has_every_setting_and_its_variable_and_no_other() -> None:
    rows = [line for line in (ROOT / "docs/configuration.md").read_text().splitlines() if line.startswith("| `")]
    documented = [tuple(cell.strip(" `") for cell in row.split("|")[1:3]) for row in rows]
    assert documented == [(key, variable_name(key)) for key in KEYS]


def test_pydantic_is_loaded_by_settings_alone() -> None:
    program = "import sys, chandlery.storage.config, chandlery.setting_sources; sys.exit('pydantic' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], cwd=ROOT).returncode == 0


def test_a_file_too_large_for_a_configuration_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "large.json"
    with path.open("wb") as file:
        file.truncate(LARGEST_FILE + 1)
    with pytest.raises(ConfigurationError, match="no configuration has"):
        load_settings(path, environ={})
