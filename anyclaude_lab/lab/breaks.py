"""Where a prompt stops being the one before it plus a turn, and why: in the tokens the model reads.

A break is found in the rendered text, after all prompt work and the chat template; it is mapped back to the block that
stands there, named by its cause, and undone on paper: with that one thing as it was, how many more tokens were reused?
Pure but for the tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from anyclaude_lab.lab.metrics.reuse import shared_tokens
from anyclaude_lab.lab.rendered import Prompt, Renderer
from anyclaude_lab.prompt.pipeline import Step
from anyclaude_lab.prompt.sections import as_json
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, as_blocks

EXCERPT_CHARS = 40
_DAYS = "Mon|Tue|Wed|Thu|Fri|Sat|Sun|Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Oct|Nov|Dec"
_DATE = re.compile(rf"\d{{4}}-\d\d-\d\d|\d{{1,2}}:\d\d|\b(?:{_DAYS})")
_PATH = re.compile(r"(?:~|[A-Za-z]:)?[/\\][\w.~-]+(?:[/\\][\w.~-]+)+")
_NONCE = re.compile(r"\b(?=\w*\d)[0-9A-Za-z]{4,}\b")
_BILLING = "x-anthropic-billing-header:"
OTHER_LANE = "other conversation"  # in the order of arrival: nothing changed, somebody else spoke
FIXED_BY = {
    "nonce": "strip_billing where it is the billing block",
    "date": "stabilise",
    "path": "stabilise",
    "tool order": "stabilise",
    "tool inserted": "tools found with ToolSearch, which are placed where they were asked for",
    "compaction": None,
}


@dataclass(frozen=True, slots=True)
class Sent:
    """One turn on its way: as recorded, as sent, and what the steps between did."""

    original: Request
    request: Request
    steps: Sequence[Step]
    prompt: Prompt


@dataclass(frozen=True, slots=True)
class Break:
    """One break. `break_token` is the first token that differs, `tokens_lost` what of the prompt before is not reused.

    `fixed_tokens`: how many of them would be, with this one cause undone. `transform_blamed`: the step of our own
    prompt work after which the requests first differ; None where they came that way.
    """

    section: str
    pointer: str
    cause: str
    transform_blamed: str | None
    break_token: int
    break_char: int
    tokens_lost: int
    fixed_tokens: int
    fixed_by: str | None
    before: str
    after: str

    def as_json(self) -> JsonObject:
        return asdict(self)


def find_break(before: Sent, after: Sent, renderer: Renderer) -> Break | None:
    """What keeps `after` from beginning with the prompt of `before`; None where nothing does."""
    shared = shared_tokens(before.prompt.tokens, after.prompt.tokens)
    lost = len(before.prompt.tokens) - shared
    if lost <= 0:
        return None
    place = _difference(before.prompt.text, after.prompt.text)
    change = _first_change(before.request, after.request)
    if change is None:  # the requests continue each other, their rendering does not
        section, pointer = _source(after, place) or ("template", "")
        cause, fixed = "template", after.request
    else:
        section, pointer, cause, fixed = change
    gained = _reused(before.prompt, renderer.prompt(fixed)) - _reused(before.prompt, after.prompt)
    was, became = _excerpts(before.prompt.text, after.prompt.text, place)
    cause = _named(cause, was, became, before, after)
    return Break(
        section=section,
        pointer=pointer,
        cause=cause,
        transform_blamed=_blamed(before.steps, after.steps) if change is not None else None,
        break_token=shared,
        break_char=place,
        tokens_lost=lost,
        fixed_tokens=max(0, gained),
        fixed_by=FIXED_BY.get(cause),
        before=was,
        after=became,
    )


def _reused(before: Prompt, after: Prompt | None) -> int:
    """Tokens of `after` that need not be computed behind `before`; its last one always is."""
    return 0 if after is None else min(shared_tokens(before.tokens, after.tokens), len(after.tokens) - 1)


def undone(before: Sent, after: Sent) -> Request:
    """`after` with the first thing undone in which it does not continue `before`; as it is where there is none."""
    change = _first_change(before.request, after.request)
    return after.request if change is None else change[3]


def _first_change(before: Request, after: Request) -> tuple[str, str, str, Request] | None:
    """(section, JSON pointer, cause, `after` with it undone) of the first thing that differs, in template order."""
    if before.system != after.system:
        place = _place(before.system, after.system)
        fixed = after.with_(system=before.system)
        return "system", f"/system/{place}/text", "system text", fixed
    if before.tools != after.tools:
        place = _place(before.tools, after.tools)
        return (
            "tools",
            f"/tools/{place}",
            _tool_cause(before.tools, after.tools),
            after.with_(tools=before.tools or None),
        )
    old, new = before.messages, after.messages
    if new[: len(old)] == old:
        return None
    place = _place(old, new)
    inner = (
        _place(as_blocks(old[place].get("content")), as_blocks(new[place].get("content"))) if place < len(new) else 0
    )
    cause = "compaction" if len(new) < len(old) else "history rewrite"
    fixed = after.with_(messages=[*old[: place + 1], *new[place + 1 :]])
    return "messages", f"/messages/{place}/content/{inner}", cause, fixed


def _tool_cause(old: list[JsonObject], new: list[JsonObject]) -> str:
    names, others = [t.get("name") for t in old], [t.get("name") for t in new]
    if sorted(map(str, names)) == sorted(map(str, others)):
        return "tool order" if names != others else "tool definition"
    return "tool inserted" if set(names) < set(others) else "tool removed"


def _named(cause: str, was: str, became: str, before: Sent, after: Sent) -> str:
    """A change of system text, told by what changed in it."""
    if cause != "system text":
        return cause
    old, new = _lines_apart(before.request, after.request)
    if _BILLING in old or _BILLING in new:
        return "nonce"
    if _DATE.search(old) and _DATE.sub("", old) == _DATE.sub("", new):
        return "date"
    if _PATH.search(old) and _PATH.sub("", old) == _PATH.sub("", new):
        return "path"
    if _NONCE.sub("", old) == _NONCE.sub("", new) and old != new:
        return "nonce"
    return "system text"


def _lines_apart(before: Request, after: Request) -> tuple[str, str]:
    """The first line of the system texts that differs."""
    old = [line for block in before.system for line in str(block.get("text")).splitlines()]
    new = [line for block in after.system for line in str(block.get("text")).splitlines()]
    place = _place(old, new)
    return (old[place] if place < len(old) else ""), (new[place] if place < len(new) else "")


def _blamed(before: Sequence[Step], after: Sequence[Step]) -> str | None:
    """The first step whose results differ although what went in continued each other."""
    for old, new in zip(before, after, strict=False):
        if _continues(old.before, new.before) and not _continues(old.after, new.after):
            return new.transform.name
    return None


def _continues(old: Request, new: Request) -> bool:
    messages = old.messages
    return old.system == new.system and old.tools == new.tools and new.messages[: len(messages)] == messages


def _source(sent: Sent, place: int) -> tuple[str, str] | None:
    """(section, pointer) of the longest text of the request that stands at `place` of the rendered prompt."""
    found: tuple[int, str, str] | None = None
    for section, pointer, text in _leaves(sent.request):
        for spelled in {text, as_json(text)[1:-1]}:
            at = sent.prompt.text.find(spelled, max(0, place - len(spelled)), place + len(spelled))
            if at >= 0 and spelled and (found is None or len(spelled) > found[0]):
                found = (len(spelled), section, pointer)
    return found and found[1:]


def _leaves(request: Request) -> Iterator[tuple[str, str, str]]:
    for number, block in enumerate(request.system):
        yield "system", f"/system/{number}/text", str(block.get("text") or "")
    for number, tool in enumerate(request.tools):
        yield "tools", f"/tools/{number}/description", str(tool.get("description") or "")
    for number, message in enumerate(request.messages):
        for inner, block in enumerate(as_blocks(message.get("content"))):
            text = block.get("text") or block.get("thinking") or block.get("content")
            if isinstance(text, str):
                yield "messages", f"/messages/{number}/content/{inner}", text


def _difference(first: str, second: str) -> int:
    """The first character that differs."""
    low, high = 0, min(len(first), len(second))
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if first.startswith(second[:middle]) else (low, middle - 1)
    return low


def _excerpts(old: str, new: str, place: int) -> tuple[str, str]:
    start = max(0, place - EXCERPT_CHARS // 2)
    return tuple(repr(text[start : start + EXCERPT_CHARS])[1:-1] for text in (old, new))  # type: ignore[return-value]  # two


def _place(old: Sequence[Any], new: Sequence[Any]) -> int:
    """The index of the first element that differs."""
    return next((n for n, (a, b) in enumerate(zip(old, new, strict=False)) if a != b), min(len(old), len(new)))
