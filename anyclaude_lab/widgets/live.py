"""`LiveProxy`: a proxy started and stopped from a notebook, and what it does as it does it.

The feed is read in a thread: JupyterLab lets each button be answered in a thread and an event loop of its own, so that
nothing may be tied to the loop in which the proxy was started.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Mapping
from contextlib import suppress
from typing import Any

import httpx
import orjson

from anyclaude_lab.errors import AnyclaudeError
from anyclaude_lab.proxy.threaded import Proxy
from anyclaude_lab.views.html import Html
from anyclaude_lab.views.watch import Watch
from anyclaude_lab.widgets.shell import Pieces, Shell, button

CONNECT_S = 10.0
TOGETHER_S = 0.2  # news that come so close to each other are shown together


class LiveProxy(Shell):
    """Two buttons and what `/v1/live` tells. Settings as for `lab.Proxy`, which is `proxy` and raises SettingsError.

    `await live.start()` and `await live.stop()` do what the buttons do.
    """

    def __init__(self, settings: Mapping[str, Any] | None = None, /, **more: Any) -> None:
        self.proxy = Proxy(settings, **more)
        self.watch = Watch()
        self._feed: threading.Thread | None = None
        self._lock = threading.Lock()  # of what is watched
        self._drawing = False
        self.start_button = button("Start", lambda: self._aside(self.start))
        self.stop_button = button("Stop", lambda: self._aside(self.stop))
        self.pieces = Pieces()
        super().__init__([self.start_button, self.stop_button], self.pieces)
        self._draw()

    async def start(self) -> None:
        """Start the proxy and follow it; a reason why it does not start is shown."""
        if self.watch.url is not None:
            return
        self.start_button.disabled = True
        self.watch = Watch()
        try:
            await self.proxy.start()
            self.watch.url, self.watch.start_line = self.proxy.url, self.proxy.start_line
            self._feed = threading.Thread(target=self._follow, args=(self.proxy.url,), name="live", daemon=True)
            self._feed.start()
        except AnyclaudeError as failure:
            self.watch.problem = failure.message
        finally:
            self._draw()

    async def stop(self) -> None:
        """End the proxy and all it started."""
        self.stop_button.disabled = True
        await self.proxy.stop()
        if self._feed is not None:
            await asyncio.to_thread(self._feed.join)
        self.watch.url = self.watch.start_line = None
        self._draw()

    def shown(self) -> Html:
        with self._lock:
            return self.watch.html()

    def said(self) -> str:
        return self.watch.words()

    def _follow(self, url: str) -> None:
        """Until the proxy ends its feed."""
        with (
            suppress(httpx.TransportError),  # it ended without a word
            httpx.stream("GET", f"{url}/v1/live", trust_env=False, timeout=httpx.Timeout(CONNECT_S, read=None)) as news,
        ):
            for line in news.iter_lines():
                if line.startswith("data:"):
                    with self._lock:
                        self.watch.see(orjson.loads(line[5:]))
                    self._draw_soon()

    def _draw_soon(self) -> None:
        if not self._drawing:
            self._drawing = True
            drawn = threading.Timer(TOGETHER_S, self._draw)
            drawn.daemon = True
            drawn.start()

    def _draw(self) -> None:
        self._drawing = False
        self.start_button.disabled = self.watch.url is not None
        self.stop_button.disabled = self.watch.url is None
        self.pieces.html = self.shown()

    def _aside(self, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
        self._task = asyncio.get_running_loop().create_task(work())
