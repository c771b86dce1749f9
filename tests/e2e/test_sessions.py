"""The real Claude Code does a session of tools through the proxy, in every mode and on every kind of backend."""

from __future__ import annotations

import json
import zlib
from itertools import pairwise

import pytest

from tests.e2e.claude_code import LATEST, RELEASES, Place, Terminal, headless
from tests.e2e.conftest import StartProxy
from tests.e2e.session import PROMPT, DeferredToolSession, EditSession
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.http import Exchange, running
from tests.standins.openai_api import OpenAIStandIn, prompt_text

BACKENDS = ("mlx-lm", "llama.cpp", "ollama", "lmstudio", "vllm", "openai", "openrouter")
FOREIGN_MODEL = ("--model", "anthropic-local/model", "--dangerously-skip-permissions")
WINDOW_TOKENS = 200_000


def backend(name: str, session: EditSession, piece_bytes: int | None = None) -> OpenAIStandIn:
    standin = OpenAIStandIn(session.policy, profile=name, piece_bytes=piece_bytes)
    standin.profile.window_tokens = WINDOW_TOKENS
    return standin


@pytest.mark.parametrize(
    ("version", "name"),
    [(LATEST, name) for name in BACKENDS] + [(v, name) for v in RELEASES[1:] for name in ("mlx-lm", "openrouter")],
)
def test_a_session_on_a_translated_backend(version: str, name: str, place: Place, start_proxy: StartProxy) -> None:
    session = EditSession(place.project)
    with running(backend(name, session)) as server:
        proxy = start_proxy(server)
        result = headless(version, PROMPT, place=place, base_url=proxy.url, args=FOREIGN_MODEL)
    session.check(result)
    assert server.violations == []


def test_a_session_with_a_backend_that_thinks(place: Place, start_proxy: StartProxy) -> None:
    session = EditSession(place.project, thinking=True)
    with running(backend("mlx-lm", session)) as server:
        proxy = start_proxy(server)
        result = headless(LATEST, PROMPT, place=place, base_url=proxy.url, args=FOREIGN_MODEL)
    session.check(result)
    assert server.violations == []


@pytest.mark.parametrize("version", RELEASES)
def test_a_session_on_a_cluster_uses_every_node(version: str, place: Place, start_proxy: StartProxy) -> None:
    session = EditSession(place.project)
    with running(backend("mlx-lm", session)) as first, running(backend("mlx-lm", session)) as second:
        proxy = start_proxy(first, second)
        result = headless(version, PROMPT, place=place, base_url=proxy.url, args=FOREIGN_MODEL)
    session.check(result)
    assert first.violations == second.violations == []
    assert first.chats and second.chats


@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.parametrize("gzip", [False, True], ids=["plain", "gzip"])
def test_in_claude_mode_not_a_byte_is_changed(version: str, gzip: bool, place: Place, start_proxy: StartProxy) -> None:
    session = EditSession(place.project, thinking=True)
    with running(AnthropicStandIn(session.policy, gzip=gzip, piece_bytes=211)) as server:
        proxy = start_proxy(server)
        result = headless(version, PROMPT, place=place, base_url=proxy.url)
        proxy.foreign_ends = gzip  # the judge of the streams reads plain text
        session.check(result)
        unmatched = list(server.messages)
        for passed in proxy.messages:
            exchange = next(e for e in unmatched if e.body == passed.request_body)
            unmatched.remove(exchange)
            path, _, query = passed.target.partition("?")
            assert (exchange.path, exchange.query) == (path, query)
            assert end_to_end(exchange.headers) == end_to_end(passed.request_headers)
            assert passed.status == exchange.status
            assert end_to_end(passed.headers) == end_to_end(exchange.sent_headers)
            if passed.complete:
                assert passed.body == bytes(exchange.sent)
            else:  # 2.0.30 ends at `message_stop` and may hang up before the body's own end has reached it
                assert bytes(exchange.sent).startswith(passed.body)
                text = zlib.decompressobj(31).decompress(passed.body) if gzip else passed.body
                assert b"event: message_stop" in text
        assert unmatched == []


