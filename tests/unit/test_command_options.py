"""Options mean the same in every command, and what a help says of a default is true."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import pytest
import typer.main

from chandlery.cli.app import app
from chandlery.cli.options import several, typed
from chandlery.settings import KEYS, Settings

CONFIGURED = re.compile(r"(?P<key>[a-z_]+\.[a-z_]+) = (?P<value>.+)")


def parameters() -> Iterator[tuple[str, Any]]:
    """Every option and argument, with its command."""

    def below(path: str, command: Any) -> Iterator[tuple[str, Any]]:
        yield from ((path, one) for one in command.params)
        for name, sub in getattr(command, "commands", {}).items():
            yield from below(f"{path} {name}", sub)

    return below("chandlery", typer.main.get_command(app))


def test_defaults_that_a_help_names_are_those_of_the_settings() -> None:
    settings = Settings()
    told = [found for _, one in parameters() if (found := CONFIGURED.fullmatch(str(one.show_default)))]
    assert len({found["key"] for found in told}) > 15
    for found in told:
        assert found["key"] in KEYS
        section, name = found["key"].split(".")
        default = getattr(getattr(settings, section), name)
        if default is not None and default != ():
            assert found["value"] == (",".join(default) if isinstance(default, tuple) else str(default)), found["key"]


def test_what_was_typed_is_what_an_error_names() -> None:
    """Every option that overrides a setting is called as ``typed`` says, so that nobody looks for another."""
    for path, one in parameters():
        if found := CONFIGURED.fullmatch(str(one.show_default)):
            kind, name = typed(found["key"]).removeprefix("the ").split()
            assert (kind, name) == ("option", max(one.opts, key=len)) or name == one.name.upper(), path


def test_timeframes_are_given_alike_everywhere() -> None:
    found = {path: one.opts for path, one in parameters() if one.name == "timeframe"}
    assert len(found) > 12
    assert {tuple(opts) for opts in found.values()} == {("--timeframe", "-t")}


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        (None, None),
        (["A"], ["A"]),
        (["A,B", "C"], ["A", "B", "C"]),
        (["A, B,"], ["A", "B"]),
        ([""], [""]),
        ([","], [","]),
    ],
)
def test_several_stand_apart_or_between_commas(given: list[str] | None, meant: list[str] | None) -> None:
    assert several(given) == meant
