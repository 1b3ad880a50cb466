"""The page in a real browser: it shows what is stored, says what is missing, and can be used by everybody."""

from __future__ import annotations

from pathlib import Path

import psycopg
from chromium import Chromium, Page
from served import GAP, HOURS, save, served

from candles import START, candles, series
from chandlery.domain.timeframe import HOUR_MS, MINUTE_MS
from chandlery.storage.postgres import PostgreSQLStorage

GAP_START = START + GAP.start * HOUR_MS
ETH = "#/okx/ETH-USDT/1h"
LEGEND = "document.getElementById('legend').textContent"
HOLES = "document.getElementById('holes').textContent"
LOADED = (
    "document.getElementById('holes').textContent.includes('loaded') && document.querySelector('#map canvas') !== null"
)
INK = """(() => {
  const seen = new Set();
  for (const canvas of document.querySelectorAll('#chart canvas')) {
    if (!canvas.width || !canvas.height) continue;
    const data = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height).data;
    for (let i = 0; i < data.length; i += 4) if (data[i + 3]) seen.add(data[i] + ',' + data[i + 1] + ',' + data[i + 2]);
  }
  return [...seen];
})()"""
"""Every colour on the chart."""
UP, DOWN = "12,143,123", "214,69,61"


def opened(page: Page, address: str, place: str = "") -> Page:
    page.open(f"{address}/{place}")
    page.until(LOADED)
    return page


def test_candles_are_on_the_screen_and_nothing_complains(browser: Chromium, address: str, pictures: Path) -> None:
    with browser.page() as page:
        opened(page, address)
        page.until(INK, lambda colours: {UP, DOWN} <= set(colours or ()))
        assert "BTC-USDT 1h" in page.value("document.title")
        assert page.value(LEGEND).startswith("2024-02-11 15:00 UTC")
        assert f"{HOURS // 1000}\u202f000 candles loaded, no gap" in page.value(HOLES)
        page.picture(pictures / "laptop.png")
        assert page.complaints == []
        assert [url for url in page.requested if not url.startswith(address)] == []


def test_twenty_thousand_candles_fit_on_the_screen(
    browser: Chromium, storage: PostgreSQLStorage, pictures: Path
) -> None:
    storage.require_schema()
    save(storage, candles(series("SOL-USDT", "1m"), 20_500))
    with served(storage) as address, browser.page() as page:
        opened(page, address)
        page.click("#zoom button:last-child")
        page.until(HOLES, lambda text: "20\u202f" in text or "21\u202f" in text)
        page.until(INK, lambda colours: {UP, DOWN} <= set(colours or ()))
        page.picture(pictures / "20000.png")


def test_scrolling_left_loads_what_is_older(browser: Chromium, address: str) -> None:
    with browser.page() as page:
        opened(page, address, "#/okx/BTC-USDT/1m")
        page.until(HOLES, lambda text: text.startswith("1\u202f000 "))
        page.value("document.getElementById('chart').focus()")
        page.press("Home")
        page.until(HOLES, lambda text: text.startswith("3\u202f000 "))


def test_a_gap_stays_a_gap_and_is_marked(browser: Chromium, address: str, pictures: Path) -> None:
    with browser.page() as page:
        opened(page, address, f"{ETH}?at={GAP_START}")
        page.until(LEGEND, lambda text: "gap: not collected" in text)
        assert "1 gap among them, 20 h in all" in page.value(HOLES)
        page.picture(pictures / "gap.png", whole=True)


def test_a_click_in_the_map_moves_the_chart(browser: Chromium, address: str) -> None:
    with browser.page() as page:
        opened(page, address)
        page.click(".map-row:last-child canvas", across=(GAP.start + 10) / HOURS)
        page.until(LEGEND, lambda text: "gap: not collected" in text)
        assert page.value("location.hash").startswith(f"{ETH}?at=")
        assert "gap" in page.value("document.getElementById('map-said').textContent")


