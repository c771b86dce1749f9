"""`count_tokens` and `/v1/models`: answered without a generation, the second from memory."""

from __future__ import annotations

from aiohttp import web

from anyclaude_lab.errors import NotFound
from anyclaude_lab.prompt.pipeline import run
from anyclaude_lab.proxy.serving import Serving, read_body
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import parse_request


async def count_tokens(http: web.Request, serving: Serving) -> web.Response:
    """`{"input_tokens": n}` of what would be sent; how it was counted stands in the header `x-anyclaude-count`."""
    request = parse_request(await read_body(http), counting=True)
    sent, _, _ = run(request, serving.variant.plan, window_tokens=await serving.variant.window())
    count = await serving.variant.counter.count_exactly(sent)
    headers = {"x-anyclaude-count": count.method}
    return web.json_response({"input_tokens": count.tokens}, headers=headers)


async def list_models(http: web.Request, serving: Serving) -> web.Response:
    """The ids Claude Code's model discovery accepts, in the Messages API's shape."""
    models = [_model(name) for name in serving.models]
    first, last = (models[0]["id"], models[-1]["id"]) if models else (None, None)
    return web.json_response({"data": models, "has_more": False, "first_id": first, "last_id": last})


async def describe_model(http: web.Request, serving: Serving) -> web.Response:
    """One of them."""
    name = http.match_info["model"]
    if name not in serving.models:
        raise NotFound(f"There is no model {name!r} here; there is {', '.join(serving.models)}.")
    return web.json_response(_model(name))


def _model(name: str) -> JsonObject:
    return {"type": "model", "id": name, "display_name": name, "created_at": "1970-01-01T00:00:00Z"}
