"""Stubs of the tools that the real Claude Code offers, release by release."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from anyclaude_lab.engine import embedded
from anyclaude_lab.prompt.deferred import definition_json, full_text
from anyclaude_lab.prompt.stubs import expand_failed, originals, restore, stub_tools
from anyclaude_lab.prompt.stubs.texts import TEXTS
from anyclaude_lab.render.tokens import from_tokenizer_json
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_request import in_head
from tests.prompt.live import RECORDED, Recording
from tests.prompt.stubs.figures import figures

pytestmark = [pytest.mark.e2e, pytest.mark.parametrize("release", RECORDED)]
Recorded = Callable[[str], Recording]


def test_every_tool_has_a_text_of_ours(release: str, recorded: Recorded) -> None:
    for sent in recorded(release).sent:
        for tool in filter(in_head, stub_tools(sent.request).tools):
            assert tool["description"].startswith(TEXTS[tool["name"]].line)


def test_next_to_nothing_of_what_can_go_is_left(release: str, recorded: Recorded) -> None:
    count = from_tokenizer_json((embedded.folder() / "tokenizer.json").read_bytes()).count
    for session in ("work", "known"):
        found = figures(recorded(release).first(session), count)
        assert found.removed >= 0.95, found


def test_the_table_restores_every_tool(release: str, recorded: Recorded) -> None:
    for sent in recorded(release).sent:
        request = sent.request
        assert restore(stub_tools(request), originals(request)) == request


def test_the_failed_call_is_followed_by_the_definition(release: str, recorded: Recorded) -> None:
    """The recorded session reads a file with a parameter of another name; its own client says that this is wrong."""
    found = 0
    for request in (sent.request for sent in recorded(release).of("work")):
        read = originals(request).get("Read")
        failed = [b for m in request.messages for b in _errors(m.get("content")) if "InputValidationError" in str(b)]
        if read is None or not failed:
            continue
        found += 1
        sent = expand_failed(stub_tools(request), request.tools)
        refused = [b for m in sent.messages for b in _errors(m.get("content"))]
        [result] = [block for block in refused if block["tool_use_id"] == failed[0]["tool_use_id"]]
        assert result["content"][-1]["text"] == full_text("Read", read)
        assert definition_json("Read", read) not in str(sent.tools)
    assert found


def _errors(content: object) -> list[JsonObject]:
    blocks = content if isinstance(content, list) else []
    return [block for block in blocks if block.get("type") == "tool_result" and block.get("is_error")]
