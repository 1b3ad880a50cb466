"""The specification's door to candles in PostgreSQL; the thing itself is chandlery.storage.postgres."""

from chandlery.errors import (
    ConfigurationError,
    ConnectionError,
    DatabaseError,
    DataNotFoundError,
    DataValidationError,
    HealthCheckError,
)
from chandlery.storage.postgres import PostgreSQLStorage

__all__ = [
    "ConfigurationError",
    "ConnectionError",
    "DataNotFoundError",
    "DataValidationError",
    "DatabaseError",
    "HealthCheckError",
    "PostgreSQLStorage",
]
