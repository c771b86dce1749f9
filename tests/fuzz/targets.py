"""What is fuzzed: functions of bytes that answer, or raise what they are allowed to, and nothing else."""

from __future__ import annotations

import asyncio
import json
import random
import tempfile
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from anyclaude_lab.backends.connection import Connection, NoHttp
from anyclaude_lab.errors import AnyclaudeError, InvalidRequest, SettingsError
from anyclaude_lab.exchange.flow import ODD_SHAPE
from anyclaude_lab.prompt.billing import remove_billing
from anyclaude_lab.prompt.loops import hint_at_loops, loop_at_end
from anyclaude_lab.prompt.spelling import spell_canonically
from anyclaude_lab.settings.sources import Rank, file_layer
from anyclaude_lab.wire.anthropic import AnthropicDecoder
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.events import Event
from anyclaude_lab.wire.grammar import StreamGrammar
from anyclaude_lab.wire.headers import ClientHints, lane_key, redact_headers
from anyclaude_lab.wire.openai_dialect import DIALECTS
from anyclaude_lab.wire.openai_errors import read_error
from anyclaude_lab.wire.openai_request import to_openai
from anyclaude_lab.wire.openai_stream import OpenAIStreamDecoder, reply_context
from anyclaude_lab.wire.request import Request, parse_request
from anyclaude_lab.wire.tool_names import ToolNames
from tests.reliability.streams import ASK, GARBAGE
from tests.standins.profiles import PROFILES, Usage
from tests.standins.profiles import Request as StandInRequest
from tests.standins.script import Reply, Text, Thinking, ToolCall

Run = Callable[[bytes, random.Random], None]


@dataclass(frozen=True, slots=True)
class Target:
    """`run` raises on a defect; `seeds` are the well-formed inputs that are damaged, `share` how often it is tried."""

    name: str
    run: Run
    seeds: tuple[bytes, ...]
    share: int = 1


def _pieces(data: bytes, chance: random.Random) -> Iterable[bytes]:
    start = 0
    while start < len(data):
        end = min(len(data), start + chance.choice((1, 7, 64, 4096, 1 << 20)))
        yield data[start:end]
        start = end


def _decode(decoder: AnthropicDecoder | OpenAIStreamDecoder, data: bytes, chance: random.Random) -> list[Event]:
    """What an exchange does with a body; a chunk of an odd shape ends it there, as a cut."""
    events: list[Event] = []
    try:
        for piece in _pieces(data, chance):
            events += decoder.feed(piece)
        events += decoder.close()
    except ODD_SHAPE:
        decoder.ending = Ending.CUT
    assert decoder.ending is not Ending.OPEN, "left open after its end"
    return events


def _openai(data: bytes, chance: random.Random) -> None:
    original = Request(ASK)
    dialect = DIALECTS[chance.choice(sorted(DIALECTS))]
    context = reply_context(original, message_id="msg_1", names=ToolNames.for_tools(original.offered_tools()))
    decoder = OpenAIStreamDecoder(context, dialect)
    judge, events = StreamGrammar(), _decode(decoder, data, chance)
    complaints = [complaint for event in events if (complaint := judge.check(event))]
    if events and (complaint := judge.finish(decoder.ending)):
        complaints.append(complaint)
    assert not complaints, complaints[0]


def _anthropic(data: bytes, chance: random.Random) -> None:
    decoder = AnthropicDecoder()
    witness = StreamGrammar(strict=False)
    for event in _decode(decoder, data, chance):
        witness.check(event)
        event.encode()
    witness.finish(decoder.ending)


_LOOP = asyncio.new_event_loop()


def _http(data: bytes, chance: random.Random) -> None:
    """The answer of a server: whatever it sends and however it is cut, the body or why there is none."""

    async def read(pieces: Iterable[bytes]) -> tuple[int, bytes, str]:
        connection, body = Connection("POST"), b""
        for piece in pieces:
            connection.data_received(piece)
        connection.connection_lost(None)
        try:
            status = (await connection.answered(1)).code
            while piece := await connection.read(1):
                body += piece
        except (NoHttp, OSError) as error:
            return 0, body, type(error).__name__
        return status, body, ""

    whole = _LOOP.run_until_complete(read([data]))
    assert _LOOP.run_until_complete(read(_pieces(data, chance))) == whole, "another cut, another answer"


def _request(data: bytes, chance: random.Random) -> None:
    try:
        request = parse_request(data)
    except InvalidRequest:
        return
    hints = ClientHints.from_headers((), request.body)
    lane_key(hints, request)
    loop_at_end(request)
    once = remove_billing(spell_canonically(request))
    assert remove_billing(spell_canonically(once)).body == once.body, "spelling twice is not spelling once"
    hint_at_loops(once)
    names = ToolNames.for_tools(request.offered_tools())
    to_openai(once, DIALECTS[chance.choice(sorted(DIALECTS))], model="m", names=names)


