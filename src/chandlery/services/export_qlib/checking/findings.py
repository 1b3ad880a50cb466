"""What a check found, with what it will do to the person who uses the folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True, slots=True)
class Finding:
    """``error``: Qlib fails, or shows too little or something wrong; ``warning``: it works, and somebody may wonder.

    ``where`` is a name below the folder; ``what`` is what stands there and what comes of it.
    """

    level: Literal["error", "warning"]
    where: str
    what: str


def error(where: str, what: str) -> Finding:
    """Qlib fails, or shows too little or something wrong."""
    return Finding("error", where, what)


def warning(where: str, what: str) -> Finding:
    """It works, and somebody may wonder."""
    return Finding("warning", where, what)
