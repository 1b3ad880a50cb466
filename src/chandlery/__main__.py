"""``python -m chandlery`` is the command ``chandlery``."""

import sys

from chandlery.cli import main

if __name__ == "__main__":
    sys.exit(main())