# RFC 9110, 7.6.1: these belong to one connection; `host` names its other end.
HOP_BY_HOP = {"connection", "keep-alive", "transfer-encoding", "te", "trailer", "upgrade", "host", "content-length"}


def end_to_end(headers: list[tuple[str, str]]) -> dict[str, str]:
    """The headers that a gateway must pass on, without the date that each server sets for itself."""
    return {n.lower(): v for n, v in headers if n.lower() not in HOP_BY_HOP | {"date", "server"}}


def test_a_deferred_tool_is_defined_at_the_tail(place: Place, start_proxy: StartProxy) -> None:
    session = DeferredToolSession(place.project)
    with running(backend("mlx-lm", session)) as server:
        proxy = start_proxy(server)
        result = headless(LATEST, PROMPT, place=place, base_url=proxy.url, args=FOREIGN_MODEL)
    session.check(result)
    assert server.violations == []
    bodies = [chat.json for chat in server.chats]
    for chat in server.chats:
        assert b"DeferredToolPlaceholder" not in chat.body
    assert bodies[0]["tools"] == bodies[-1]["tools"]
    asked = next(p.request_body for p in reversed(proxy.messages) if b'"WebFetch"' in p.request_body)
    definition = next(tool for tool in json.loads(asked)["tools"] if tool["name"] == "WebFetch")
    results = [m["content"] for m in bodies[-1]["messages"] if m["role"] == "tool"]
    described = definition["description"].splitlines()[0]
    assert [described in json.dumps(content, ensure_ascii=False) for content in results] == [False, True, False, False]


@pytest.mark.parametrize("version", RELEASES)
def test_each_prompt_continues_the_one_before(version: str, place: Place, start_proxy: StartProxy) -> None:
    session = DeferredToolSession(place.project) if version == LATEST else EditSession(place.project)
    with running(backend("mlx-lm", session)) as server:
        proxy = start_proxy(server)
        session.check(headless(version, PROMPT, place=place, base_url=proxy.url, args=FOREIGN_MODEL))
    prompts = [prompt_text(chat.json) for chat in main_chats(server)]
    assert len(prompts) == len(session.steps()) + 1
    for before, after in pairwise(prompts):
        assert after.startswith(before), first_difference(before, after)


def main_chats(server: OpenAIStandIn) -> list[Exchange]:
    return [chat for chat in server.chats if len(chat.json.get("tools") or ()) > 3]


def first_difference(before: str, after: str) -> str:
    at = next((i for i, (x, y) in enumerate(zip(before, after, strict=False)) if x != y), min(len(before), len(after)))
    return f"at {at} of {len(before)}: {before[at - 60 : at + 60]!r} became {after[at - 60 : at + 60]!r}"


@pytest.mark.parametrize("version", RELEASES)
def test_an_interactive_session_compacts(version: str, place: Place, start_proxy: StartProxy) -> None:
    session = EditSession(place.project)
    with running(backend("mlx-lm", session)) as server:
        proxy = start_proxy(server)
        with Terminal(version, place, base_url=proxy.url, args=FOREIGN_MODEL) as terminal:
            terminal.wait_for("bypass permissions on")
            terminal.send(PROMPT)
            terminal.wait_for(f"The secret is {session.secret}")
            terminal.send("/compact")
            terminal.wait_for("ompacted (ctrl+")
    session.check()
    assert session.compactions == 1
    assert server.violations == []
    if version == LATEST:  # older releases ask for a summary under another system prompt
        prompts = [prompt_text(chat.json) for chat in main_chats(server)]
        compaction = next(prompt for prompt in prompts if "detailed summary" in prompt)
        before = prompts[prompts.index(compaction) - 1]
        # All but the last line, the message that the request for the summary is joined to.
        assert compaction.startswith(before[: before.rstrip("\n").rfind("\n")])