def test_the_map_and_the_chart_can_be_used_with_the_keyboard(browser: Chromium, address: str) -> None:
    with browser.page() as page:
        opened(page, address)
        page.value("document.querySelector('#map canvas').focus()")
        page.press("ArrowDown", "ArrowDown", "Home", "ArrowRight")
        said = "document.activeElement.getAttribute('aria-valuetext')"
        page.until(said, lambda text: text is not None and text.startswith("ETH-USDT 1h, 2024-01-01"))
        page.press("Enter")
        page.until("location.hash", lambda text: text.startswith(f"{ETH}?at="))
        page.until("document.title", lambda text: text.startswith("ETH-USDT 1h"))
        page.value("document.getElementById('chart').focus()")
        page.press("ArrowLeft")
        page.until("document.getElementById('spoken').textContent", lambda text: "UTC" in text)


def test_symbols_are_found_and_chosen_with_the_keyboard(browser: Chromium, address: str) -> None:
    with browser.page() as page:
        opened(page, address)
        page.press("Tab", "Tab")
        assert page.value("document.activeElement.id") == "symbol"
        page.type("eth")
        page.until("document.querySelectorAll('#symbols [role=option]').length", lambda count: count == 1)
        page.press("Enter")
        page.until("document.title", lambda text: text.startswith("ETH-USDT 1h"))


def test_everything_that_can_be_used_has_a_name(browser: Chromium, address: str) -> None:
    with browser.page() as page:
        opened(page, address)
        tree = page.ask("Accessibility.getFullAXTree")["nodes"]
        usable = {"button", "textbox", "combobox", "slider", "radio", "link", "searchbox", "radiogroup"}
        nameless = [
            node["role"]["value"]
            for node in tree
            if node.get("role", {}).get("value") in usable and not node.get("name", {}).get("value")
        ]
        assert nameless == []


def test_light_and_dark_follow_the_system_until_one_is_chosen(browser: Chromium, address: str, pictures: Path) -> None:
    background = "getComputedStyle(document.body).backgroundColor"
    with browser.page(dark=True) as page:
        opened(page, address)
        dark = page.value(background)
        page.picture(pictures / "dark.png")
        page.prefer("light")
        page.until(background, lambda colour: colour != dark)
        page.click("#theme")
        page.until(background, lambda colour: colour == dark)
        opened(page, address)
        assert page.value(background) == dark, "the choice is remembered"


def test_a_phone_shows_it_without_scrolling_sideways(browser: Chromium, address: str, pictures: Path) -> None:
    with browser.page(390, 844, phone=True) as page:
        opened(page, address)
        assert page.value("document.documentElement.scrollWidth") <= 390
        page.picture(pictures / "phone.png", whole=True)


def test_a_hostile_symbol_stays_text(browser: Chromium, filled: PostgreSQLStorage) -> None:
    hostile = "<img src=x onerror=\"document.title='broken'\">"
    with psycopg.connect(filled.database.conninfo) as connection:
        connection.execute("UPDATE chandlery.instrument SET symbol = %s WHERE symbol = 'ETH-USDT'", [hostile])
    with served(filled) as address, browser.page() as page:
        opened(page, address)
        page.click(".map-row:nth-child(2) canvas", across=0.3)
        page.until("document.title", lambda text: text.startswith(hostile))
        page.click("#symbol")
        page.until("!document.getElementById('symbols').hidden")
        page.click("details summary")
        assert page.value("document.querySelectorAll('img').length") == 1, "only our own"
        assert page.complaints == []


def test_a_candle_that_is_stored_appears_by_itself(browser: Chromium, filled: PostgreSQLStorage) -> None:
    with served(filled) as address, browser.page() as page:
        opened(page, address, "#/okx/BTC-USDT/1m")
        page.until("document.getElementById('live').textContent", lambda text: text == "live")
        filled.writer.notify = True
        save(filled, candles(series("BTC-USDT", "1m"), 1, start=START + 3_000 * MINUTE_MS))
        page.until(LEGEND, lambda text: text.startswith("2024-01-03 02:00 UTC"))


def test_a_server_that_is_gone_is_told_of(browser: Chromium, filled: PostgreSQLStorage) -> None:
    with browser.page() as page:
        with served(filled) as address:
            opened(page, address)
        page.value("location.hash = '#/okx/BTC-USDT/1m'")
        page.until("document.getElementById('trouble').textContent", lambda text: "does not answer" in text)
