"""Rule 32: a web search that Claude Code counts as one."""

from dataclasses import dataclass
from typing import Any

from anthropic.types import Message

from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.fold import fold
from anyclaude_lab.wire.grammar import StreamGrammar
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.web_search import SearchRequest, search_events, search_request

SERVER_TOOL = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8, "allowed_domains": ["python.org"]}


@dataclass(frozen=True)
class Page:
    title: str
    url: str
    snippet: str = ""
    age: str | None = None


PAGES = [Page("Welcome", "https://python.org", "The language.", "2 days"), Page("Docs", "https://docs.python.org")]
ASKED = SearchRequest("python release")


def request(text: Any, *tools: Any) -> Request:
    return Request(
        {"model": "m", "max_tokens": 9, "messages": [{"role": "user", "content": text}], "tools": list(tools)}
    )


def answered(**changes: Any) -> Any:
    events = search_events(ASKED, changes.pop("pages", PAGES), message_id="msg_1", model="claude-x", **changes)
    grammar = StreamGrammar()
    assert [fault for event in events if (fault := grammar.check(event))] == []
    assert grammar.finish(Ending.COMPLETE) is None
    return fold(events)


def test_the_separate_search_request_is_recognised() -> None:
    block = [{"type": "text", "text": "Please search.\nquery: python release \n"}]
    assert search_request(request(block, SERVER_TOOL)) == SearchRequest("python release", ("python.org",))
    bare = {"type": "web_search_20260209", "name": "web_search", "blocked_domains": ["x.com"]}
    assert search_request(request("python release", bare)) == SearchRequest("python release", (), ("x.com",))


def test_other_requests_are_not() -> None:
    assert search_request(request("query: x")) is None
    assert search_request(request("query: x", SERVER_TOOL, {"name": "Bash", "input_schema": {}})) is None
    assert search_request(request("query: x", {"name": "WebSearch", "input_schema": {}})) is None
    assert search_request(request("   ", SERVER_TOOL)) is None


def test_the_reply_has_the_search_its_pages_and_the_count() -> None:
    message = answered(prompt_tokens=50)
    call, found, text = message["content"]
    assert (call["type"], call["name"], call["input"]) == ("server_tool_use", "web_search", {"query": "python release"})
    assert (found["type"], found["tool_use_id"]) == ("web_search_tool_result", call["id"])
    assert [(page["title"], page["url"], page["page_age"]) for page in found["content"]] == [
        ("Welcome", "https://python.org", "2 days"),
        ("Docs", "https://docs.python.org", None),
    ]
    assert "The language." in text["text"]
    assert message["usage"]["server_tool_use"]["web_search_requests"] == 1
    assert (message["usage"]["input_tokens"], message["stop_reason"]) == (50, "end_turn")


def test_the_official_sdk_reads_it() -> None:
    message = Message.model_validate(answered())
    assert [block.type for block in message.content] == ["server_tool_use", "web_search_tool_result", "text"]
    assert message.usage.server_tool_use is not None
    assert message.usage.server_tool_use.web_search_requests == 1


def test_a_failure_is_said_in_the_results() -> None:
    message = answered(pages=[], error_code="unavailable")
    assert message["content"][1]["content"] == {"type": "web_search_tool_result_error", "error_code": "unavailable"}
    assert "unavailable" in message["content"][2]["text"]
    assert "Nothing was found" in answered(pages=[])["content"][2]["text"]
