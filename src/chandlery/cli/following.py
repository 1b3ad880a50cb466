"""``chandlery collect --follow``: a collection at each interval of the clock, until Ctrl-C or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from typing import TYPE_CHECKING

from chandlery.cli.collect import plain_report, wanted_of
from chandlery.cli.exits import ExitCode
from chandlery.cli.plain import plain_time
from chandlery.cli.screen import complain, moment, note, say, write_json_line

if TYPE_CHECKING:
    from chandlery.services.collect import Collector, Round
    from chandlery.services.metrics.measuring import Unmeasured
    from chandlery.services.outputs import Output
    from chandlery.settings import Settings


def run_following(settings: Settings, every_s: float, *, as_json: bool = False) -> int:
    """Collect as the settings say, every ``every_s``; to be stopped is how it ends well, so that is exit code 0."""
    from chandlery.services import error_log
    from chandlery.services.metrics.measuring import measuring
    from chandlery.services.opening import open_output

    error_log.configure(settings.logging, each_once=True)
    with measuring(settings) as told, open_output(settings, told) as output:
        try:
            asyncio.run(_follow(settings, output, told, every_s, _Teller(as_json=as_json)))
        except KeyboardInterrupt:
            output.give_up()  # or the exit would wait for threads that wait for the store
            raise
    return ExitCode.COMPLETE


async def _follow(settings: Settings, output: Output, told: Unmeasured, every_s: float, teller: _Teller) -> None:
    from chandlery.cli.progress import ProgressLine
    from chandlery.cli.stopping import stop_on_signals
    from chandlery.exchange.okx.rest import OkxSource
    from chandlery.services.collect import Collector, Follower
    from chandlery.services.opening import okx_settings, shared_pace

    pace = shared_pace(settings, output)
    async with OkxSource(okx_settings(settings), on_event=told.exchange_event, take_slots=pace) as source:
        told.of_source(source)

        @contextlib.contextmanager
        def one_round() -> Iterator[Collector]:
            with ProgressLine() as line:
                yield Collector(source, output, concurrency=settings.data_collection.concurrency, watch=line.show)

        follower = Follower(one_round, every_s, teller.tell)
        stop_on_signals(follower.stop)
        await follower.run(wanted_of(settings))


class _Teller:
    """A line for a round that stored something; a problem once, when it comes; a word when all are over."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self._problems: tuple[str, ...] = ()

    def tell(self, done: Round) -> None:
        """Write what there is to say of a round."""
        self._tell_problems(done)
        if self._as_json:
            write_json_line(_plain(done))
        elif done.result.inserted or done.result.revised or done.result.rejected:
            say(_in_a_line(done))

    def _tell_problems(self, done: Round) -> None:
        from chandlery.services import error_log

        for problem in done.problems:
            if problem not in self._problems:
                complain(problem)
        self._problems = done.problems
        if done.went_well and error_log.all_well():
            note("It works again.")


def _in_a_line(done: Round) -> str:
    result = done.result
    series = sum(1 for report in done.reports if report.result.stored)
    counts = {"revised": result.revised, "rejected": result.rejected}
    others = "".join(f", {count:,} {name}" for name, count in counts.items() if count)
    return f"{moment(done.began)}  {result.inserted:,} new candles{others} in {series} of {len(done.reports)} series"


def _plain(done: Round) -> dict[str, object]:
    return {
        "round": done.number,
        "began_at": plain_time(done.began),
        "error": str(done.error) if done.error else None,
        "series": [plain_report(report) for report in done.reports],
    }
