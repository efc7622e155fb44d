"""A real browser: Debian's Chromium without a window, controlled through its DevTools protocol.

    with browser(directory) as tab:
        tab.resize(390, 844)
        tab.open(url)
        tab.press("Tab")
        tab.evaluate("document.activeElement.id")
        tab.screenshot(path)

If the package (about 100 MB) is missing and the user is root, it is installed.
"""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
from websockets.sync.client import connect
from websockets.sync.connection import Connection

from evaluation.shared.debian import INSTALL, UnavailableError, found_or_installed

TIMEOUT_S = 60.0
KEYS = {"Tab": 9, "Enter": 13, "Space": 32}


class BrowserError(Exception):
    """A command, or a script in the page, failed."""


class Tab:
    """One page of the browser. `problems` are the complaints of its console and its security policy."""

    def __init__(self, link: Connection) -> None:
        self._link = link
        self._last = 0
        self.problems: list[str] = []
        self._loaded: set[str] = set()  # loaded documents, by the browser's ids of their loading
        self._contexts: dict[int, str] = {}  # execution contexts of scripts, one for each document, with its origin
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")
        self._call("Page.setLifecycleEventsEnabled", enabled=True)

    def resize(self, width: int, height: int) -> None:
        """Gives the window this size. Below 600 px it is a phone's."""
        self._call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=width < 600,
        )

    def open(self, url: str) -> None:
        """Opens a page, and waits until everything is loaded."""
        loading = self._call("Page.navigate", url=url)["loaderId"]
        deadline_s = time.monotonic() + TIMEOUT_S
        while loading not in self._loaded:
            self._receive(deadline_s - time.monotonic())

    def roles(self) -> set[str]:
        """The roles that a screen reader gets."""
        nodes = self._call("Accessibility.getFullAXTree")["nodes"]
        return {node["role"]["value"] for node in nodes if not node["ignored"]}

    def evaluate(self, expression: str, **more: object) -> Any:
        """The value of a JavaScript expression. A promise is awaited."""
        answer = self._call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True, **more)
        if "exceptionDetails" in answer:
            raise BrowserError(str(answer["exceptionDetails"]))
        return answer["result"].get("value")

    def evaluate_in_frame(self, origin: str, expression: str) -> Any:
        """The value of an expression in the newest document of a frame from `origin`; `None` if there is none."""
        self.evaluate("0")  # reads the events that the browser has sent since
        contexts = [context for context, of in self._contexts.items() if of == origin]
        return self.evaluate(expression, contextId=contexts[-1]) if contexts else None

    def wait_until(self, expression: str, *, frame: str | None = None) -> None:
        """Waits until a JavaScript expression is true in a loaded page, or in the frame from the origin `frame`."""
        deadline_s = time.monotonic() + TIMEOUT_S
        whole = f"document.readyState === 'complete' && ({expression})"
        while not self._is_true(whole, frame):
            if time.monotonic() > deadline_s:
                raise AssertionError(f"not within {TIMEOUT_S:.0f} s: {expression}")
            time.sleep(0.05)

    def _is_true(self, expression: str, frame: str | None) -> bool:
        try:
            found = self.evaluate(expression) if frame is None else self.evaluate_in_frame(frame, expression)
        except BrowserError:  # the page changed in the meantime
            return False
        return found is True

    def press(self, key: str) -> None:
        """Presses a key of `KEYS`, or a key that writes its own character."""
        code = KEYS.get(key, 0)
        text = {"Enter": "\r", "Space": " ", "Tab": ""}.get(key, key)
        name = " " if key == "Space" else key
        self._call("Input.dispatchKeyEvent", type="keyDown", key=name, windowsVirtualKeyCode=code, text=text)
        self._call("Input.dispatchKeyEvent", type="keyUp", key=name, windowsVirtualKeyCode=code)

    def write(self, text: str) -> None:
        """Writes text at the cursor."""
        self._call("Input.insertText", text=text)

    def screenshot(self, path: Path) -> None:
        """The whole page as a PNG."""
        answer = self._call("Page.captureScreenshot", captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(answer["data"]))

    def _call(self, method: str, **parameters: object) -> dict[str, Any]:
        self._last += 1
        self._link.send(json.dumps({"id": self._last, "method": method, "params": parameters}))
        while True:
            message = self._receive(TIMEOUT_S)
            if message.get("id") == self._last:
                if "error" in message:
                    raise BrowserError(f"{method}: {message['error']}")
                result: dict[str, Any] = message["result"]
                return result

    def _receive(self, timeout_s: float) -> dict[str, Any]:
        message: dict[str, Any] = json.loads(self._link.recv(timeout=max(timeout_s, 0.0)))
        method, parameters = message.get("method", ""), message.get("params", {})
        if method == "Page.lifecycleEvent" and parameters["name"] == "load":
            self._loaded.add(parameters["loaderId"])
        elif method == "Log.entryAdded" and parameters["entry"]["level"] == "error":
            self.problems.append(f"{parameters['entry']['text']} {parameters['entry'].get('url', '')}")
        elif method == "Runtime.executionContextCreated":
            self._contexts[parameters["context"]["id"]] = parameters["context"]["origin"]
        elif method == "Runtime.executionContextDestroyed":
            self._contexts.pop(parameters["executionContextId"], None)
        elif method == "Runtime.executionContextsCleared":
            self._contexts.clear()
        elif method == "Runtime.exceptionThrown":
            self.problems.append(str(parameters["exceptionDetails"]))
        return message


@contextmanager
def browser() -> Iterator[Tab]:
    """A new browser with nothing stored. Raises UnavailableError."""
    with tempfile.TemporaryDirectory(prefix="slo-chromium-", ignore_cleanup_errors=True) as directory:
        command = [
            *(program(), "--headless=new", "--remote-debugging-port=0", f"--user-data-dir={directory}"),
            *("--no-first-run", "--no-default-browser-check", "--disable-gpu", "--disable-dev-shm-usage"),
            *("--disable-background-networking", "--disable-component-update", "--no-proxy-server"),
            *(["--no-sandbox"] if os.geteuid() == 0 else []),
        ]
        with (Path(directory) / "log").open("wb") as log:
            process = subprocess.Popen([*command, "about:blank"], stdout=log, stderr=log, stdin=subprocess.DEVNULL)
        try:
            with connect(_address(Path(directory), process), max_size=None, ping_interval=None, proxy=None) as link:
                yield Tab(link)
        finally:
            process.terminate()
            process.wait(TIMEOUT_S)


def program() -> str:
    """Chromium's command. If it is missing, Chromium is installed. Raises UnavailableError."""
    return found_or_installed(
        lambda: shutil.which("chromium"), f"{INSTALL} chromium fonts-dejavu-core", "Debian's package chromium"
    )


def _address(directory: Path, process: subprocess.Popen[bytes]) -> str:
    """The address of the first tab. The browser writes its port into a file."""
    file, deadline_s = directory / "DevToolsActivePort", time.monotonic() + TIMEOUT_S
    while not (file.exists() and file.read_text().strip()):
        if process.poll() is not None or time.monotonic() > deadline_s:
            raise UnavailableError(f"Chromium did not start: {(directory / 'log').read_text()[-1500:]}")
        time.sleep(0.05)
    port = file.read_text().split()[0]
    tabs = httpx.get(f"http://127.0.0.1:{port}/json/list", trust_env=False, timeout=TIMEOUT_S).json()
    address: str = next(tab for tab in tabs if tab["type"] == "page")["webSocketDebuggerUrl"]
    return address
