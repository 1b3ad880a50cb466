"""Make the pictures of docs/images: the page of ``chandlery serve`` over candles of the built-in exchange.

    python scripts/screenshots.py

It needs Chromium and the folder tests beside it, collects for about a minute, and leaves nothing but the pictures.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "tests" / "browser"))

from chromium import Chromium, Page, found  # type: ignore[import-not-found]  # noqa: E402

IMAGES = ROOT / "docs" / "images"
DAY_S = 86_400
LOADED = "document.querySelector('#map canvas') && document.getElementById('holes').textContent.includes('loaded')"
_ENDPOINTS = ("CANDLES", "HISTORY", "INSTRUMENTS", "TIME", "FILE_LISTING", "FILES")


def main() -> int:
    """Collect, serve, look, and clean up."""
    program = found()
    if program is None:
        sys.stderr.write("There is no Chromium on this machine: apt-get install chromium\n")
        return 1
    folder = Path(tempfile.mkdtemp(prefix="chandlery-screenshots-"))
    folder.chmod(0o755)
    try:
        environ = _environment(folder)
        with _until_ready(environ, "simulate", "--no-limits", "--seed", "4") as exchange:
            _collect(environ | {"CHANDLERY_DATA_COLLECTION_BASE_URL": exchange})
        with _until_ready(environ, "serve", "--port", "0") as address:
            _take(program, address)
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    return 0


def _environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("CHANDLERY_", "POSTGRES_"))}
    unhurried = {f"CHANDLERY_DATA_COLLECTION_{name}_LIMIT": "2000" for name in _ENDPOINTS}
    return kept | unhurried | {"CHANDLERY_DATA_FOLDER": str(folder), "CHANDLERY_DATA_COLLECTION_BULK": "never"}


def _collect(environ: dict[str, str]) -> None:
    """Three symbols; one of them with days that nobody collected, and the oldest months sealed."""

    def day(ago: int) -> str:
        return time.strftime("%Y-%m-%d", time.gmtime(time.time() - ago * DAY_S))

    frames = ("--timeframe", "15m,1h,1d")
    _run(environ, "collect", "BTC-USDT", "ETH-USDT", *frames, "--since", day(150))
    _run(environ, "collect", "BTC-USDT-SWAP", *frames, "--since", day(120), "--until", day(40))
    _run(environ, "collect", "BTC-USDT-SWAP", *frames, "--since", day(25))
    _run(environ, "collect", "BTC-USDT", "--timeframe", "1m", "--since", day(20))
    _run(environ, "seal", "BTC-USDT", "ETH-USDT")


def _run(environ: dict[str, str], *arguments: str) -> None:
    command = [sys.executable, "-m", "chandlery", *arguments]
    subprocess.run(command, env=environ, check=True, stdout=subprocess.DEVNULL)  # noqa: S603


@contextmanager
def _until_ready(environ: dict[str, str], *arguments: str) -> Iterator[str]:
    """Run a command that serves; gives the address that it names."""
    command = [sys.executable, "-m", "chandlery", *arguments]
    with subprocess.Popen(command, env=environ, stdout=subprocess.PIPE, text=True) as process:  # noqa: S603
        assert process.stdout is not None
        named = re.search(r"http://[\w.:]+", process.stdout.readline())
        try:
            assert named is not None, f"{arguments[0]} named no address"
            yield named[0]
        finally:
            process.terminate()


def _take(program: str, address: str) -> None:
    browser = Chromium(program)
    try:
        with browser.page(1200, 800) as page:
            _open(page, address)
            page.picture(IMAGES / "page.png", whole=True)
        with browser.page(1200, 800, dark=True) as page:
            _open(page, f"{address}/#/okx-simulated/BTC-USDT-SWAP/1h")
            page.click(".map-row:nth-child(8) canvas", across=0.78)
            page.until("document.getElementById('legend').textContent.includes('gap')")
            page.value("window.scrollTo(0, 0)")
            page.picture(IMAGES / "gap.png")
        with browser.page(390, 844, phone=True) as page:
            _open(page, address)
            page.picture(IMAGES / "phone.png")
    finally:
        browser.close()


def _open(page: Page, address: str) -> None:
    page.open(address)
    page.until(LOADED)
    time.sleep(1)  # until quiet runs are looked for and the canvases drawn


if __name__ == "__main__":
    sys.exit(main())
