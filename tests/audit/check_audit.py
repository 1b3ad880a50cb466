"""Which locked dependencies have known weaknesses: exit code 1 if any has.

Run as ``python check_audit.py requirements/run.txt ...``. Where the advisory database cannot be reached, as behind a
mirror that serves packages alone, it says so and ends with 0: what nobody could look at is no reason to stop.
"""

from __future__ import annotations

import json
import subprocess
import sys

_WITHIN_S = 120


def audited(path: str) -> list[dict]:
    """The dependencies in a lock file, each with ``vulns`` or ``skip_reason``; none if nobody could be asked."""
    command = [sys.executable, "-m", "pip_audit", "--disable-pip", "--require-hashes", "--format", "json", "-r", path]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=_WITHIN_S)
        return json.loads(done.stdout)["dependencies"]
    except (subprocess.TimeoutExpired, ValueError, KeyError):
        return []


def main(paths: list[str]) -> int:
    weak = 0
    for path in paths:
        found = audited(path)
        looked_at = [one for one in found if "vulns" in one]
        for one in looked_at:
            for weakness in one["vulns"]:
                weak += 1
                mended = ", ".join(weakness.get("fix_versions") or ["no version"])
                say(f"{path}: {one['name']} {one['version']} has {weakness['id']}, mended in {mended}")
        if not looked_at:
            say(f"{path}: NOT AUDITED, the package index here does not serve its advisory database.")
        else:
            skipped = [one["name"] for one in found if "vulns" not in one]
            say(
                f"{path}: {len(looked_at)} dependencies audited"
                + (f", but not {', '.join(skipped)}" if skipped else "")
            )
    return 1 if weak else 0


def say(text: str) -> None:
    sys.stdout.write(text + "\n")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
