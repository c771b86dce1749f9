"""The live page: its files, the feed of pieces of HTML behind it, and the one thing it can switch.

The pieces come from `anyclaude_lab.views`; the page puts them where they belong and computes nothing.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from importlib import resources
from urllib.parse import urlsplit

import orjson
from aiohttp import web

from anyclaude_lab.backends.http import is_loopback
from anyclaude_lab.errors import Forbidden, InvalidRequest, NotFound
from anyclaude_lab.proxy.client_environment import client_environment, start_line
from anyclaude_lab.proxy.client_stream import STREAM_HEADERS
from anyclaude_lab.proxy.live import Listener
from anyclaude_lab.proxy.serving import Serving
from anyclaude_lab.views import page as view
from anyclaude_lab.views.html import Html, joined
from anyclaude_lab.views.live import Live
from anyclaude_lab.views.requests import row
from anyclaude_lab.wire.events import JsonObject

ROWS_AT_ONCE = 50  # rendered in a few milliseconds, so that answers that are being given are not held up
TOGETHER_S = 0.1  # news that come so close to each other are shown together
BEAT_S = 2.0
HEALTH_S = 10.0

TYPES = {".html": "text/html", ".js": "text/javascript", ".css": "text/css"}
FILES = {
    "dashboard.html": "anyclaude_lab.proxy.pages",
    "dashboard.js": "anyclaude_lab.proxy.pages",
    "dashboard.css": "anyclaude_lab.proxy.pages",
    "style.css": "anyclaude_lab.views",
}
HEADERS = {
    "content-security-policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-cache",
}


async def page(http: web.Request) -> web.Response:
    """`GET /`."""
    return _file("dashboard.html")


async def asset(http: web.Request) -> web.Response:
    """`GET /dashboard/NAME`: what the page loads."""
    return _file(http.match_info["name"])


def _file(name: str) -> web.Response:
    if name not in FILES:
        raise NotFound(f"There is no file {name} of the dashboard.")
    text = resources.files(FILES[name]).joinpath(name).read_text("utf-8")
    return web.Response(text=text, content_type=TYPES[name[name.rindex(".") :]], headers=HEADERS)


async def recording(http: web.Request, serving: Serving) -> web.Response:
    """`GET /v1/recording`: whether sessions are recorded, and where; `POST` of `{"on": true}` or false switches it."""
    if http.method == "POST":
        refuse_other_pages(http)
        await _switch(serving, _wanted(await http.read()))
    return web.json_response(_recording_facts(serving))


async def live_html(http: web.Request, serving: Serving) -> web.StreamResponse:
    """`GET /v1/live?format=html`: events `rows`, `part` and `beat`, the pieces of the page as they change."""
    response = web.StreamResponse(headers=STREAM_HEADERS)
    await response.prepare(http)
    await response.write(b"retry: 500\n\n")
    after = _last_seen(http, serving)
    with serving.live.listening() as listener:
        await _Page(http, serving, response, after).follow(listener)
    return response


class _Page:
    """One open page."""

    def __init__(self, http: web.Request, serving: Serving, response: web.StreamResponse, after: int) -> None:
        self._serving, self._response, self._after = serving, response, after
        self._host = http.host
        self._live = Live()
        self._shown: dict[str, Html] = {}
        self._asked = False  # whether the backend has said how it is
        self._problem: str | None = None
        self._window_tokens: int | None = None

    async def follow(self, listener: Listener) -> None:
        """Send what changes, until the feed or the page ends, or news were lost: the page then begins anew."""
        asking = asyncio.create_task(self._ask_backend())
        idle_s = 0.0
        try:
            await self._send("rows", {"fresh": self._after == 0, "html": ""})
            while (items := await listener.news(idle_s)) is not None and not listener.lost:
                await self._show_news(items)
                await self._show_parts(self._status_parts())
                await self._send("beat", {})
                await asyncio.sleep(TOGETHER_S)
                idle_s = BEAT_S if self._asked else TOGETHER_S
        finally:
            asking.cancel()

    async def _show_news(self, items: Sequence[JsonObject]) -> None:
        changed = set() if self._shown else set(self._live.parts())
        for some in _slices(items, ROWS_AT_ONCE):
            rows: list[Html] = []
            for item in some:
                changed |= self._live.see(item)
                if item.get("serial", 0) > self._after:
                    self._after = item["serial"]
                    rows.insert(0, row(item))
            if rows:
                await self._send("rows", {"fresh": False, "html": joined(rows)}, number=self._after)
            await asyncio.sleep(0)
        made = self._live.parts()
        await self._show_parts({name: made[name]() for name in made if name in changed})

    async def _show_parts(self, parts: Mapping[str, Html]) -> None:
        for name, html in parts.items():
            if self._shown.get(name) != html:
                self._shown[name] = html
                await self._send("part", {"id": name, "html": html})

    def _status_parts(self) -> dict[str, Html]:
        serving = self._serving
        breaker = serving.breaker.snapshot(time.monotonic()) if serving.breaker else None
        status = serving.backend_status()
        ready = self._problem is None if self._asked else None
        return {
            "state": view.state(serving.settings.mode, str(status.get("name")), ready, breaker),
            "backend": view.backend(status, breaker, self._problem),
            "recording": view.recording(_recording_facts(serving)),
            "setup": _setup(serving, self._host, self._window_tokens),
        }

    async def _ask_backend(self) -> None:
        variant = self._serving.variant
        while True:
            problem = await variant.backend.health()
            self._problem, self._asked = problem and self._serving.log.clean(problem), True
            self._window_tokens = await variant.window() if self._problem is None else self._window_tokens
            await asyncio.sleep(HEALTH_S)

    async def _send(self, event: str, data: JsonObject, number: int | None = None) -> None:
        name = f"id: {self._serving.live.name}-{number}\n" if number is not None else ""
        await self._response.write(f"event: {event}\n{name}data: ".encode() + orjson.dumps(data, default=str) + b"\n\n")


def _last_seen(http: web.Request, serving: Serving) -> int:
    """The number of the last row that this page has; 0 where it has none of this feed."""
    name, _, number = http.headers.get("last-event-id", "").partition("-")
    return int(number) if name == serving.live.name and number.isdecimal() else 0


def _slices(items: Sequence[JsonObject], size: int) -> Iterator[Sequence[JsonObject]]:
    for start in range(0, len(items), size):
        yield items[start : start + size]


def _setup(serving: Serving, host: str, window_tokens: int | None) -> Html:
    settings, base_url, model_id = serving.settings, f"http://{host}", next(iter(serving.models), "")
    here = is_loopback(urlsplit(f"//{host}").hostname or "")
    token = None if here else "ACCESS-TOKEN"
    wanted = client_environment(
        settings, base_url, window_tokens=window_tokens, model_id=model_id, user_env={}, token=token
    )
    line = start_line(settings, base_url, model_id, token, window_tokens)
    return view.setup(line, wanted.set, sorted(wanted.unset))


def _recording_facts(serving: Serving) -> JsonObject:
    recorder = serving.recorder
    return {
        "on": recorder is not None,
        "folder": str(recorder.folder) if recorder is not None else None,
        "can_switch": serving.begin_recording is not None,
        "dropped": int(serving.metrics.registry.get_sample_value("anyclaude_trace_dropped_total") or 0),
    }


def refuse_other_pages(http: web.Request) -> None:
    """The door let it in; only this very page may change something, and a form of another site cannot say JSON."""
    host = urlsplit(f"//{http.host}").hostname or ""
    origin, site = http.headers.get("origin"), http.headers.get("sec-fetch-site", "none")
    foreign = (origin is not None and origin != f"http://{http.host}") or site not in ("same-origin", "none")
    if foreign or not is_loopback(host):
        raise Forbidden(
            "Switches here are for the dashboard itself and for programs on this machine, for no other page."
        )
    if http.content_type != "application/json":
        raise InvalidRequest(f'The content type is {http.content_type}; send {{"on": true}} as application/json.')


def _wanted(body: bytes) -> bool:
    with suppress(orjson.JSONDecodeError):
        asked = orjson.loads(body)
        if isinstance(asked, dict) and isinstance(asked.get("on"), bool):
            return bool(asked["on"])
    raise InvalidRequest('The body has to be {"on": true} or {"on": false}.')


async def _switch(serving: Serving, on: bool) -> None:
    if serving.begin_recording is None:
        raise InvalidRequest("Recording cannot be switched here: this proxy was started without a place for traces.")
    if on and serving.recorder is None:
        serving.recorder = serving.begin_recording()
    elif not on and serving.recorder is not None:
        recorder, serving.recorder = serving.recorder, None
        await asyncio.to_thread(recorder.close)
    serving.log.note(f"recording {'on' if on else 'off'}")
