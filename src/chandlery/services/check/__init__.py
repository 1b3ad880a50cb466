"""Checking what is stored, comparing it with the exchange, and fetching again what is doubtful."""

from chandlery.services.check.repair import Repair, new_doubts, repair
from chandlery.services.check.run import Report, Scope, check, worst_first
from chandlery.services.check.sample import sampled
from chandlery.services.check.shelves import CsvShelf, PostgresShelf, Shelf, TableShelf

__all__ = [
    "CsvShelf",
    "PostgresShelf",
    "Repair",
    "Report",
    "Scope",
    "Shelf",
    "TableShelf",
    "check",
    "new_doubts",
    "repair",
    "sampled",
    "worst_first",
]
