"""`claude` mode on the production runner: what the client sends arrives, what the API answers comes back, unchanged."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import Sequence
from dataclasses import dataclass

import httpx
import pytest

from tests.proxy.conftest import ASK, RunningProxy, StartProxy
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.http import DEADLINE_S, Exchange, HeaderList, Responder, StandIn, kept_port, wait_until_async
from tests.standins.script import CleanEnd, Cut, Refusal, Reply, Text, ToolCall, reply

# RFC 9110, 7.6.1: these belong to one connection; `host` names its other end.
OWN_CONNECTION = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length"}
KEY = ("x-api-key", "sk-ant-api03-theirs")


async def claude(start: StartProxy, api: StandIn, **env: str) -> RunningProxy:
    proxy: RunningProxy = await start(
        env={"ANYCLAUDE_CLAUDE_URL": api.url, **env}, flags={"mode": "claude", "record": False}
    )
    return proxy


@dataclass
class RawAnswer:
    """An answer as it came off the wire, with the transfer coding taken off the body."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    complete: bool


async def raw_request(url: str, head: bytes, body: bytes = b"") -> RawAnswer:
    """Send exactly these bytes (`head` without its closing empty line) and read what comes."""
    at = httpx.URL(url)
    reader, writer = await asyncio.open_connection(at.host, at.port)
    try:
        length = b"content-length: %d\r\n" % len(body) if body else b""
        writer.write(head + b"Host: 127.0.0.1\r\nConnection: close\r\n" + length + b"\r\n" + body)
        first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("utf-8", "surrogateescape").strip().split("\r\n")
        headers = [(name, value.strip()) for name, _, value in (line.partition(":") for line in lines)]
        rest = await reader.read()
    finally:
        writer.close()
    complete = True
    if any(name.lower() == "transfer-encoding" for name, _ in headers):
        rest, complete = unchunked(rest)
    return RawAnswer(int(first.split()[1]), headers, rest, complete)


def unchunked(data: bytes) -> tuple[bytes, bool]:
    """The body, and whether its last chunk came."""
    body = b""
    while data:
        size, _, data = data.partition(b"\r\n")
        if int(size, 16) == 0:
            return body, True
        body, data = body + data[: int(size, 16)], data[int(size, 16) + 2 :]
    return body, False


def travelling(headers: Sequence[tuple[str, str]]) -> list[tuple[str, str]]:
    return sorted((name, value) for name, value in headers if name.lower() not in OWN_CONNECTION)


def post(target: str, *headers: tuple[str, str]) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    return f"POST {target} HTTP/1.1\r\n{lines}".encode()


class FixedAnswer(StandIn):
    """Answers every request with these bytes and headers and adds nothing but the length."""

    def __init__(self, status: int, headers: HeaderList, body: bytes) -> None:
        super().__init__()
        self.fixed = (status, headers, body)

    async def answer(self, exchange: Exchange, responder: Responder) -> None:
        status, headers, body = self.fixed
        await responder._head(status, [*headers, ("content-length", str(len(body)))])
        if exchange.method != "HEAD":
            await responder._body(body)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
async def test_a_stream_passes_unchanged_both_ways(start: StartProxy, packed: bool) -> None:
    turns = [reply("Größe", ToolCall("Bash", {"command": "ls"}))]
    async with AnthropicStandIn(turns, gzip=packed, piece_bytes=97) as api:
        proxy = await claude(start, api)
        body = b'{ "model":"claude-x",\n "stream" : true, "later_field": 1.50, "max_tokens":9,"messages": [] }'
        sent = [
            KEY,
            ("User-Agent", "claude-cli/2.1.330"),
            ("anthropic-BETA", "a,b"),
            ("X-Twice", "1"),
            ("X-Twice", "2"),
            ("Accept-Encoding", "gzip, br"),
            ("Content-Type", "application/json"),
            ("X-Empty", ""),
        ]
        got = await raw_request(proxy.url, post("/v1/messages?beta=true&q=a%20b", *sent), body)
        seen = api.exchanges[0]
        assert (seen.path, seen.query, seen.body) == ("/v1/messages", "beta=true&q=a%20b", body)
        assert travelling(seen.headers) == travelling(sent)
        assert got.complete
        assert got.status == 200
        assert travelling(got.headers) == travelling(seen.sent_headers)
        assert got.body == bytes(seen.sent)
        assert got.body.startswith(b"\x1f\x8b") is packed


@pytest.mark.parametrize("given", [(), (("Date", "Thu, 01 Jan 1970 00:00:00 GMT"), ("Server", "cloudflare"))])
async def test_no_header_is_added_and_none_is_lost(start: StartProxy, given: HeaderList) -> None:
    headers = [*given, ("Set-Cookie", "a=1"), ("Set-Cookie", "b=2"), ("CF-Ray", "9"), ("request-id", "req_1")]
    async with FixedAnswer(200, headers, b"no type was named") as api:
        proxy = await claude(start, api)
        got = await raw_request(proxy.url, b"GET /v1/files?limit=2 HTTP/1.1\r\n")
        assert travelling(got.headers) == travelling(headers)
        assert got.body == b"no type was named"


