"""``chandlery`` with the same arguments; its last line is the most memory it ever held, in bytes.

A second number is that of the largest program that it started.
"""

from __future__ import annotations

import resource
import sys
from pathlib import Path

from chandlery.cli import main

_STATUS = Path("/proc/self/status")


def peak_bytes() -> int:
    """This process's highest resident memory."""
    if _STATUS.exists():  # on Linux getrusage counts what the starting process held, too
        fields = dict(line.split(":", 1) for line in _STATUS.read_text().splitlines())
        return int(fields["VmHWM"].split()[0]) * 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def child_peak_bytes() -> int:
    """The highest resident memory of the largest program that this one started, 0 if it started none."""
    return resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024


if __name__ == "__main__":
    exit_code = main(sys.argv[1:])
    print(peak_bytes(), child_peak_bytes())
    sys.exit(exit_code)
