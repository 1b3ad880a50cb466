"""Options that several commands share, and the settings that follow from them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
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
    return "\n\n".join(["Examples:", *(f"  {line}" for line in lines)])


Config = Annotated[
    Path | None,
    typer.Option("--config", "-c", help="The configuration file; otherwise ./config/workflow.json if it exists."),
]
AsJson = Annotated[bool, typer.Option("--json", help="Write JSON for programs instead of text for people.")]
Since = Annotated[str | None, typer.Option(help="The first day or time, UTC, such as 2024-01-01. Included.")]
Until = Annotated[
    str | None, typer.Option(help="The last day or time, UTC. A day is included whole; otherwise excluded.")
]
MetricsPort = Annotated[
    int | None, typer.Option(help="Serve metrics for Prometheus at this port while it runs, such as 9464.")
]
MetricsHost = Annotated[str | None, typer.Option(help="The address to serve metrics at; otherwise this machine alone.")]
MetricsFile = Annotated[str | None, typer.Option(help="Write metrics into this .prom file at the end.")]
BaseUrl = Annotated[str | None, typer.Option(help="Another exchange address, such as that of a simulator.")]


def settings_from(config: Path | None, **overrides: object) -> Settings:
    """Settings for one command. Names in ``overrides`` have two underscores for the dot: ``data__output``."""
    from chandlery.settings import load_settings

    return load_settings(config, overrides={name.replace("__", "."): value for name, value in overrides.items()})
