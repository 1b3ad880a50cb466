"""Data quality: what is wrong with candles, or strange about them, as findings. Pure; ``now`` is an argument."""

from chandlery.domain.quality.finding import Finding, Rule, Severity, finding
from chandlery.domain.quality.outage import outages, unexplained
from chandlery.domain.quality.series import PIECE, SeriesCheck, SeriesChecker, check_rows

__all__ = [
    "PIECE",
    "Finding",
    "Rule",
    "SeriesCheck",
    "SeriesChecker",
    "Severity",
    "check_rows",
    "finding",
    "outages",
    "unexplained",
]
