"""chandlery keeps OKX candles in PostgreSQL and proves that none is missing.

from chandlery import PostgreSQLStorage

with PostgreSQLStorage("postgresql://user@host/database") as storage:
    frame = storage.get_ohlcv_data("BTC-USDT", "1m", "2024-01-01", "2024-01-31")
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from chandlery.errors import (
    ChandleryError,
    ConfigurationError,
    ConnectionError,
    DatabaseError,
    DataNotFoundError,
    DataValidationError,
    ExchangeError,
    HealthCheckError,
    StorageError,
)

if TYPE_CHECKING:
    from chandlery.services.check.tables import check_frame
    from chandlery.services.drawing.chart import chart
    from chandlery.services.live.iterate import LiveCandle, live
    from chandlery.services.opening import open_storage
    from chandlery.services.save_klines import save_klines
    from chandlery.settings import Settings, load_settings
    from chandlery.storage.announcements import Announcement, listen
    from chandlery.storage.candles import Candles
    from chandlery.storage.config import PostgresConfig
    from chandlery.storage.csv_files import CsvStore
    from chandlery.storage.postgres import PostgreSQLStorage
    from chandlery.storage.writer import SaveResult

# what needs pandas or a driver is imported when it is first used, so that the command line starts at once
_LAZY = {
    "Announcement": "chandlery.storage.announcements",
    "Candles": "chandlery.storage.candles",
    "CsvStore": "chandlery.storage.csv_files",
    "LiveCandle": "chandlery.services.live.iterate",
    "PostgreSQLStorage": "chandlery.storage.postgres",
    "PostgresConfig": "chandlery.storage.config",
    "SaveResult": "chandlery.storage.writer",
    "Settings": "chandlery.settings",
    "chart": "chandlery.services.drawing.chart",
    "check_frame": "chandlery.services.check.tables",
    "listen": "chandlery.storage.announcements",
    "live": "chandlery.services.live.iterate",
    "load_settings": "chandlery.settings",
    "open_storage": "chandlery.services.opening",
    "save_klines": "chandlery.services.save_klines",
}

__all__ = [
    "Announcement",
    "Candles",
    "ChandleryError",
    "ConfigurationError",
    "ConnectionError",
    "CsvStore",
    "DataNotFoundError",
    "DataValidationError",
    "DatabaseError",
    "ExchangeError",
    "HealthCheckError",
    "LiveCandle",
    "PostgreSQLStorage",
    "PostgresConfig",
    "SaveResult",
    "Settings",
    "StorageError",
    "chart",
    "check_frame",
    "listen",
    "live",
    "load_settings",
    "open_storage",
    "save_klines",
]


def __getattr__(name: str) -> Any:
    if name in _LAZY:
        return getattr(import_module(_LAZY[name]), name)
    raise AttributeError(f"module 'chandlery' has no attribute {name!r}")


def __dir__() -> list[str]:
    return __all__
