"""Where recordings of real candles are, which are not part of the project.

CHANDLERY_REAL_CANDLES names their folder, else it is ``../shared/data`` beside the repository.
"""

from __future__ import annotations

import os
from pathlib import Path

from processes import REPOSITORY

FOLDER = Path(os.environ.get("CHANDLERY_REAL_CANDLES") or REPOSITORY.parent / "shared" / "data")
BTC_1M = FOLDER / "okx_BTC-USDT-SWAP_1m_2026-01.parquet"
