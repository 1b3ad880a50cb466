"""Where recordings of real candles are, which are not part of the project.

CHANDLERY_REAL_CANDLES names their folder, else it is ``../shared/data`` beside the repository.
"""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from processes import REPOSITORY

FOLDER = Path(os.environ.get("CHANDLERY_REAL_CANDLES") or REPOSITORY.parent / "shared" / "data")
BTC_1M = FOLDER / "okx_BTC-USDT-SWAP_1m_2026-01.parquet"


def needs(*names: str) -> pytest.MarkDecorator:
    """The mark of tests that look at these files."""
    return pytest.mark.skipif(not all((FOLDER / name).exists() for name in names), reason=absence(*names))


def absence(*names: str) -> str:
    """What a test says that is skipped because such files are not here."""
    return (
        f"real candles are not part of the project, and {FOLDER} does not have {' and '.join(names)}; "
        "set CHANDLERY_REAL_CANDLES to a folder that has them, as docs/validation.md says"
    )
