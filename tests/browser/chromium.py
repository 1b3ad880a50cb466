"""Chromium without a window, driven through its own protocol over two pipes: no driver, no port, no dependency."""

from __future__ import annotations

import base64
import json
import os
import queue
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

PATIENCE_S = 20.0
_NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
_OPTIONS = (
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-extensions",
    "--no-first-run",
    "--remote-debugging-pipe",
)
_WIRED = """
import fcntl, os, sys
given = [fcntl.fcntl(int(number), fcntl.F_DUPFD_CLOEXEC, 10) for number in sys.argv[1:3]]
for number, place in zip(given, (3, 4)):
    os.dup2(number, place)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""Chromium reads at 3 and writes at 4."""
_KEYS = {
    "Enter": ("\r", 13), "Tab": ("", 9), "Escape": ("", 27), "Home": ("", 36), "End": ("", 35),
    "ArrowLeft": ("", 37), "ArrowUp": ("", 38), "ArrowRight": ("", 39), "ArrowDown": ("", 40),
}  # fmt: skip


def found() -> str | None:
    """The program, if this machine has one."""
    return next(filter(None, map(shutil.which, _NAMES)), None)


class Chromium:
    """One browser; each page is one of its own, without cookies or memory of the others."""

    def __init__(self, program: str) -> None:
        self._folder = tempfile.mkdtemp(prefix="chandlery-chromium-")
        theirs_in, self._to = os.pipe()
        self._from, theirs_out = os.pipe()

        self._process = subprocess.Popen(
            [
                *(sys.executable, "-c", _WIRED, str(theirs_in), str(theirs_out)),
                *(program, *_OPTIONS, f"--user-data-dir={self._folder}", "about:blank"),
            ],
            pass_fds=(theirs_in, theirs_out),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            env={**os.environ, "HOME": self._folder},
        )
        os.close(theirs_in)
        os.close(theirs_out)
        self._number = 0
        self._answers: dict[int, queue.Queue[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}
        threading.Thread(target=self._read, daemon=True).start()

    def close(self) -> None:
        with suppress(OSError):
            self.ask("Browser.close")
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(5)
        self._process.kill()
        self._process.wait()
        os.close(self._to)
        shutil.rmtree(self._folder, ignore_errors=True)

    def ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        """Send a command and wait for its answer."""
        self._number += 1
        number, answer = self._number, queue.Queue[dict[str, Any]]()
        self._answers[number] = answer
        message = {"id": number, "method": method, "params": parameters}
        if session:
            message["sessionId"] = session
        os.write(self._to, json.dumps(message).encode() + b"\0")
        given = answer.get(timeout=PATIENCE_S)
        assert "error" not in given, f"{method}: {given['error']}"
        return dict(given.get("result", {}))

    @contextmanager
    def page(self, width: int = 1280, height: int = 900, *, phone: bool = False, dark: bool = False) -> Iterator[Page]:
        context = self.ask("Target.createBrowserContext")["browserContextId"]
        target = self.ask("Target.createTarget", url="about:blank", browserContextId=context)["targetId"]
        session = self.ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        page = self._pages[session] = Page(self, session)
        for domain in ("Page", "Runtime", "Network", "Log"):
            page.ask(f"{domain}.enable")
        scale = 2 if phone else 1
        page.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=phone
        )
        page.prefer("dark" if dark else "light")
        try:
            yield page
        finally:
            self.ask("Target.disposeBrowserContext", browserContextId=context)

    def _read(self) -> None:
        rest = b""
        with os.fdopen(self._from, "rb", buffering=0) as pipe:
            while came := pipe.read(1 << 16):
                *messages, rest = (rest + came).split(b"\0")
                for text in messages:
                    self._take(json.loads(text))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers.pop(message["id"]).put(message)
        elif message.get("sessionId") in self._pages:
            self._pages[message["sessionId"]].happened(message["method"], message["params"])


class Page:
    """One page: what it shows, what it asked for, and what it complained about."""

    def __init__(self, browser: Chromium, session: str) -> None:
        self._browser, self._session = browser, session
        self.requested: list[str] = []
        self.complaints: list[str] = []

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        return self._browser.ask(method, self._session, **parameters)

    def happened(self, method: str, told: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requested.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(json.dumps(told["exceptionDetails"]))
        elif method == "Log.entryAdded" and told["entry"]["level"] in ("error", "warning"):
            self.complaints.append(told["entry"]["text"] + " " + told["entry"].get("url", ""))
        elif method == "Runtime.consoleAPICalled" and told["type"] in ("error", "warning", "assert"):
            self.complaints.append(json.dumps(told["args"]))

    def open(self, url: str) -> None:
        self.ask("Page.navigate", url=url)

    def prefer(self, scheme: str) -> None:
        """The colours that the person's system is set to."""
        self.ask("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": scheme}])

    def value(self, expression: str) -> Any:
        """What an expression is, awaited if it is a promise."""
        given = self.ask("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in given, given["exceptionDetails"]
        return given["result"].get("value")

    def until(self, expression: str, wanted: Callable[[Any], bool] = bool) -> Any:
        """Look until an expression is as wanted; its value."""
        give_up = time.monotonic() + PATIENCE_S
        while True:
            seen = self.value(f"(() => {{ try {{ return {expression}; }} catch {{ return null; }} }})()")
            if wanted(seen):
                return seen
            assert time.monotonic() < give_up, f"{expression} stayed {seen!r}; complaints: {self.complaints}"
            time.sleep(0.03)

    def click(self, selector: str, across: float = 0.5) -> None:
        """With a real mouse, so far across the element."""
        self.value(f"document.querySelector({selector!r}).scrollIntoView({{block: 'center'}})")
        box = self.value(
            f"(() => {{ const b = document.querySelector({selector!r}).getBoundingClientRect();"
            "return [b.left, b.top, b.width, b.height]; })()"
        )
        x, y = box[0] + box[2] * across, box[1] + box[3] / 2
        self.ask("Input.dispatchMouseEvent", type="mouseMoved", x=x, y=y)
        for kind in ("mousePressed", "mouseReleased"):
            self.ask("Input.dispatchMouseEvent", type=kind, x=x, y=y, button="left", clickCount=1)

    def press(self, *keys: str) -> None:
        for key in keys:
            text, code = _KEYS.get(key, (key, ord(key[0].upper())))
            known = {"key": key, "windowsVirtualKeyCode": code}
            self.ask("Input.dispatchKeyEvent", type="keyDown" if text else "rawKeyDown", text=text, **known)
            self.ask("Input.dispatchKeyEvent", type="keyUp", **known)

    def type(self, text: str) -> None:
        self.ask("Input.insertText", text=text)

    def picture(self, file: Path, *, whole: bool = False) -> None:
        shot = self.ask("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(base64.b64decode(shot["data"]))