def _error(data: bytes, chance: random.Random) -> None:
    dialect = DIALECTS[chance.choice(sorted(DIALECTS))]
    error = read_error(chance.choice((200, 302, 400, 401, 404, 429, 500, 503, 599)), data, dialect)
    assert isinstance(error, AnyclaudeError) and len(error.message) < 2000
    error.body()


def _headers(data: bytes, chance: random.Random) -> None:
    lines = data.decode("latin-1").split("\n")
    pairs = [(name.strip(), value.strip()) for name, _, value in (line.partition(":") for line in lines)]
    ClientHints.from_headers(pairs, {})
    redact_headers(pairs)


_FOLDER = Path(tempfile.gettempdir())


def _settings(data: bytes, chance: random.Random) -> None:
    path = _FOLDER / "anyclaude-fuzzed-settings.json"
    path.write_bytes(data)
    try:
        file_layer(path, Rank.FILE)
    except SettingsError as mistake:
        assert "\n" not in mistake.message.split(str(path))[0]


def _streams() -> tuple[bytes, ...]:
    turn = Reply(
        (Thinking("I think."), Text("Some `text` é😀."), ToolCall("Read", {"path": "/tmp/a b"}), ToolCall("Bash", {}))
    )
    found = []
    for profile in PROFILES.values():
        asked = StandInRequest({"stream_options": {"include_usage": True}}, turn, Usage(100, 50, 20), 1)
        found.append(b"".join(frame.data for frame in profile().frames(asked)))
        found.append(json.dumps(profile().completion(asked)).encode())
    return (*found, *GARBAGE)


def _events() -> tuple[bytes, ...]:
    from anyclaude_lab.wire import events as made

    whole = [
        made.message_start("msg_1", "m", {"input_tokens": 1, "output_tokens": 1}),
        made.block_start(0, {"type": "text", "text": ""}),
        made.text_delta(0, "é text"),
        made.ping(),
        made.block_stop(0),
        made.block_start(1, {"type": "tool_use", "id": "toolu_1", "name": "Read", "input": {}}),
        made.json_delta(1, '{"path": "/x"}'),
        made.block_stop(1),
        made.message_delta("tool_use", {"output_tokens": 5}),
        made.message_stop(),
    ]
    failed = made.error({"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}})
    return (b"".join(event.encode() for event in whole), failed.encode())


REQUEST = ASK | {
    "system": [
        {"type": "text", "text": "x-anthropic-billing-header: cc_version=2; cch=0;"},
        {"type": "text", "text": "Be."},
    ],
    "metadata": {"user_id": '{"session_id": "s"}'},
    "thinking": {"type": "enabled", "budget_tokens": 1024},
    "messages": [
        {"role": "user", "content": "Hello"},
        {
            "role": "system",
            "content": [{"type": "text", "text": "Tools:\nWebSearch", "cache_control": {"type": "ephemeral"}}],
        },
        {"role": "assistant", "content": [{"type": "tool_use", "id": "t1", "name": "Read", "input": {"path": "a"}}]},
        {
            "role": "user",
            "content": [
                {
                    "type": "tool_result",
                    "tool_use_id": "t1",
                    "content": [{"type": "text", "text": "x"}],
                    "is_error": True,
                },
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "aGk="}},
                {"type": "document", "source": {"type": "text", "media_type": "text/plain", "data": "d"}},
            ],
        },
    ],
}
SETTINGS = {
    "backend": "local",
    "requestTimeout": 60000,
    "backends": {
        "local": {"baseUrl": "http://127.0.0.1:1/v1", "toolAllowlist": ["Bash"]},
        "lmstudio": {"enabled": False},
    },
    "circuitBreaker": {"enabled": True},
}
ANSWERS = (
    b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
    b"4\r\ndata\r\n3;x=1\r\n: 1\r\n10\r\n\n\ndata: [DONE]\n\n\r\n0\r\nX-Trailer: 1\r\n\r\n",
    b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 404 Not Found\r\nContent-Length: 5\r\nX-A: b\r\n\r\nhello",
    b"HTTP/1.0 200 OK\nServer: BaseHTTP\n\nuntil it closes",
)
HEADERS = b"""x-claude-code-session-id: s
x-claude-code-prev-tool-durations: Bash=1;Read=2
x-stainless-retry-count: 1
authorization: Bearer x"""

ERRORS = (b'{"error": {"message": "no", "code": 400}}', b'{"detail": [{"msg": "x"}]}', *GARBAGE)

TARGETS = (
    Target("openai stream", _openai, _streams(), 5),
    Target("anthropic stream", _anthropic, _events(), 5),
    Target("request", _request, (json.dumps(REQUEST).encode(), json.dumps(ASK).encode()), 5),
    Target("error body", _error, ERRORS, 2),
    Target("http answer", _http, ANSWERS, 3),
    Target("headers", _headers, (HEADERS,), 1),
    Target("settings file", _settings, (json.dumps(SETTINGS).encode(),), 1),
)
