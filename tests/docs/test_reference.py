"""docs/reference says what the code says today."""

from __future__ import annotations

import pytest

import make_reference


@pytest.fixture
def made(database_url: str) -> dict[str, str]:
    return make_reference.pages(database_url)


def test_the_pages_made_from_the_code_are_current(made: dict[str, str]) -> None:
    assert {path.name for path in make_reference.REFERENCE.glob("*")} == set(made)
    for name, text in made.items():
        assert (make_reference.REFERENCE / name).read_text() == text, f"{name} is old: make reference"


def test_they_tell_of_every_command_and_every_public_name(made: dict[str, str]) -> None:
    import chandlery

    assert "\n## chandlery export qlib\n" in made["commands.md"]
    for name in chandlery.__all__:
        assert f"\n## {name}\n" in made["python.md"] or f"\n| `{name}` |" in made["python.md"], name
    assert "\n## ohlcv\n" in made["schema.md"]
