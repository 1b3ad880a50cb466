"""The check of a whole folder."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from chandlery.errors import ConfigurationError, StorageError
from chandlery.services.export_qlib.checking.calendars import check_calendars
from chandlery.services.export_qlib.checking.features import check_features
from chandlery.services.export_qlib.checking.findings import Finding, error, warning
from chandlery.services.export_qlib.checking.instruments import Listed, check_instruments
from chandlery.services.export_qlib.layout import CALENDARS, FEATURES, INSTRUMENTS, MANIFEST
from chandlery.services.export_qlib.manifest import Manifest, fingerprint
from chandlery.services.export_qlib.reading import Times


def check_folder(root: Path) -> list[Finding]:
    """Everything in a folder that Qlib stumbles over, and what comes of it; nothing is changed.

    Raises ConfigurationError if there is no such folder, StorageError if it cannot be read.
    """
    if not root.is_dir():
        raise ConfigurationError(f"there is no folder {root}.", hint=f"Make it: chandlery export qlib {root}")
    try:
        return list(_findings(root))
    except OSError as failure:
        raise StorageError(f"{root} cannot be read: {failure.strerror}.", hint="Look at the permissions.") from failure


def _findings(root: Path) -> Iterator[Finding]:
    missing = [name for name in (CALENDARS, INSTRUMENTS, FEATURES) if not (root / name).is_dir()]
    for name in missing:
        yield error(name, "is missing: this is no folder for Qlib.")
    if missing:
        return
    calendars: dict[str, Times] = {}
    listed: Listed = {}
    yield from check_calendars(root, calendars)
    if not calendars:
        yield error(CALENDARS, "holds no calendar that can be read: no query works.")
    yield from check_instruments(root, listed)
    yield from check_features(root, calendars, listed)
    if (root / MANIFEST).exists():
        yield from _check_fingerprints(root)


def _check_fingerprints(root: Path) -> Iterator[Finding]:
    """An export of ours must be as it was written."""
    manifest = Manifest.read(root)
    for name, kept in (manifest.files if manifest else {}).items():
        if not (root / name).exists():
            yield error(name, "was exported, and is gone.")
        elif fingerprint(root / name) != kept:
            yield warning(name, "was changed since it was exported; the next export puts it right.")
