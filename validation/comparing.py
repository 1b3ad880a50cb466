"""Is what came back what was put in, to the last bit?"""

from __future__ import annotations

import numpy as np

from validation.failing import Failed, require
from validation.source import VALUES, Candles


def compare(found: Candles, expected: Candles, what: str) -> int:
    """How many candles are the same; raises Failed naming the first that is not.

    Values are compared in the precision in which they were ``found``; what is not known equals what is not known.
    """
    times, wanted = found["time"], expected["time"]
    require(np.array_equal(times, wanted), f"{what} has {len(times):,} candles at other times than {len(wanted):,}")
    for name in VALUES:
        column = expected[name].astype(found[name].dtype)
        differ = np.flatnonzero((found[name] != column) & ~(np.isnan(found[name]) & np.isnan(column)))
        if len(differ):
            first = differ[0]
            raise Failed(f"{what} has {name} {found[name][first]!r} at {times[first]} and not {column[first]!r}")
    return len(times)
