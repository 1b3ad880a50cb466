"""``python -m validation``: the whole life of stored candles, once; one table, and exit code 1 if a step failed."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rich.console import Console

from validation import gathering, keeping, leaving
from validation.life import new_life
from validation.report import Step, drawn, run

LIFE = (
    Step("collect", gathering.collect),
    Step("collect again", gathering.collect_again),
    Step("roll up", gathering.roll_up),
    Step("stream, kill", gathering.stream),
    Step("import", gathering.import_csv),
    Step("seal", keeping.seal),
    Step("check", keeping.check),
    Step("look", keeping.look),
    Step("back up", keeping.back_up),
    Step("destroy", keeping.destroy),
    Step("restore", keeping.restore),
    Step("go on", keeping.go_on),
    Step("export csv", leaving.export_csv),
    Step("export parquet", leaving.export_parquet),
    Step("export qlib", leaving.export_qlib),
)

_WIDTH_OF_LOGS = 160


def main(steps: Sequence[Step] = LIFE) -> int:
    """Live through ``steps``; 0 if all of them passed."""
    progress = Console(stderr=True)
    with new_life() as life:
        outcomes = run(steps, life, lambda text: progress.print(text, markup=False, highlight=False))
        candles = "real candles" if life.source.real else "made-up candles, for there are no real ones here"
    screen = Console(highlight=False)
    screen = screen if screen.is_terminal else Console(highlight=False, width=_WIDTH_OF_LOGS)
    screen.print(drawn(outcomes, f"The whole life of {candles}"))
    return 0 if all(outcome.passed for outcome in outcomes) else 1


if __name__ == "__main__":
    sys.exit(main())
