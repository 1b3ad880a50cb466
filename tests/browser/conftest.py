"""One browser for all tests of the page; where there is none, CI installs it and others are told."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from chromium import Chromium, found
from served import fill, served

from chandlery.storage.postgres import PostgreSQLStorage

ARTEFACTS, REQUIRED = "CHANDLERY_TEST_ARTEFACTS", "CHANDLERY_TEST_BROWSER"


@pytest.fixture(scope="session")
def browser() -> Iterator[Chromium]:
    program = found()
    if program is None:
        assert REQUIRED not in os.environ, "there is no Chromium, and this run needs one"
        pytest.skip("there is no Chromium on this machine; on Debian: apt-get install chromium")
    made = Chromium(program)
    yield made
    made.close()


@pytest.fixture
def filled(storage: PostgreSQLStorage) -> PostgreSQLStorage:
    fill(storage)
    return storage


@pytest.fixture
def address(filled: PostgreSQLStorage) -> Iterator[str]:
    with served(filled) as url:
        yield url


@pytest.fixture
def pictures(tmp_path: Path) -> Path:
    """Where screenshots are kept: in the folder that CHANDLERY_TEST_ARTEFACTS names, or with what pytest keeps."""
    return Path(os.environ.get(ARTEFACTS) or tmp_path)
