"""Spans against the plainest model: a set of small integers."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from chandlery.domain.span import Span, Spans

SMALL = st.integers(-20, 20)
SPAN = st.tuples(SMALL, st.integers(1, 12)).map(lambda pair: Span(pair[0], pair[0] + pair[1]))
SPANS = st.lists(SPAN, max_size=8).map(Spans)


def instants(spans: Spans) -> set[int]:
    return {time for span in spans for time in range(span.start, span.end)}


def is_normal(spans: Spans) -> bool:
    ordered = list(spans)
    return all(a.end < b.start for a, b in itertools.pairwise(ordered))


@given(st.lists(SPAN, max_size=8))
def test_a_set_of_spans_is_the_fewest_that_hold_the_same_instants(given_spans: list[Span]) -> None:
    spans = Spans(given_spans)
    assert instants(spans) == {time for span in given_spans for time in range(span.start, span.end)}
    assert is_normal(spans)


@given(SPANS, SPANS)
def test_merging_subtracting_and_intersecting_are_those_of_sets(a: Spans, b: Spans) -> None:
    for result, expected in (
        (a | b, instants(a) | instants(b)),
        (a - b, instants(a) - instants(b)),
        (a & b, instants(a) & instants(b)),
    ):
        assert instants(result) == expected
        assert is_normal(result)


@given(SPANS, SPANS)
def test_equal_sets_are_equal_values(a: Spans, b: Spans) -> None:
    assert (a == b) == (instants(a) == instants(b))
    assert a == Spans(reversed(list(a)))
    assert hash(a) == hash(Spans(a))


@given(SPANS, SPANS)
def test_what_is_missing_and_what_is_held_make_up_what_is_wanted(wanted: Spans, covered: Spans) -> None:
    missing = wanted - covered
    assert not missing & covered
    assert missing | (wanted & covered) == wanted
    assert not wanted - (covered | missing)


@given(SPANS, SPAN)
def test_covers_means_every_instant(spans: Spans, span: Span) -> None:
    assert spans.covers(span) == set(range(span.start, span.end)).issubset(instants(spans))


@given(SPANS, SMALL)
def test_membership_length_hull_and_truth(spans: Spans, time: int) -> None:
    held = instants(spans)
    assert (time in spans) == (time in held)
    assert spans.length == len(held)
    assert spans.hull == (Span(min(held), max(held) + 1) if held else None)
    assert bool(spans) == bool(held)


@given(SPAN, SPAN)
def test_the_shared_part_of_two_spans(a: Span, b: Span) -> None:
    shared = a.intersection(b)
    assert instants(Spans([shared] if shared else [])) == instants(Spans([a])) & instants(Spans([b]))
    assert a.intersection(b) == b.intersection(a)


@pytest.mark.parametrize("end", [3, 2])
def test_an_empty_or_backward_span_cannot_be_made(end: int) -> None:
    with pytest.raises(ValueError, match="end after it starts"):
        Span(3, end)
