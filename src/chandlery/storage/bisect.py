"""A batch that the server refuses for its data is halved until the bad rows stand alone; all others are stored.

Every try is a savepoint in the one transaction of the write, so what comes out is still all or nothing: the good rows,
the bad ones set aside, and a ledger that does not claim them.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, Self, TypeVar

import psycopg

from chandlery.domain.candle import CandleBatch, Rejected
from chandlery.domain.instrument import Series
from chandlery.domain.span import Span, Spans
from chandlery.storage.failures import FailureClass, Phase, classify


class Addable(Protocol):
    """A result that can be added up."""

    def __add__(self, other: Self, /) -> Self:
        """Both together."""
        ...


Outcome = TypeVar("Outcome", bound=Addable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Refusal:
    """One candle that the server refuses, with its reason, as a batch of one row."""

    row: CandleBatch
    reason: str

    @property
    def bar(self) -> Span:
        """The bar of which nothing is known now."""
        bar = self.row.span
        assert bar is not None, "one row has a span"
        return bar

    @property
    def raw(self) -> str:
        """The row's values as JSON: what its source wrote is not at hand any more."""
        return json.dumps({name: column[0].item() for name, column in self.row.columns().items()})


def check_at_once(connection: psycopg.Connection) -> None:
    """Have constraints that would wait for COMMIT checked where their row can still be told."""
    connection.execute("SET CONSTRAINTS ALL IMMEDIATE")


def in_halves(
    connection: psycopg.Connection, batch: CandleBatch, store: Callable[[CandleBatch], Outcome], nothing: Outcome
) -> tuple[Outcome, list[Refusal]]:
    """Store as much of ``batch`` as the server takes, in the transaction that ``connection`` is in.

    ``store`` stores one part of it and may raise; its outcomes are added up from ``nothing``. An error that is not
    about the data is raised as it came.
    """
    try:
        with connection.transaction():
            return store(batch), []
    except psycopg.Error as error:
        if classify(error, broken=connection.broken, phase=Phase.EXECUTE).kind is not FailureClass.DATA:
            raise
        if len(batch) <= 1:
            return nothing, [Refusal(row=batch, reason=_reason(error))]
    middle = len(batch) // 2
    older, bad_older = in_halves(connection, batch.take(slice(0, middle)), store, nothing)
    newer, bad_newer = in_halves(connection, batch.take(slice(middle, None)), store, nothing)
    return older + newer, bad_older + bad_newer


def set_apart(series: Series, refusals: list[Refusal]) -> tuple[Rejected, Spans]:
    """The refused rows as rejected ones, and their bars."""
    rejected = Rejected(
        series=series,
        open_time=[refusal.bar.start for refusal in refusals],
        reason=[refusal.reason for refusal in refusals],
        raw=[refusal.raw for refusal in refusals],
    )
    return rejected, Spans(refusal.bar for refusal in refusals)


def _reason(error: psycopg.Error) -> str:
    """The server's own sentence, which names the constraint, or the trigger's."""
    return f"refused by the database ({error.sqlstate}): {error.diag.message_primary or error}"
