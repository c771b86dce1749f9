"""The page in a real browser: it loads without an error, shows what happened, and believes no name."""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from anyclaude_lab.wire.events import JsonObject
from tests.proxy.conftest import StartProxy
from tests.requirements import require_chromium
from tests.standins.http import wait_until_async
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import Refusal, ToolCall, Turn, reply
from tests.standins.search import SearchStandIn

pytestmark = pytest.mark.browser

FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
)
HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
READ = {
    "name": "Read",
    "description": "Reads a file.",
    "input_schema": {"type": "object", "properties": {"file_path": {"type": "string"}}},
}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
DEADLINE_S = 60
ROWS = "[...document.querySelectorAll('#rows tr')].map(row => [...row.cells].map(cell => cell.textContent))"
TEXTS = "Object.fromEntries([...document.querySelectorAll('[id]')].map(e => [e.id, e.textContent]))"


class Browser:
    """A headless Chromium, driven over its DevTools protocol (chromedevtools.github.io/devtools-protocol)."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket, self._serial = socket, 0
        self.complaints: list[str] = []
        """Errors of scripts, and what the page's console was told as an error."""

    async def say(self, method: str, **params: Any) -> JsonObject:
        """Send a command and wait for its result; what happens meanwhile is noted."""
        self._serial += 1
        await self._socket.send_json({"id": self._serial, "method": method, "params": params})
        while True:
            news = await self._socket.receive_json()
            if news.get("id") == self._serial:
                result: JsonObject = news.get("result", {})
                return result
            if news.get("method") == "Runtime.exceptionThrown" or (
                news.get("method") == "Log.entryAdded" and news["params"]["entry"]["level"] == "error"
            ):
                self.complaints.append(str(news["params"]))

    async def value(self, expression: str) -> Any:
        answer = await self.say("Runtime.evaluate", expression=expression, returnByValue=True)
        return answer["result"].get("value")

    async def wait_for(self, expression: str) -> None:
        async with asyncio.timeout(DEADLINE_S):
            while not await self.value(expression):
                await asyncio.sleep(0.05)


@asynccontextmanager
async def browser(profile: Path) -> AsyncIterator[Browser]:
    line = [str(require_chromium()), *FLAGS, f"--user-data-dir={profile}", "--remote-debugging-port=0", "about:blank"]
    quiet = asyncio.subprocess.DEVNULL
    process = await asyncio.create_subprocess_exec(*line, stdout=quiet, stderr=quiet)
    try:
        port_file = profile / "DevToolsActivePort"
        await wait_until_async(lambda: port_file.exists() and "\n" in port_file.read_text(), "it starts", DEADLINE_S)
        port = port_file.read_text().split("\n")[0]
        async with aiohttp.ClientSession(trust_env=False) as session:
            async with session.get(f"http://127.0.0.1:{port}/json") as answer:
                target = next(t for t in await answer.json() if t["type"] == "page")
            async with session.ws_connect(target["webSocketDebuggerUrl"], max_msg_size=0) as socket:
                page = Browser(socket)
                for domain in ("Page", "Runtime", "Log"):
                    await page.say(f"{domain}.enable")
                yield page
    finally:
        process.terminate()
        await process.wait()


@pytest.mark.parametrize("theme", ["light", "dark"])
async def test_the_page_shows_what_happened_without_an_error(start: StartProxy, tmp_path: Path, theme: str) -> None:
    turns: list[Turn] = [
        reply("first", prompt_tokens=18_204, cached_tokens=0, output_tokens=12),
        reply(ToolCall("Read", {"file_path": "/a"}), prompt_tokens=18_404, cached_tokens=17_920, output_tokens=61),
        Refusal(400, "the backend said no"),
        reply("hostile", prompt_tokens=10, cached_tokens=0),
    ]
    async with SearchStandIn("searxng") as search, OpenAIStandIn(turns, profile="mlx-lm") as backend:
        proxy = await start(backend.url, env={"SEARXNG_URL": search.url})
        await proxy.ask()
        await proxy.ask(tools=[READ])
        await proxy.ask()
        await proxy.ask(model=HOSTILE)
        await proxy.ask(tools=[SEARCH])
        async with browser(tmp_path / "browser") as page:
            await page.say("Emulation.setEmulatedMedia", features=[{"name": "prefers-color-scheme", "value": theme}])
            await page.say(
                "Emulation.setDeviceMetricsOverride", width=1280, height=800, deviceScaleFactor=1, mobile=False
            )
            await page.say("Page.navigate", url=f"{proxy.url}/")
            await page.wait_for("document.querySelectorAll('#rows tr').length === 5")
            await page.wait_for("document.getElementById('answered').textContent === '5'")
            rows = await page.value(ROWS)
            texts = await page.value(TEXTS)
            injected = await page.value("document.images.length + document.scripts.length")
            title = await page.value("document.title")
            picture = b64decode((await page.say("Page.captureScreenshot"))["data"])
            (tmp_path / f"dashboard-{theme}.png").write_bytes(picture)
        assert page.complaints == []
    assert "web search" in rows[0]  # the youngest first, and none twice
    assert rows[1][2] == HOSTILE
    assert (title, injected) == ("anyclaude", 1)
    assert rows[2][4] == "HTTP 400" and "the backend said no" in rows[2][-1]
    assert rows[3][2:8] == ["claude-test", "local", "tool_use", "18,404", "17,920", "61"]
    assert rows[3][-1] == "Read"
    assert (texts["mode"], texts["state"], texts["active"], texts["hits"]) == ("local", "ready", "0", "49 %")
    assert proxy.url in texts["how"]


async def test_news_arrive_without_a_reload(start: StartProxy, tmp_path: Path) -> None:
    async with OpenAIStandIn([reply("first")]) as backend:
        proxy = await start(backend.url)
        async with browser(tmp_path / "browser") as page:
            await page.say("Page.navigate", url=f"{proxy.url}/")
            await page.wait_for("document.getElementById('state').textContent === 'ready'")
            await wait_until_async(lambda: proxy.serving.live.listeners == 1, "the page listens")
            await proxy.ask(model="claude-later")
            await page.wait_for("document.getElementById('rows').textContent.includes('claude-later')")
            assert page.complaints == []


async def test_a_backend_that_is_gone_shows(start: StartProxy, tmp_path: Path) -> None:
    async with OpenAIStandIn() as backend:
        url = backend.url
    proxy = await start(url)
    async with browser(tmp_path / "browser") as page:
        await page.say("Page.navigate", url=f"{proxy.url}/")
        await page.wait_for("document.getElementById('state').textContent === 'not ready'")
        assert url in (await page.value(TEXTS))["problem"]
        # The browser itself notes the 503 of /health/ready; no script failed.
        assert [text for text in page.complaints if "exception" in text.lower()] == []
