"""The import of one source: looked through, weighed if need be, judged, stored, and verified if wanted.

Reading and judging the next block goes on while the database stores the one before. What is committed stays; a second
run finds it unchanged and stores the rest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from chandlery.domain.instrument import Series
from chandlery.domain.span import Span
from chandlery.domain.timeframe import UtcMs
from chandlery.errors import DataValidationError
from chandlery.services.bulk_import.given import Told
from chandlery.services.bulk_import.reading import Judged, Portion, Survey, look_through, portions
from chandlery.services.bulk_import.sinks import Sink, Verification
from chandlery.services.bulk_import.tally import Tally
from chandlery.storage.intake.records import Refused
from chandlery.storage.sources.archives import Source
from chandlery.storage.sources.moments import Unit
from chandlery.storage.writer import Delivery, SaveResult

Watch = Callable[[str, int], None]
"""Is told, now and then, the name of a source and how many of its rows are done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SeriesFound:
    """One series in a source: the span of its accepted candles, and the gaps and missing bars within."""

    series: Series
    span: Span | None
    gaps: int
    missing: int


@dataclass(slots=True, kw_only=True)
class SourceReport:
    """What became of one source.

    ``unit`` is how its times were written; ``without_zone`` counts ISO times that name no zone and were taken as of
    ``zone``. ``reasons`` counts the rejected rows by reason. ``compared`` and ``differences`` are of the verification,
    ``compared`` None without one. ``error`` is why the source could not be read, or None; then ``result`` says what
    was stored before that was noticed.
    """

    name: str
    unit: Unit | None = None
    without_zone: int = 0
    zone: str = "UTC"
    rows: int = 0
    result: SaveResult = field(default_factory=SaveResult)
    reasons: Counter[str] = field(default_factory=Counter)
    series: list[SeriesFound] = field(default_factory=list)
    compared: int | None = None
    differences: Counter[str] = field(default_factory=Counter)
    error: DataValidationError | None = None

    @property
    def complete(self) -> bool:
        """Whether every row is stored as the source has it."""
        return self.error is None and not self.result.rejected and not self.differences


class Job:
    """Imports one source into ``sink``; ``verification`` reads back what it took."""

    def __init__(
        self, source: Source, told: Told, sink: Sink, *, now: UtcMs, verification: Verification | None, watch: Watch
    ) -> None:
        self._source = source
        self._told = told
        self._sink = sink
        self._now = now
        self._verification = verification
        self._watch = watch
        self._tallies: dict[Series, Tally] = {}
        self._report = SourceReport(name=source.name, zone=told.zone.key)

    def run(self) -> SourceReport:
        """The whole source. Raises DatabaseError; what is wrong with the source itself stands in the report."""
        try:
            before = self._state()
            self._import()
            if self._state() != before:
                raise DataValidationError(f"{self._source.name} was changed while it was read.", hint="Run it again.")
        except DataValidationError as error:
            self._report.error = error
        except OSError as error:
            why = error.strerror or str(error)
            self._report.error = DataValidationError(f"{self._source.name} cannot be read: {why}.")
        return self._report

    def _state(self) -> tuple[int, int] | None:
        if self._source.path is None:
            return None
        found = self._source.path.stat()
        return found.st_size, found.st_mtime_ns

    def _import(self) -> None:
        report = self._report
        survey = look_through(self._source, self._told)
        report.unit = survey.clock.unit if survey.rows else None
        report.without_zone = survey.without_zone
        if survey.overlapping:
            self._weigh(survey)
        for portion in self._portions(survey):
            report.rows += portion.rows
            report.result += self._sink.write(*self._deliveries(portion))
            self._count_reasons(portion.refused)
            self._watch(self._source.name, report.rows)
        report.series = [_found(series, tally) for series, tally in sorted(self._tallies.items(), key=_by_name)]
        if self._verification is not None:
            self._verify(survey, self._verification)

    def _portions(self, survey: Survey) -> Iterator[Portion]:
        return one_ahead(portions(self._source, self._told, survey, self._now))

    def _weigh(self, survey: Survey) -> None:
        for portion in portions(self._source, self._told, survey, self._now):
            for series, judged in portion.judged.items():
                self._tally(series).weigh(judged.verdict)

    def _deliveries(self, portion: Portion) -> tuple[list[Delivery], list[Refused]]:
        deliveries = [self._delivery(series, judged) for series, judged in portion.judged.items()]
        return deliveries, portion.refused

    def _delivery(self, series: Series, judged: Judged) -> Delivery:
        """Holding these candles proves the runs that they fill, and no more."""
        verdict = self._tally(series).admit(judged.verdict, judged.rows, judged.raw)
        self._report.reasons.update(verdict.rejected.reason)
        return Delivery(
            batch=verdict.accepted,
            covered=verdict.accepted.runs(),
            rejected=verdict.rejected if len(verdict.rejected) else None,
            repeated=verdict.repeated,
            rounded=judged.rounded,
        )

    def _count_reasons(self, refused: list[Refused]) -> None:
        self._report.reasons.update(one.reason for one in refused)

    def _tally(self, series: Series) -> Tally:
        if series not in self._tallies:
            self._tallies[series] = Tally(series, self._now)
        return self._tallies[series]

    def _verify(self, survey: Survey, verification: Verification) -> None:
        reasons = self._report.reasons.copy()
        for tally in self._tallies.values():
            tally.start_over()
        for portion in self._portions(survey):
            verification.write(*self._deliveries(portion))
        self._report.reasons = reasons
        self._report.compared, self._report.differences = verification.compared, verification.differences


def one_ahead(items: Iterator[Portion]) -> Iterator[Portion]:
    """The same items, the next of which is made while one is used."""
    with ThreadPoolExecutor(max_workers=1, thread_name_prefix="import") as pool:
        coming = pool.submit(next, items, None)
        while (item := coming.result()) is not None:
            coming = pool.submit(next, items, None)
            yield item


def _by_name(found: tuple[Series, Tally]) -> tuple[str, str]:
    return found[0].exchange, str(found[0])


def _found(series: Series, tally: Tally) -> SeriesFound:
    gaps, missing = tally.gaps
    return SeriesFound(series=series, span=tally.span, gaps=gaps, missing=missing)
