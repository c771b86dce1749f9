"""Which tools are offered."""

from __future__ import annotations

import pytest

from anyclaude_lab.prompt.tools import allow_tools, hide_web_search, order_tools
from anyclaude_lab.wire.request import Request
from tests.prompt.conversations import MARK, NOTICE, session, text, tool


def request(*names: str) -> Request:
    return Request({"model": "m", "messages": [], "tools": [tool(name) for name in names]})


def names(request: Request) -> list[str]:
    return [offered["name"] for offered in request.tools]


@pytest.mark.parametrize(
    ("allowed", "expected"),
    [
        (None, ["Bash", "Read", "mcp__Notes__add"]),
        ([], []),
        (["bash", "MCP__notes__ADD"], ["Bash", "mcp__Notes__add"]),
        (["Nothing"], []),
    ],
)
def test_allow_list(allowed: list[str] | None, expected: list[str]) -> None:
    result = allow_tools(request("Bash", "Read", "mcp__Notes__add"), allowed)
    assert names(result) == expected
    assert ("tools" in result.body) == bool(expected)


def test_web_search_is_hidden_in_head_and_notice() -> None:
    assert names(hide_web_search(request("Bash", "WebSearch", "WebFetch"))) == ["Bash", "WebFetch"]
    shorter = NOTICE.replace("WebSearch\n", "")
    assert hide_web_search(session()[0]).messages[1]["content"] == [text(shorter, cache_control=MARK)]
    assert hide_web_search(session()[1]).messages[1]["content"] == shorter


def test_the_server_tool_and_the_users_words_stay() -> None:
    server_tool = {"type": "web_search_20250305", "name": "WebSearch", "max_uses": 8}
    spoken = {"role": "user", "content": "Use\nWebSearch\nnow"}
    asked = Request({"model": "m", "messages": [spoken], "tools": [server_tool]})
    assert hide_web_search(asked) is asked


def test_order() -> None:
    assert names(order_tools(request("b", "a", "C"))) == ["C", "a", "b"]
