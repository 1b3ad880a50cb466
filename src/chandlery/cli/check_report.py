"""What a check found, for people and for programs."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Any

from chandlery.cli.plain import plain_series, plain_span
from chandlery.cli.screen import complain, console, duration, moment, names, say, table

if TYPE_CHECKING:
    from chandlery.domain.instrument import Series
    from chandlery.domain.quality import Finding, SeriesCheck
    from chandlery.services.check import Repair, Report

_SHOWN = 10
"""Findings of one rule that are listed for people."""

_COUNTED_IN_SERIES = ("outage",)
_COUNTED_IN_ROWS = ("misaligned", "duplicate", "future", "unsorted", "unreadable", "rejected", "revision")
_COLOURS = {"error": "red", "warning": "yellow", "info": "cyan"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Repaired:
    """A repair, and what was found before it."""

    before: Report
    done: Repair
    interrupted: bool


def draw(report: Report, repaired: Repaired | None) -> None:
    """Print the series with their coverage, then the findings: the worst rules first, the longest of each first."""
    _draw_series(report)
    for _, group in groupby(report.findings, key=lambda found: (found.severity, found.rule)):
        _draw_rule(list(group))
    if repaired is not None:
        _draw_repair(report, repaired)
    console.print()
    say(_summary(report))


def plain(report: Report, repaired: Repaired | None) -> dict[str, Any]:
    """The report as docs/quality.md describes it for programs; every finding is in it."""
    per_series = _per_series(report)
    return {
        "worst": None if report.worst is None else str(report.worst),
        "series": [_plain_series(each, per_series[each.series]) for each in report.series],
        "findings": [_plain_finding(found) for found in report.findings],
        "repair": None if repaired is None else _plain_repair(repaired),
    }


def _draw_series(report: Report) -> None:
    shown = table("series", "exchange", "from", "to", "candles", "coverage", "errors", "warnings", "infos", left=4)
    per_series = _per_series(report)
    for each in report.series:
        # rounded down, so that only what is complete reads as complete
        coverage = f"{int(each.coverage * 10_000) / 100:.2f} %"
        counts = Counter(str(found.severity) for found in per_series[each.series])
        shown.add_row(
            str(each.series),
            each.series.exchange,
            moment(each.wanted.start if each.wanted else None),
            moment(each.wanted.end if each.wanted else None),
            f"{each.candles:,}",
            f"[green]{coverage}[/]" if each.coverage == 1 else f"[yellow]{coverage}[/]",
            *(f"[{colour}]{counts[name]:,}[/]" if counts[name] else "-" for name, colour in _COLOURS.items()),
        )
    console.print(shown)


def _draw_rule(findings: list[Finding]) -> None:
    first = findings[0]
    console.print()
    colour, times = _COLOURS[str(first.severity)], f"{len(findings):,} times" if len(findings) > 1 else "once"
    console.print(
        f"[bold {colour}]{first.severity}[/] [bold]{first.rule}[/] {times}{_in_all(findings)}. {first.advice}"
    )
    shown = table("  series", "from", "to", "length", "what", left=5)
    for found in findings[:_SHOWN]:
        span = found.span
        times_shown = (moment(span.start), moment(span.end), duration(span.length / 1000))
        shown.add_row(f"  {names(found.series)}", *times_shown, found.message)
    console.print(shown)
    if len(findings) > _SHOWN:
        say(f"  and {len(findings) - _SHOWN:,} more; --json shows all.")


def _in_all(findings: list[Finding]) -> str:
    """How many bars or rows many findings are about, where that is not told by their number."""
    total = sum(found.count for found in findings)
    if total == len(findings) or findings[0].rule in _COUNTED_IN_SERIES:
        return ""
    return f", {total:,} {'rows' if findings[0].rule in _COUNTED_IN_ROWS else 'bars'}"


def _draw_repair(report: Report, repaired: Repaired) -> None:
    console.print()
    before, after = (_counts(each) for each in (repaired.before, report))
    shown = table("repair", "before", "after", left=1)
    for rule in sorted(before | after):
        shown.add_row(rule, f"{before[rule]:,}", "not looked at" if repaired.interrupted else f"{after[rule]:,}")
    console.print(shown)
    result = repaired.done.result
    say(f"Fetched: {result.inserted:,} new, {result.unchanged:,} the same, {result.revised:,} with other values.")
    for series, reason in repaired.done.left_out.items():
        complain(f"{series} was not repaired: {reason}.")
    for each in repaired.done.reports:
        if each.error is not None:
            complain(f"{each.series}: {each.error}")


def _counts(report: Report) -> Counter[str]:
    return Counter(str(found.rule) for found in report.findings)


def _summary(report: Report) -> str:
    counts = Counter(str(found.severity) for found in report.findings)
    if not counts:
        return f"Nothing found in {len(report.series):,} series."
    return ", ".join(f"{name} {counts[name]:,}" for name in _COLOURS if counts[name]) + "."


def _per_series(report: Report) -> dict[Series, list[Finding]]:
    """The findings that concern each series; those of several series stand under each of them."""
    found: dict[Series, list[Finding]] = {each.series: [] for each in report.series}
    for each in report.findings:
        for series in each.series:
            found[series].append(each)
    return found


def _plain_series(each: SeriesCheck, findings: list[Finding]) -> dict[str, Any]:
    return {
        **plain_series(each.series),
        **plain_span(each.wanted),
        "candles": each.candles,
        "coverage": each.coverage,
        "findings": dict(Counter(str(found.rule) for found in findings)),
    }


def _plain_finding(found: Finding) -> dict[str, Any]:
    return {
        "rule": str(found.rule),
        "severity": str(found.severity),
        "series": [plain_series(series) for series in found.series],
        **plain_span(found.span),
        "count": found.count,
        "message": found.message,
        "advice": found.advice,
    }


def _plain_repair(repaired: Repaired) -> dict[str, Any]:
    result = repaired.done.result
    return {
        "interrupted": repaired.interrupted,
        "inserted": result.inserted,
        "unchanged": result.unchanged,
        "revised": result.revised,
        "rejected": result.rejected,
        "left_out": [{**plain_series(series), "reason": why} for series, why in repaired.done.left_out.items()],
        "before": dict(_counts(repaired.before)),
    }
