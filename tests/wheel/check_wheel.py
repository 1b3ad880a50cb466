"""Build the wheel, install it into an environment of its own, and collect candles with it, far from this repository.

    python tests/wheel/check_wheel.py

``make wheel-check`` calls it. It needs the packages of requirements/dev.txt and writes to a temporary folder only.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import venv
import zipfile
from collections.abc import Sequence
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
NOT_CODE = (
    "chandlery/py.typed",
    "chandlery/storage/sql/queries.sql",
    *(
        f"chandlery/web/static/{file.relative_to(REPOSITORY / 'src/chandlery/web/static')}"
        for file in (REPOSITORY / "src/chandlery/web/static").rglob("*.*")
    ),
    *(
        f"chandlery/storage/migrations/versions/{file.name}"
        for file in (REPOSITORY / "src/chandlery/storage/migrations/versions").glob("*.sql")
    ),
)
"""Files that packaging forgets easily."""
CANDLE = re.compile(r"^\d{4}-\d\d-\d\d \d\d:\d\d( +[\d.,]+){6}$", re.MULTILINE)


def main() -> int:
    """Check everything; 0 if all is well. A failure is an error of its own."""
    folder = Path(tempfile.mkdtemp(prefix="chandlery-wheel-"))
    folder.chmod(0o755)  # run as root, the embedded PostgreSQL runs as another user, who must be able to enter
    try:
        wheel = build(folder)
        check_contents(wheel)
        environment = install(wheel, folder / "venv")
        use(environment, folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    sys.stdout.write("The wheel installs and collects by itself.\n")
    return 0


def build(folder: Path) -> Path:
    """The wheel, built from this repository with the build tools of the running environment."""
    run([sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", folder / "dist", REPOSITORY])
    [wheel] = (folder / "dist").glob("chandlery-*.whl")
    return wheel


def check_contents(wheel: Path) -> None:
    """The wheel holds the files that are not code, and nothing but the package."""
    names = zipfile.ZipFile(wheel).namelist()
    missing = [name for name in NOT_CODE if name not in names]
    require(len(NOT_CODE) > 2, "the repository has no migration at all")
    require(not missing, f"the wheel lacks {missing}")
    strange = [name for name in names if not re.match(r"chandlery(/|-[^/]+\.dist-info/)", name)]
    require(not strange, f"the wheel holds what does not belong to the package: {strange}")


def install(wheel: Path, target: Path) -> Path:
    """A new virtual environment with the locked dependencies and the wheel; its folder of programs."""
    venv.create(target, with_pip=True)
    pip = [target / "bin" / "python", "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    run([*pip, "--require-hashes", "-r", REPOSITORY / "requirements" / "run.txt"])
    run([*pip, "--no-deps", wheel])
    return target / "bin"


def use(programs: Path, folder: Path) -> None:
    """Show the version and run the demo, from another folder and without anything of ours in the environment."""
    version = run([programs / "chandlery", "--version"], folder)
    require(re.fullmatch(r"chandlery \d+\.\d+\.\d+\S*\n", version) is not None, f"--version wrote {version!r}")
    shown = run([programs / "chandlery", "demo"], folder)
    require("Complete: nothing is missing." in shown, f"the demo did not complete:\n{shown}")
    require(len(CANDLE.findall(shown)) > 0, f"the demo showed no candles:\n{shown}")


def run(command: Sequence[str | Path], folder: Path | None = None) -> str:
    """The standard output of a command that must succeed; in ``folder`` it sees an environment of its own."""
    environ = dict(os.environ)
    if folder is not None:
        kept = {name: environ[name] for name in ("PATH", "LANG", "TMPDIR") if name in environ}
        environ = kept | {"HOME": str(folder), "CHANDLERY_DATA_FOLDER": str(folder / "data")}
    done = subprocess.run([str(part) for part in command], cwd=folder, env=environ, capture_output=True, text=True)
    require(done.returncode == 0, f"{command[0]} ended with {done.returncode}:\n{done.stdout}{done.stderr}")
    return done.stdout


def require(holds: bool, otherwise: str) -> None:
    """Stop with a sentence unless something holds."""
    if not holds:
        raise SystemExit(f"check_wheel: {otherwise}")


if __name__ == "__main__":
    sys.exit(main())
