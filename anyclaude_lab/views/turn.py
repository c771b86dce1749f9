"""One recorded exchange: its figures, what was asked, what was answered."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import orjson

from anyclaude_lab.views.figures import UNKNOWN, percent, plural, seconds, whole
from anyclaude_lab.views.html import Child, Html, joined, tag
from anyclaude_lab.views.notebook import Heading, card, folded, note, pairs, part, table, text
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, as_blocks

MESSAGES_SHOWN = 40
BLOCK_CHARS = 4000
LINE_CHARS = 90
_MESSAGES: tuple[Heading, ...] = (("", "n"), ("Role", None), ("Holds", None), ("Characters", "n"), ("Text", None))
_TOOLS: tuple[Heading, ...] = (("Tool", None), ("Characters", "n"), ("Description", None))


@dataclass(frozen=True, slots=True)
class Exchange:
    """`facts`: a row of the table of turns. `request` is None where it cannot be read. `calls`: (tool, arguments)."""

    facts: JsonObject
    request: Request | None
    text: str = ""
    thinking: str = ""
    calls: Sequence[tuple[str, str]] = field(default=())

    def title(self) -> str:
        """Which turn of which conversation."""
        return f"Turn {self.facts.get('turn')} of {self.facts.get('lane')}"

    def html(self) -> Html:
        """The card of a turn."""
        return card(self.title(), *self.pieces(), aside=self._place())

    def _place(self) -> str:
        file = str(self.facts.get("file")).replace("\\", "/").rpartition("/")[2]
        return f"{file}, line {self.facts.get('line')}"

    def pieces(self) -> tuple[Child, ...]:
        """What stands in the card."""
        return (pairs(self._figures()), part("Answer"), self._answer(), part("Request"), self._request())

    def _figures(self) -> list[tuple[str, Child]]:
        facts = self.facts
        prompt, cached = facts.get("prompt_tokens"), facts.get("prompt_tokens_cached")
        status = facts.get("status")
        bad = status is not None and status >= 400
        return [
            ("Asked by", str(facts.get("role") or UNKNOWN)),
            ("It answers", {"user": "the user", "tool_result": "a tool"}.get(str(facts.get("trigger")), UNKNOWN)),
            ("Model", str(facts.get("model") or UNKNOWN)),
            ("Prompt tokens", whole(prompt)),
            ("From cache", percent(cached, prompt)),
            ("Output tokens", whole(facts.get("output_tokens"))),
            ("Time to first token", seconds(facts.get("ttft_s"))),
            ("In all", seconds(facts.get("e2e_s"))),
            ("Ended", str(facts.get("stop_reason") or facts.get("ending") or UNKNOWN)),
            ("Status", tag("b", str(status), class_="problem") if bad else str(status or UNKNOWN)),
        ]

    def _answer(self) -> Html:
        error = self.facts.get("error")
        calls = [
            joined(tag("p", tag("b", name)), text(arguments, f"Arguments of {name}", BLOCK_CHARS))
            for name, arguments in self.calls
        ]
        said = (error, self.thinking, self.text, calls)
        return joined(
            tag("p", str(error), class_="problem") if error else None,
            folded("Thinking", text(self.thinking, "Thinking", BLOCK_CHARS)) if self.thinking else None,
            text(self.text, "Text of the answer", BLOCK_CHARS) if self.text else None,
            *calls,
            None if any(said) else note("nothing"),
        )

    def _request(self) -> Html:
        if self.request is None:
            return note("the request cannot be read")
        system = [str(block.get("text") or "") for block in self.request.system]
        texts = [text(one, f"System block {number}", BLOCK_CHARS) for number, one in enumerate(system, 1)]
        tools, messages = self.request.tools, self.request.messages
        return joined(
            folded(f"System: {plural(len(system), 'block')}, {plural(sum(map(len, system)), 'character')}", *texts),
            folded(f"Tools: {len(tools)}", table(_TOOLS, [_tool(tool) for tool in tools], "Tools")),
            folded(f"Messages: {len(messages)}", *_messages(messages)),
        )


def _tool(tool: JsonObject) -> Sequence[Child]:
    return tag("b", str(tool.get("name"))), whole(len(orjson.dumps(tool))), _line(str(tool.get("description") or ""))


def _messages(messages: Sequence[JsonObject]) -> Sequence[Child]:
    left_out = max(0, len(messages) - MESSAGES_SHOWN)
    rows = [_message(number, message) for number, message in enumerate(messages[left_out:], left_out)]
    return (note(f"the last {MESSAGES_SHOWN}") if left_out else None, table(_MESSAGES, rows, "Messages"))


def _message(number: int, message: JsonObject) -> Sequence[Child]:
    blocks = as_blocks(message.get("content"))
    kinds = ", ".join(dict.fromkeys(str(block.get("type")) for block in blocks))
    said = "\n".join(map(block_text, blocks))
    shown: Child = _line(said)
    if len(said) > LINE_CHARS or "\n" in said:
        shown = folded(_line(said), text(said, f"Message {number}", BLOCK_CHARS))
    return number, str(message.get("role")), kinds, whole(len(said)), shown


def block_text(block: JsonObject) -> str:
    """What a block says: text, a call as `Tool {arguments}`, a result; of a picture only that it is one."""
    match block.get("type"):
        case "text":
            return str(block.get("text") or "")
        case "thinking":
            return str(block.get("thinking") or "")
        case "tool_use":
            return f"{block.get('name')} {orjson.dumps(block.get('input')).decode()}"
        case "tool_result":
            return "\n".join(block_text(one) for one in as_blocks(block.get("content")))
        case "image" | "document":
            return f"[{block.get('type')}]"
    return orjson.dumps(block).decode()


def _line(value: str) -> str:
    first = " ".join(value[: 4 * LINE_CHARS].split())
    return first[:LINE_CHARS] + ("…" if len(first) > LINE_CHARS or len(value) > 4 * LINE_CHARS else "")
