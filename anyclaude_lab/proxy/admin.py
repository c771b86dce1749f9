"""Health, metrics and the live feed."""

from __future__ import annotations

import time
from contextlib import suppress

import orjson
from aiohttp import web

from anyclaude_lab.backends.breaker import Breaker, State
from anyclaude_lab.errors import InvalidRequest, NotFound
from anyclaude_lab.proxy.client_stream import STREAM_HEADERS
from anyclaude_lab.proxy.dashboard import live_html, refuse_other_pages
from anyclaude_lab.proxy.serving import Serving
from anyclaude_lab.wire.events import JsonObject

LIVE_IDLE_S = 10.0


async def ready(http: web.Request, serving: Serving) -> web.Response:
    """200 when a request would be answered; 503 while the breaker is open or the backend does not answer."""
    breaker = serving.breaker
    opened = breaker is not None and breaker.state is State.OPEN
    complaint = await serving.variant.backend.health()
    healthy = not opened and complaint is None
    checks = {
        "circuit_breaker": {
            "state": (breaker.state.name if breaker else "DISABLED"),
            "failure_count": breaker.failures_in_a_row if breaker else 0,
        },
        "backend": serving.backend_status() | {"problem": complaint and serving.log.clean(complaint)},
    }
    body = {"status": "ready" if healthy else "not_ready", "mode": serving.settings.mode, "checks": checks}
    return web.json_response(body, status=200 if healthy else 503)


async def metrics(http: web.Request, serving: Serving) -> web.Response:
    """JSON, or the Prometheus text format with `?format=prometheus` or `Accept: text/plain`."""
    accepts = http.headers.get("accept", "")
    form = http.query.get("format") or ("prometheus" if "text/plain" in accepts and "json" not in accepts else "json")
    if form not in ("json", "prometheus"):
        raise InvalidRequest(f"format={form} is not known; json and prometheus are.")
    if form == "prometheus":
        serving.metrics.refresh(serving.breaker, serving.nodes())
        return web.Response(
            body=serving.metrics.prometheus(), headers={"content-type": "text/plain; version=0.0.4; charset=utf-8"}
        )
    return web.json_response(metric_facts(serving))


def metric_facts(serving: Serving) -> JsonObject:
    """Every series, and what the backend says of itself."""
    serving.metrics.refresh(serving.breaker, serving.nodes())
    return serving.metrics.json() | {
        "mode": serving.settings.mode,
        "retry_grace_s": serving.settings.retry_grace_s,
        "backend": serving.backend_status(),
    }


async def nodes(http: web.Request, serving: Serving) -> web.Response:
    """`GET /v1/nodes`: the nodes of the cluster; `POST` of `{"id": "mac-1", "drain": true}` or false switches one.

    A node that drains finishes what it has and gets nothing new.
    """
    if serving.cluster is None:
        raise NotFound(f"There are no nodes in mode {serving.settings.mode}; mlx-cluster has some.")
    if http.method == "POST":
        refuse_other_pages(http)
        name, drain = _wanted_drain(await http.read())
        serving.cluster.drain(name, drain)
        serving.log.note(f"node {name} {'drains' if drain else 'is taken back'}")
    return web.json_response({"nodes": serving.backend_status()["nodes"]})


def _wanted_drain(body: bytes) -> tuple[str, bool]:
    with suppress(orjson.JSONDecodeError):
        asked = orjson.loads(body)
        if isinstance(asked, dict) and isinstance(asked.get("id"), str) and isinstance(asked.get("drain"), bool):
            return asked["id"], asked["drain"]
    raise InvalidRequest('The body has to be {"id": "the id of a node", "drain": true} or false.')


async def breaker_metrics(http: web.Request, serving: Serving) -> web.Response:
    """The breaker's state and latencies, by the seed's names."""
    return web.json_response((serving.breaker or Breaker(enabled=False)).snapshot(time.monotonic()))


async def live(http: web.Request, serving: Serving) -> web.StreamResponse:
    """Server-sent events: the requests that are over and those that run first, then what happens.

    One JSON object each; `?format=html` has the pieces of the dashboard.
    """
    form = http.query.get("format", "json")
    if form not in ("json", "html"):
        raise InvalidRequest(f"format={form} is not known; json and html are.")
    if form == "html":
        return await live_html(http, serving)
    response = web.StreamResponse(headers=STREAM_HEADERS)
    await response.prepare(http)
    with serving.live.listening() as listener:
        while (items := await listener.news(LIVE_IDLE_S)) is not None:
            told = b"".join(b"data: " + orjson.dumps(item) + b"\n\n" for item in items)
            await response.write(told or b": idle\n\n")
    return response
