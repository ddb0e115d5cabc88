"""Debian's Chromium, headless, spoken to through its DevTools protocol: what a page says, shows, and does with keys."""

import asyncio
import base64
import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import aiohttp

from volumehealth_sandbox.ports import free_ports
from volumehealth_sandbox.processes import Program

CHROMIUM = shutil.which("chromium")
WHY_NOT = "no chromium (Debian: apt-get install chromium)"
_KEYS = {"Tab": (9, ""), "Enter": (13, "\r"), " ": (32, " ")}


class Browser:
    """One page of a browser of one's own; an async context manager.

    Attributes:
        complaints: errors and warnings of the page's console, and exceptions.
        requests: every address that the page asked for.

    Args:
        home: directory for its profile and log.
    """

    def __init__(self, home: Path) -> None:
        self.complaints: list[str] = []
        self.requests: list[str] = []
        (port,) = free_ports(1)
        self._address = f"http://127.0.0.1:{port}"
        self._program = Program(
            "chromium",
            lambda: (
                str(CHROMIUM),
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--disable-dev-shm-usage",
                "--no-first-run",
                "--disable-background-networking",
                f"--user-data-dir={home}/profile",
                f"--remote-debugging-port={port}",
                "about:blank",
            ),
            home=home,
        )
        self._numbers = 0
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._loaded = asyncio.Event()

    async def __aenter__(self) -> Self:
        await asyncio.to_thread(self._program.start)
        self._session = aiohttp.ClientSession()
        self._socket = await self._session.ws_connect(await self._page(), max_msg_size=2**27)
        self._reading = asyncio.create_task(self._read())
        for domain in ("Page", "Runtime", "Log", "Network"):
            await self.send(f"{domain}.enable")
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        try:
            await self.send("Browser.close")  # a kill leaves its children, which go on writing to the profile
            await asyncio.wait_for(self._reading, 30)  # the connection ends with it
        except (AssertionError, TimeoutError, aiohttp.ClientError):
            self._reading.cancel()
        await self._socket.close()
        await self._session.close()
        await asyncio.to_thread(self._program.stop)

    async def send(self, method: str, **params: Any) -> Mapping[str, Any]:
        """Call a method of the protocol.

        Raises:
            AssertionError: if the browser refuses it.
        """
        self._numbers += 1
        answer = self._answers[self._numbers] = asyncio.get_running_loop().create_future()
        await self._socket.send_json({"id": self._numbers, "method": method, "params": params})
        body = await asyncio.wait_for(answer, 30)
        assert "error" not in body, body
        found: Mapping[str, Any] = body["result"]
        return found

    async def open(self, file: Path, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Show a file in a window of this size, and wait until it is loaded."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.send("Emulation.setEmulatedMedia", features=[scheme])
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        await self.send("Emulation.setDeviceMetricsOverride", **size)
        self._loaded.clear()
        await self.send("Page.navigate", url=file.as_uri())
        await asyncio.wait_for(self._loaded.wait(), 30)

    async def eval(self, expression: str) -> Any:
        """Return what an expression of JavaScript gives."""
        answer = await self.send("Runtime.evaluate", expression=expression, returnByValue=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    async def press(self, key: str) -> None:
        """Press a key: Tab, Enter, space or a letter."""
        code, text = _KEYS.get(key, (0, key))
        what = {"key": key, "windowsVirtualKeyCode": code}
        await self.send("Input.dispatchKeyEvent", type="keyDown", text=text, **what)
        await self.send("Input.dispatchKeyEvent", type="keyUp", **what)

    async def screenshot(self, file: Path, *, whole: bool = False) -> bytes:
        """Take a picture of the window, or of the whole page, as PNG."""
        answer = await self.send("Page.captureScreenshot", format="png", captureBeyondViewport=whole)
        picture = base64.b64decode(answer["data"])
        await asyncio.to_thread(file.write_bytes, picture)
        return picture

    async def _page(self) -> str:
        async with asyncio.timeout(60):
            while True:
                self._program.check_alive()
                try:
                    async with self._session.get(f"{self._address}/json") as answer:
                        pages = [one for one in await answer.json() if one["type"] == "page"]
                        if pages:
                            return str(pages[0]["webSocketDebuggerUrl"])
                except aiohttp.ClientError:
                    pass
                await asyncio.sleep(0.1)

    async def _read(self) -> None:
        async for message in self._socket:
            body = json.loads(message.data)
            if "id" in body:
                self._answers.pop(body["id"]).set_result(body)
                continue
            self._take(body["method"], body["params"])

    def _take(self, method: str, params: Mapping[str, Any]) -> None:
        if method == "Page.loadEventFired":
            self._loaded.set()
        elif method == "Network.requestWillBeSent":
            self.requests.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(str(params["exceptionDetails"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] in ("error", "warning"):
            self.complaints.append(params["entry"]["text"])
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "warning", "assert"):
            self.complaints.append(str(params["args"]))