async def test_header_bytes_beyond_ascii_pass(start: StartProxy) -> None:
    async with FixedAnswer(200, [("X-Answer", "gr\u00fc\u00df")], b"ok") as api:  # sent as Latin-1: not UTF-8
        proxy = await claude(start, api)
        raw = b"GET /v1/models HTTP/1.1\r\nX-Utf8: gr\xc3\xbc\xc3\x9f\r\nX-Latin: Jos\xe9\r\n"
        got = await raw_request(proxy.url, raw)
        seen = {name: value.encode("latin-1") for name, value in api.exchanges[0].headers}
        assert seen["X-Utf8"] == b"gr\xc3\xbc\xc3\x9f"
        assert seen["X-Latin"] == b"Jos\xe9"
        assert dict(got.headers)["X-Answer"].encode("utf-8", "surrogateescape") == b"gr\xfc\xdf"


@pytest.mark.parametrize(
    ("status", "extra"),
    [
        (400, ()),
        (401, (("x-should-retry", "false"),)),
        (429, (("retry-after", "7"), ("anthropic-ratelimit-unified-reset", "1"))),
        (500, ()),
        (529, (("retry-after", "3"), ("x-should-retry", "true"))),
    ],
)
async def test_an_error_of_the_api_is_not_reworded(
    start: StartProxy, status: int, extra: tuple[tuple[str, str], ...]
) -> None:
    words = b'{"type":"error",  "error":{"type":"x","message":"signature: Field required"},"request_id":null}'
    async with AnthropicStandIn([Refusal(status, body=words, headers=extra)]) as api:
        proxy = await claude(start, api)
        got = await raw_request(proxy.url, post("/v1/messages", KEY), json.dumps(ASK).encode())
        assert (got.status, got.body) == (status, words)
        assert travelling(got.headers) == travelling(api.exchanges[0].sent_headers)


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("HEAD", "/"),
        ("HEAD", "/api/hello"),
        ("GET", "/v1/models?limit=1000"),
        ("POST", "/v1/messages/count_tokens?beta=true"),
        ("GET", "/v1/messages"),
        ("PUT", "/v1/files/f%2F1"),
        ("DELETE", "/v1/files/x"),
        ("OPTIONS", "/v1/messages"),
        ("GET", "/api/oauth/claude_cli/roles"),
        ("POST", "/api/event_logging/batch"),
    ],
)
async def test_every_other_path_and_method_goes_on(start: StartProxy, method: str, target: str) -> None:
    body = b'{"model": "m", "messages": []}' if method in ("POST", "PUT") else b""
    async with AnthropicStandIn() as api:
        proxy = await claude(start, api)
        got = await raw_request(proxy.url, f"{method} {target} HTTP/1.1\r\n{KEY[0]}: {KEY[1]}\r\n".encode(), body)
        seen = api.exchanges[0]
        path, _, query = target.partition("?")
        assert (seen.method, seen.path, seen.query, seen.body) == (method, path, query, body)
        assert travelling(seen.headers) == [KEY]
        assert got.status == seen.status
        assert travelling(got.headers) == travelling(seen.sent_headers)
        assert got.body == bytes(seen.sent)


async def test_a_compressed_request_stays_compressed(start: StartProxy) -> None:
    packed = gzip.compress(json.dumps(ASK).encode())
    async with FixedAnswer(200, [], b"{}") as api:
        proxy = await claude(start, api)
        await raw_request(proxy.url, post("/v1/messages", ("content-encoding", "gzip")), packed)
        seen = api.exchanges[0]
        assert seen.body == packed
        assert seen.header("content-encoding") == "gzip"


async def test_what_is_no_request_of_the_api_is_for_the_api_to_judge(start: StartProxy) -> None:
    async with AnthropicStandIn() as api:
        proxy = await claude(start, api)
        got = await raw_request(proxy.url, post("/v1/messages", KEY), b'{"model": ')
        assert got.status == 400
        assert api.exchanges[0].body == b'{"model": '
        assert got.body == bytes(api.exchanges[0].sent)


@pytest.mark.parametrize("packed", [False, True], ids=["plain", "gzip"])
async def test_a_stream_that_is_cut_is_a_cut_stream(start: StartProxy, packed: bool) -> None:
    turns = [reply("a text that goes on and on and on", fault=Cut("text"), gap_s=0.02)]
    async with AnthropicStandIn(turns, gzip=packed) as api:
        proxy = await claude(start, api)
        headers = (KEY, ("accept-encoding", "gzip"))
        got = await raw_request(proxy.url, post("/v1/messages", *headers), json.dumps(ASK).encode())
        assert not got.complete
        assert got.body == bytes(api.exchanges[0].sent)


async def test_a_stream_that_ends_early_but_correctly_does_so_too(start: StartProxy) -> None:
    async with AnthropicStandIn([reply("a text that goes on", fault=CleanEnd("text"))]) as api:
        proxy = await claude(start, api)
        got = await raw_request(proxy.url, post("/v1/messages", KEY), json.dumps(ASK).encode())
        assert got.complete
        assert got.body == bytes(api.exchanges[0].sent)


