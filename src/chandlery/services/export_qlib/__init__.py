"""Candles in the folder format of Qlib."""

from chandlery.services.export_qlib.report import ExportReport, SeriesReport
from chandlery.services.export_qlib.run import export_qlib
from chandlery.services.export_qlib.selection import Selection

__all__ = ["ExportReport", "Selection", "SeriesReport", "export_qlib"]
