"""Steps one after another, and the table of what became of them."""

from __future__ import annotations

import time
import traceback
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from rich.console import Group
from rich.table import Table
from rich.text import Text

from validation.life import Life

_VERDICTS = {True: "[green]passed[/]", False: "[red]FAILED[/]", None: "not reached"}


@dataclass(frozen=True, slots=True)
class Step:
    """A part of the life: its name, and a function whose docstring says what is done.

    It returns its figures; whatever it raises, Failed with a sentence as a rule, is a failure.
    """

    name: str
    act: Callable[[Life], str]

    @property
    def done(self) -> str:
        """What is done."""
        return (self.act.__doc__ or "").strip().rstrip(".")


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What became of a step; ``passed`` is None where an earlier one failed."""

    step: Step
    passed: bool | None
    figures: str = ""
    seconds: float = 0.0


def run(steps: Sequence[Step], life: Life, tell: Callable[[str], None]) -> list[Outcome]:
    """Every step up to the first that fails, since each builds on those before; ``tell`` hears of each."""
    outcomes: list[Outcome] = []
    for step in steps:
        tell(step.name)
        failed = any(outcome.passed is not True for outcome in outcomes)
        outcomes.append(Outcome(step=step, passed=None) if failed else _run(step, life, tell))
    return outcomes


def _run(step: Step, life: Life, tell: Callable[[str], None]) -> Outcome:
    began = time.monotonic()
    try:
        passed, figures = True, step.act(life)
    except Exception as error:
        tell(traceback.format_exc())
        passed, figures = False, str(error)
    return Outcome(step=step, passed=passed, figures=figures, seconds=time.monotonic() - began)


def drawn(outcomes: Sequence[Outcome], heading: str) -> Group:
    """A heading, and one line a step."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("step", "what was done", "figures", "s", "verdict"):
        table.add_column(name, justify="right" if name == "s" else "left", no_wrap=name in ("step", "s", "verdict"))
    for outcome in outcomes:
        seconds = "-" if outcome.passed is None else f"{outcome.seconds:.1f}"
        words = (outcome.step.name, outcome.step.done, outcome.figures, seconds)
        table.add_row(*map(Text, words), _VERDICTS[outcome.passed])
    return Group(Text(heading), table)