async def test_a_whole_answer_that_is_cut_is_a_cut_answer(start: StartProxy) -> None:
    class Short(FixedAnswer):
        async def answer(self, exchange: Exchange, responder: Responder) -> None:
            await responder._head(200, [("content-type", "application/json"), ("content-length", "100")])
            await responder._body(b'{"half": ')
            responder.keep_alive = False

    async with Short(200, [], b"") as api:
        proxy = await claude(start, api)
        got = await raw_request(proxy.url, post("/v1/messages", KEY), json.dumps(ASK).encode())
        assert dict(got.headers)["content-length"] == "100"
        assert got.body == b'{"half": '


@pytest.mark.parametrize("when", ["before the answer", "in its middle"])
async def test_the_api_hears_at_once_that_the_client_left(start: StartProxy, when: str) -> None:
    turn = (
        reply("never", silence_s=2 * DEADLINE_S)
        if when == "before the answer"
        else Reply((Text("on and "),), endless=True)
    )
    async with AnthropicStandIn([turn], pings=False) as api:
        proxy = await claude(start, api)
        at = httpx.URL(proxy.url)
        client = socket.create_connection((at.host, at.port))
        client.setblocking(False)
        body = json.dumps(ASK).encode()
        client.send(post("/v1/messages", KEY, ("Host", at.host), ("content-length", str(len(body)))) + b"\r\n" + body)
        await wait_until_async(lambda: bool(api.messages), "the request arrives")
        if when == "in its middle":
            await wait_until_async(lambda: b"text_delta" in api.messages[0].sent, "the answer is on its way")
        client.close()
        await wait_until_async(lambda: api.messages[0].client_gone_s is not None, "the API hears of it")
        async with asyncio.timeout(DEADLINE_S):
            while "499" not in [s["labels"]["status"] for s in await proxy.metric("anyclaude_requests_total")]:
                await asyncio.sleep(0.01)
        assert await proxy.metric("anyclaude_client_disconnects_total") == 1


async def test_a_client_that_leaves_once_it_has_the_message_has_not_left_early(start: StartProxy) -> None:
    """As 2.0.30 does: the end of the message is its end, whatever the body still brings."""

    class Lingering(StandIn):
        async def answer(self, exchange: Exchange, responder: Responder) -> None:
            await responder.start(200, [("content-type", "text/event-stream")])
            for frame in AnthropicStandIn().frames(ASK, reply("all of it", output_tokens=7), 1):
                await responder.write(frame.data)
            await responder.pause(2 * DEADLINE_S)

    async with Lingering() as api:
        proxy = await claude(start, api)
        got = b""
        async with proxy.http.stream("POST", "/v1/messages", json=ASK, headers=dict([KEY])) as answer:
            async for data in answer.aiter_raw():
                got += data
                if b"event: message_stop" in got:
                    break
        await wait_until_async(lambda: bool(proxy.serving.live.recent), "the end is told")
        assert proxy.serving.live.recent[0]["status"] == 200
        await wait_until_async(lambda: api.exchanges[0].client_gone_s is not None, "the API hears of it")
        statuses = [s["labels"] for s in await proxy.metric("anyclaude_requests_total")]
        assert {"endpoint": "/v1/messages", "status": "200"} in statuses
        assert await proxy.metric("anyclaude_client_disconnects_total") == 0
        assert await proxy.metric("anyclaude_output_tokens_total") == 7


async def test_the_pages_of_the_proxy_answer_here_too(start: StartProxy) -> None:
    async with AnthropicStandIn([reply("hi", cached_tokens=5, prompt_tokens=9)]) as api:
        proxy = await claude(start, api)
        await raw_request(proxy.url, post("/v1/messages", KEY), json.dumps(ASK).encode())
        asked = len(api.exchanges)
        for path in ("/", "/health/live", "/v1/metrics", "/v1/circuit-breaker/metrics"):
            answer = await proxy.http.get(path)
            assert answer.status_code == 200
            assert "server" in answer.headers or "date" in answer.headers  # ours, not the API's
        assert len(api.exchanges) == asked
        assert (await proxy.http.get("/health/ready")).status_code == 200
        assert await proxy.metric("anyclaude_cached_prompt_tokens_total") == 5
        assert await proxy.metric("anyclaude_sse_grammar_violations_total") == [
            {"labels": {"origin": "translated"}, "value": 0.0},
            {"labels": {"origin": "relayed"}, "value": 0.0},
        ]


async def test_an_api_that_is_not_there_is_said_in_the_apis_envelope(start: StartProxy) -> None:
    with kept_port() as port:
        proxy = await claude(start, AnthropicStandIn(port=port))
        got = await raw_request(proxy.url, post("/v1/messages", KEY), json.dumps(ASK).encode())
    assert got.status == 529
    assert json.loads(got.body)["error"]["type"] == "overloaded_error"
    assert int(dict(got.headers)["retry-after"]) >= 1
