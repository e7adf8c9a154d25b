"""A headless Chromium, spoken to by the DevTools protocol over two pipes: no library, no port."""

from __future__ import annotations

import base64
import json
import os
import select
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Any, Self

FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync", "--disable-extensions", "--disable-default-apps",
    "--disable-dev-shm-usage", "--hide-scrollbars", "--force-device-scale-factor=1", "--font-render-hinting=none",
    "--remote-debugging-pipe",
)  # fmt: skip
MOVED = """
import fcntl, os, sys
ours = [fcntl.fcntl(int(text), fcntl.F_DUPFD, 20) for text in sys.argv[1:3]]
os.dup2(ours[0], 3)
os.dup2(ours[1], 4)
os.execv(sys.argv[3], sys.argv[3:])
"""
"""The protocol's pipes are descriptors 3 and 4 of the browser."""
PATIENCE_S = 40.0
READ_BYTES = 1 << 20
ASLEEP_S = 0.02


def find_browser() -> str | None:
    """The Chromium or Chrome of this machine, None if there is none."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))), None)


class Browser:
    """One page of one browser; ``problems``: errors of the console, ``requests``: addresses that it asked for."""

    def __init__(self) -> None:
        self.problems: list[str] = []
        self.requests: list[str] = []
        self._number = 0
        self._answers: dict[int, Any] = {}
        self._rest = b""
        self._loaded = False

    def __enter__(self) -> Self:
        self._folder = tempfile.TemporaryDirectory(prefix="hostsim-browser-", ignore_cleanup_errors=True)
        to_browser, self._write = os.pipe()
        self._read, from_browser = os.pipe()
        command = [find_browser() or "chromium", *FLAGS, f"--user-data-dir={self._folder.name}", "about:blank"]
        self._process = subprocess.Popen(
            [sys.executable, "-SE", "-c", MOVED, str(to_browser), str(from_browser), *command],
            pass_fds=(to_browser, from_browser), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )  # fmt: skip
        os.close(to_browser)
        os.close(from_browser)
        self._session = ""
        try:
            page = self.call("Target.createTarget", url="about:blank")["targetId"]
            self._session = self.call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "Network", "Log"):
                self.call(f"{domain}.enable")
        except BaseException:
            self._stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop()

    def _stop(self) -> None:
        os.close(self._write)
        os.close(self._read)
        self._process.terminate()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._folder.cleanup()

    def call(self, method: str, **arguments: Any) -> Any:
        """The result of a method of the protocol."""
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": arguments}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        until = time.monotonic() + PATIENCE_S
        while self._number not in self._answers:
            assert time.monotonic() < until, f"{method}: no answer within {PATIENCE_S} s"
            self._hear(1.0)
        answer = self._answers.pop(self._number)
        assert "error" not in answer, f"{method}: {answer.get('error')}"
        return answer["result"]

    def _hear(self, patience_s: float) -> None:
        if not select.select([self._read], [], [], patience_s)[0]:
            return
        content = os.read(self._read, READ_BYTES)
        assert content, "the browser has ended"
        *messages, self._rest = (self._rest + content).split(b"\0")
        for message in messages:
            self._take(json.loads(message))

    def _take(self, message: dict[str, Any]) -> None:
        if "id" in message:
            self._answers[message["id"]] = message
            return
        method, told = message["method"], message["params"]
        if method == "Page.loadEventFired":
            self._loaded = True
        elif method == "Network.requestWillBeSent":
            self.requests.append(told["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.problems.append(str(told["exceptionDetails"].get("exception", told["exceptionDetails"]).get("description")))
        elif method == "Log.entryAdded" and told["entry"]["level"] in {"error", "warning"}:
            self.problems.append(told["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and told["type"] in {"error", "warning"}:
            self.problems.append(str(told["args"]))

    def size(self, width: int, height: int, scale: float = 1.0) -> None:
        """Pixels of the window."""
        self.call(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=scale, mobile=width < 500
        )

    def scheme(self, name: str) -> None:
        """``light`` or ``dark``."""
        self.call("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": name}])

    def open(self, path: Path) -> float:
        """Open a report; returns the seconds until its charts are drawn."""
        self.problems.clear()
        self.requests.clear()
        self._loaded, start = False, time.monotonic()
        self.call("Page.navigate", url=path.absolute().as_uri())
        while not self._loaded or not self.value("document.documentElement.dataset.drawn === 'yes'"):
            self._hear(ASLEEP_S)
            assert time.monotonic() < start + PATIENCE_S, f"{path}: not drawn: {self.problems}"
        return time.monotonic() - start

    def value(self, expression: str) -> Any:
        """The value of a JavaScript expression, awaited if it is a promise."""
        told = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    def mouse(self, kind: str, x: float, y: float, *, pressed: bool = False) -> None:
        """mousePressed, mouseMoved or mouseReleased at a place of the window."""
        button = "left" if pressed or kind != "mouseMoved" else "none"
        self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, button=button,
                  buttons=int(pressed or kind == "mousePressed"), clickCount=1)  # fmt: skip

    def press(self, key: str) -> None:
        """A key, at the element that has the focus."""
        for kind in ("keyDown", "keyUp"):
            self.call("Input.dispatchKeyEvent", type=kind, key=key)

    def picture(self, *, full: bool = True) -> bytes:
        """The page as PNG, whole or as the window shows it."""
        found = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=full)
        return base64.b64decode(found["data"])

    def pdf(self) -> bytes:
        """The page as it is printed."""
        return base64.b64decode(
            self.call("Page.printToPDF", printBackground=True, paperWidth=8.27, paperHeight=11.69)["data"]
        )
