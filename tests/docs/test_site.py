"""The built site asks nobody for anything. ``make docs`` builds it; without it there is nothing to look at."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

SITE = Path(__file__).parents[2] / "build" / "docs"
FETCHED = re.compile(
    r"""<(?:script|img|iframe|source)\b[^>]*\ssrc=["'](?:https?:)?//"""
    r"""|<link\b(?=[^>]*rel=["'](?:stylesheet|preload|preconnect|icon))[^>]*\shref=["'](?:https?:)?//"""
    r"""|@import\s+["'](?:https?:)?//|url\(["']?(?:https?:)?//"""
)
"""What a browser would fetch from elsewhere by itself. A link, which a person follows, is none of it."""


@pytest.mark.skipif(not SITE.exists(), reason="the site was not built yet; make docs builds and tests it")
def test_the_site_fetches_nothing_from_elsewhere() -> None:
    pages = [path for ending in ("html", "css") for path in SITE.rglob(f"*.{ending}")]
    assert SITE / "index.html" in pages
    for page in pages:
        assert not FETCHED.search(page.read_text()), page
