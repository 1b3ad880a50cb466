"""Judging a folder that Qlib is to read, whoever made it."""

from chandlery.services.export_qlib.checking.findings import Finding
from chandlery.services.export_qlib.checking.folder import check_folder

__all__ = ["Finding", "check_folder"]
