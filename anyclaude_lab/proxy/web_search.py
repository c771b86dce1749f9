"""Claude Code's WebSearch, answered from the configured search services."""

from __future__ import annotations

import time

from aiohttp import web

from anyclaude_lab.backends.search import Domains, SearchResult, first_answer
from anyclaude_lab.errors import AnyclaudeError, RateLimited
from anyclaude_lab.proxy.client_stream import STREAM_HEADERS
from anyclaude_lab.proxy.serving import Serving
from anyclaude_lab.wire.fold import fold
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.web_search import ErrorCode, SearchRequest, search_events


async def answer_search(
    http: web.Request, serving: Serving, request: Request, asked: SearchRequest, request_id: str
) -> web.StreamResponse:
    """Search, and answer in the shape the client reads. A search that fails is an answer too."""
    pages: list[SearchResult] = []
    code: ErrorCode | None = None
    domains = Domains(asked.allowed_domains, asked.blocked_domains)
    try:
        service, pages = await first_answer(serving.search, asked.query, domains)
        serving.log.search(request_id, service, len(pages))
        serving.live.publish("searched", id=request_id, at=time.time(), backend=service, pages=len(pages))
    except AnyclaudeError as failure:
        code = "too_many_requests" if isinstance(failure, RateLimited) else "unavailable"
        serving.failed(request_id, failure)
    serving.metrics.web_searches.labels(code or "answered").inc()
    events = search_events(
        asked, pages, message_id=f"msg_{request_id}", model=request.model, prompt_tokens=None, error_code=code
    )
    headers = {"request-id": f"req_{request_id}"}
    if not request.stream:
        return web.json_response(fold(events), headers=headers)
    response = web.StreamResponse(headers=STREAM_HEADERS | headers)
    await response.prepare(http)
    await response.write(b"".join(event.encode() for event in events))
    await response.write_eof()
    return response
