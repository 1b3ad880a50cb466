"""The specification's door to the database configuration; the thing itself is chandlery.storage.config."""

from chandlery.errors import ConfigurationError
from chandlery.storage.config import PostgresConfig

__all__ = ["ConfigurationError", "PostgresConfig"]

if __name__ == "__main__":
    print(PostgresConfig.from_env())
