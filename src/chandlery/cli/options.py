"""Options that several commands share, and the settings that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer import CallbackParam
from typer.core import TyperGroup

if TYPE_CHECKING:
    from chandlery.settings import Settings


class QuickGroup(TyperGroup):
    """A group of commands that loads no pydantic to show a help or the version.

    Typer makes a validator for every option that was not given, and loading pydantic takes longer than loading typer;
    only a flag that is False already is passed over. Typer's own flags, such as ``--help``, begin as None.
    """

    def get_params(self, ctx: Any) -> list[Any]:
        """The parameters; every flag that is not given is False."""
        found = super().get_params(ctx)
        for one in found:
            if one.default is None and getattr(one, "is_bool_flag", False):
                one.default = False
        return found


def complete_timeframes(incomplete: str) -> list[str]:
    """What the shell offers behind ``--timeframe``, also behind a comma: ``1m,1h`` for ``1m,1``."""
    from chandlery.domain.timeframe import TIMEFRAMES

    before, comma, begun = incomplete.rpartition(",")
    return [before + comma + name for name in TIMEFRAMES if name.startswith(begun)]


def examples(*lines: str) -> str:
    """The end of a command's help."""
    return "\n\n".join(["\nExamples:", *(f"  {line}" for line in lines)])


def configured(key: str, default: str) -> str:
    """What a help shows as the default of an option that overrides a setting; a test compares it with the setting."""
    return f"{key} = {default}"


def several(given: list[str] | None) -> list[str] | None:
    """Each of what was given, also between commas: ``A,B C`` are three. What holds nothing stays, to be refused."""
    parts = [part.strip() for text in given or () for part in text.split(",")]
    return [part for part in parts if part] or given


def _understood(parameter: CallbackParam, text: str | None) -> str | None:
    """A time as it was typed, refused by the name of its option before anything else is done."""
    from chandlery.domain.written_time import EXAMPLES, written_time
    from chandlery.errors import DataValidationError

    if text is None:
        return None
    try:
        written_time(text)
    except (ValueError, OverflowError) as error:
        option = parameter.opts[0]
        raise DataValidationError(
            f"the option {option} is {text[:80]!r}, which is not a time.", hint=f"Give one such as {EXAMPLES}."
        ) from error
    return text


def one_timeframe(said: str) -> Any:
    """The option of a command that takes a single timeframe."""
    return typer.Option("--timeframe", "-t", autocompletion=complete_timeframes, help=said)


def _some_timeframes(said: str, default: str) -> Any:
    return typer.Option(
        "--timeframe",
        "-t",
        callback=several,
        autocompletion=complete_timeframes,
        metavar="TIMEFRAME,...",
        help=said,
        show_default=default,
    )


def _some_symbols(said: str, default: str) -> Any:
    return typer.Argument(callback=several, help=said, show_default=default)


Symbol = Annotated[str, typer.Argument(help="A symbol, such as BTC-USDT.")]
Symbols = Annotated[list[str] | None, _some_symbols("Only these symbols: BTC-USDT ETH-USDT.", "all")]
WantedSymbols = Annotated[
    list[str] | None,
    _some_symbols("Symbols, such as BTC-USDT ETH/USDT BTC-USDT-SWAP.", configured("data_collection.symbols", "none")),
]
Timeframe = Annotated[str, one_timeframe("A timeframe, such as 1m, 1h, 1d.")]
Timeframes = Annotated[list[str] | None, _some_timeframes("Only these timeframes: 1m,1h,1d.", "all")]
WantedTimeframes = Annotated[
    list[str] | None,
    _some_timeframes("One timeframe or several: 1m,1h,1d.", configured("data_collection.timeframes", "1m")),
]

_SINCE = "From this day, month, year or time on, UTC, such as 2024-01-31, 2024-01 or 2024-01-31T12:00:00Z."
_UNTIL = "Up to the end of this day, month or year, or up to this time, UTC."
Since = Annotated[str | None, typer.Option(callback=_understood, help=_SINCE, show_default="the first candle")]
Until = Annotated[
    str | None,
    typer.Option(
        callback=_understood,
        help="Up to the end of this day, month or year, or up to the candle of this time, UTC.",
        show_default="the last candle",
    ),
]
UntilMoment = Annotated[str | None, typer.Option(help=_UNTIL, show_default="the last candle")]
WantedSince = Annotated[
    str | None,
    typer.Option(help=_SINCE, show_default=configured("data_collection.since", "the beginning of history")),
]
WantedUntil = Annotated[str | None, typer.Option(help=_UNTIL, show_default=configured("data_collection.until", "now"))]
OlderThan = Annotated[str, typer.Option(help="Only what closed so long ago, in days or weeks: 45d, 26w.")]
Exchange = Annotated[
    str | None,
    typer.Option(
        help="Whose candles, where several exchanges have the symbol.",
        show_default="okx if it has the symbol, else the only one",
    ),
]

CsvFolder = Annotated[
    str | None,
    typer.Option(help="The folder of the CSV files.", show_default=configured("data.csv_folder", "data/klines")),
]
BaseUrl = Annotated[
    str | None,
    typer.Option(
        help="The exchange's address, or that of a simulator.",
        show_default=configured("data_collection.base_url", "https://openapi.okx.com"),
    ),
]
MetricsPort = Annotated[
    int | None,
    typer.Option(
        help="Serve metrics for Prometheus at this port while it runs, such as 9464.",
        show_default=configured("metrics.port", "none"),
    ),
]
MetricsHost = Annotated[
    str | None,
    typer.Option(help="The address to serve metrics at.", show_default=configured("metrics.host", "127.0.0.1")),
]
MetricsFile = Annotated[
    str | None,
    typer.Option(
        help="Write metrics into this file when it ends; its name ends in .prom.",
        show_default=configured("metrics.file", "none"),
    ),
]

Config = Annotated[
    Path | None,
    typer.Option(
        "--config",
        "-c",
        help="The configuration file, JSON; docs/configuration.md explains it.",
        show_default="./config/workflow.json or your own",
    ),
]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Only show what would go.")]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs instead of text for people.")]


def settings_from(config: Path | None, **overrides: object) -> Settings:
    """Settings for one command. Names in ``overrides`` have two underscores for the dot: ``data__output``."""
    from chandlery.settings import load_settings

    given = {name.replace("__", "."): value for name, value in overrides.items()}
    return load_settings(config, overrides=given, places={key: typed(key) for key in given})


_TYPED = {
    "data_collection.symbols": "the argument SYMBOLS",
    "data_collection.timeframes": "the option --timeframe",
    "data_collection.roll_up_from": "the option --from",
    "data_collection.follow_s": "the option --follow",
}


def typed(key: str) -> str:
    """What the command line calls a setting: ``the option --since`` for ``data_collection.since``."""
    section, _, name = key.partition(".")
    prefix = "metrics-" if section == "metrics" else ""
    return _TYPED.get(key, f"the option --{prefix}{name.replace('_', '-')}")
