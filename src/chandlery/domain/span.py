"""Spans of time, and sets of them: the arithmetic behind ``missing = wanted - covered``.

A span is half-open, ``[start, end)``, in milliseconds since 1970-01-01 UTC. ``Spans`` is a set of instants written
as the fewest spans: sorted, disjoint, never touching, so two equal sets are equal values.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass


@dataclass(frozen=True, slots=True, order=True)
class Span:
    """A half-open interval ``[start, end)`` of milliseconds since 1970-01-01 UTC; never empty."""

    start: int
    end: int

    def __post_init__(self) -> None:
        if self.start >= self.end:
            raise ValueError(f"a span must end after it starts, not [{self.start}, {self.end})")

    def __contains__(self, time: int) -> bool:
        return self.start <= time < self.end

    @property
    def length(self) -> int:
        """Milliseconds from start to end."""
        return self.end - self.start

    def intersection(self, other: Span) -> Span | None:
        """The part that both share, or None."""
        start, end = max(self.start, other.start), min(self.end, other.end)
        return Span(start, end) if start < end else None


class Spans:
    """An immutable set of instants, kept as the fewest sorted spans.

    ``a | b`` merges, ``a - b`` subtracts, ``a & b`` intersects; each is linear in the number of spans.
    """

    __slots__ = ("_spans",)

    def __init__(self, spans: Iterable[Span] = ()) -> None:
        self._spans = tuple(_merged(sorted(spans)))

    def __iter__(self) -> Iterator[Span]:
        return iter(self._spans)

    def __len__(self) -> int:
        return len(self._spans)

    def __bool__(self) -> bool:
        return bool(self._spans)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Spans) and self._spans == other._spans

    def __hash__(self) -> int:
        return hash(self._spans)

    def __repr__(self) -> str:
        return f"Spans({list(self._spans)!r})"

    def __contains__(self, time: int) -> bool:
        return any(time in span for span in self._spans)

    def __or__(self, other: Spans) -> Spans:
        return Spans((*self._spans, *other._spans))

    def __and__(self, other: Spans) -> Spans:
        return Spans(_intersections(self._spans, other._spans))

    def __sub__(self, other: Spans) -> Spans:
        return Spans(_differences(self._spans, other._spans))

    @property
    def length(self) -> int:
        """Milliseconds covered in all."""
        return sum(span.length for span in self._spans)

    @property
    def hull(self) -> Span | None:
        """The one span from the first start to the last end, or None for the empty set."""
        return Span(self._spans[0].start, self._spans[-1].end) if self._spans else None

    def covers(self, span: Span) -> bool:
        """Whether every instant of ``span`` is in the set."""
        return not Spans([span]) - self


def _merged(ordered: Iterable[Span]) -> Iterator[Span]:
    """Join neighbours that overlap or touch."""
    current: Span | None = None
    for span in ordered:
        if current is None:
            current = span
        elif span.start <= current.end:
            current = Span(current.start, max(current.end, span.end))
        else:
            yield current
            current = span
    if current is not None:
        yield current


def _intersections(left: tuple[Span, ...], right: tuple[Span, ...]) -> Iterator[Span]:
    i = j = 0
    while i < len(left) and j < len(right):
        shared = left[i].intersection(right[j])
        if shared is not None:
            yield shared
        if left[i].end <= right[j].end:
            i += 1
        else:
            j += 1


def _differences(left: tuple[Span, ...], right: tuple[Span, ...]) -> Iterator[Span]:
    j = 0
    for span in left:
        start = span.start
        while j < len(right) and right[j].end <= start:
            j += 1
        k = j
        while k < len(right) and right[k].start < span.end:
            if start < right[k].start:
                yield Span(start, right[k].start)
            start = max(start, right[k].end)
            k += 1
        if start < span.end:
            yield Span(start, span.end)
