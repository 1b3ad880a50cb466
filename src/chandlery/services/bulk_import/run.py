"""An import as a whole: one source after the other, each with its report, and a row in the table ``run``."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from chandlery.errors import DataValidationError
from chandlery.services.bulk_import.given import Told
from chandlery.services.bulk_import.job import Job, SourceReport, Watch
from chandlery.services.bulk_import.sinks import Comparison, Sink, Verification
from chandlery.storage.clock import earlier_now
from chandlery.storage.postgres import PostgreSQLStorage
from chandlery.storage.runs import RunLog
from chandlery.storage.sources.archives import Source
from chandlery.storage.writer import SaveResult


@dataclass(frozen=True, slots=True, kw_only=True)
class Manner:
    """``dry_run`` writes nothing and says what would be; ``verify`` reads everything back and compares."""

    dry_run: bool = False
    verify: bool = False


def import_sources(
    storage: PostgreSQLStorage,
    sources: Iterable[Source],
    told: Told,
    manner: Manner,
    *,
    watch: Watch = lambda *_: None,
    done: Callable[[SourceReport], None] = lambda _: None,
) -> list[SourceReport]:
    """Import sources one by one; a bad one is reported and does not keep the others from being stored.

    ``watch`` is told of progress, ``done`` of each report. Importing the same again changes nothing, so a run that was
    killed is simply repeated. Raises DatabaseError.
    """
    storage.require_schema()
    sink: Sink = Comparison(storage) if manner.dry_run else storage.writer
    reports: list[SourceReport] = []
    for source in sources:
        verification = Verification(storage) if manner.verify else None
        run = None if manner.dry_run else RunLog(storage.database)
        number = run.start(f"import {source.name}") if run else 0
        now = earlier_now(storage.database)
        report = Job(source, told, sink, now=now, verification=verification, watch=watch).run()
        if run:
            run.finish(number, outcome_of(report), 0, report.result)
        reports.append(report)
        done(report)
    return reports


def outcome_of(report: SourceReport) -> str:
    """The word for the table ``run``."""
    return "failed" if report.error else "complete" if report.complete else "incomplete"


def total(reports: Iterable[SourceReport]) -> SaveResult:
    """The sum of what became of all rows."""
    return sum((report.result for report in reports), SaveResult())


def only_error(reports: list[SourceReport]) -> DataValidationError | None:
    """The first error, if no source could be read at all."""
    errors = [report.error for report in reports if report.error is not None]
    return errors[0] if errors and len(errors) == len(reports) else None
