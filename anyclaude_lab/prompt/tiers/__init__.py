"""The system prompt at a tier: less of what is generic, all of what is the session's.

`off < minimal < moderate < aggressive < extreme`. A tier is chosen once for a conversation and then kept, since every
change of the prompt's head costs a backend its cache. See `table` for what goes when.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, TypeVar

from anyclaude_lab.prompt.tiers.filter import Count, FilteredTexts, SectionFate, filter_texts
from anyclaude_lab.prompt.tiers.notices import shorten_notice
from anyclaude_lab.prompt.tiers.outline import LONGEST_CHARACTERS
from anyclaude_lab.prompt.tiers.table import BUDGETS_TOKENS, TIERS
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.json_text import without_surrogates
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.same import once

__all__ = ["BUDGETS_TOKENS", "TIERS", "Filtered", "SectionFate", "choose_tier", "filter_system"]

SHARE_OF_WINDOW = 16  # of which the system text may take one, for `auto`
_REMEMBERED_RESULTS = 64

Result = TypeVar("Result")


@dataclass(frozen=True, slots=True)
class Filtered:
    """A request at a tier, and how it came about.

    `budget_unmet_tokens`: by how much the system field is over the tier's budget, because what is left is protected;
    None where it is not.
    """

    request: Request
    family: str
    sections: tuple[SectionFate, ...]
    budget_unmet_tokens: int | None


def filter_system(request: Request, tier: str, count: Count) -> Filtered:
    """The request with its system text, and its system messages, at `tier`: the very same one if nothing changes.

    A pure function of the system blocks, of each system message by itself, of the tier and of what `count` says: a
    counter that learns must not be passed, or the head of a conversation moves. Raises `ValueError` for a tier that is
    not one of `TIERS`.
    """
    if tier not in TIERS:
        raise ValueError(f"{tier!r} is no tier; there are: {', '.join(TIERS)}")
    blocks = request.system
    left, done = _filtered(blocks, tier, count)
    messages, shortened = _with_short_notices(request.messages, tier, count)
    changes: JsonObject = {}
    if left != blocks:
        changes["system"] = left[0]["text"] if isinstance(request.body.get("system"), str) else left
    if shortened:
        changes["messages"] = messages
    return Filtered(
        request.with_(**changes) if changes else request,
        done.family,
        (*done.sections, *shortened),
        done.budget_unmet_tokens,
    )


@once
def _filtered(blocks: list[JsonObject], tier: str, count: Count) -> tuple[list[JsonObject], FilteredTexts]:
    """What is left of the blocks, and how it came about."""
    texts = tuple(block["text"] if isinstance(block.get("text"), str) else "" for block in blocks)
    done = _remembered(filter_texts, texts, tier, count)
    left = [
        block if text == before else {**block, "text": text}
        for block, before, text in zip(blocks, texts, done.texts, strict=True)
        if text is not None
    ]
    return left, done


def choose_tier(request: Request, count: Count, window_tokens: int | None) -> str:
    """What `auto` decides at the first request of a conversation.

    The weakest tier from `minimal` on at which the system text takes no more than a sixteenth of the window; `extreme`
    where none does, `moderate` where the window is not known. So a large window keeps the client's own words, and 32K
    keep the room for the work.
    """
    if window_tokens is None:
        return "moderate"
    for tier in TIERS[1:]:
        blocks = filter_system(request, tier, count).request.system
        system_tokens = sum(
            count(without_surrogates(block["text"])) for block in blocks if isinstance(block.get("text"), str)
        )
        if system_tokens * SHARE_OF_WINDOW <= window_tokens:
            return tier
    return TIERS[-1]


def _with_short_notices(
    messages: list[JsonObject], tier: str, count: Count
) -> tuple[list[JsonObject], tuple[SectionFate, ...]]:
    fates: list[SectionFate] = []

    def shortened(text: str) -> str:
        short, saved_tokens = _remembered(_notice, text, tier, count)
        if short != text:
            why = f"descriptions of agents and skills: first sentences at {tier}"
            fates.append(SectionFate("(system message)", False, why, saved_tokens))
        return short

    done = [_with_text(message, shortened) if message.get("role") == "system" else message for message in messages]
    return done, tuple(fates)


def _with_text(message: JsonObject, shortened: Callable[[str], str]) -> JsonObject:
    content = message.get("content")
    if isinstance(content, str):
        return {**message, "content": shortened(content)}
    blocks = [
        {**block, "text": shortened(block["text"])} if isinstance(block.get("text"), str) else block
        for block in content or []
    ]
    return {**message, "content": blocks}


def _notice(text: str, tier: str, count: Count) -> tuple[str, int]:
    """The text of a system message at a tier, and the tokens that this saves."""
    short = shorten_notice(text, tier)
    if short == text:
        return text, 0
    return short, count(without_surrogates(text)) - count(without_surrogates(short))


def _remembered(function: Callable[..., Result], text: str | tuple[str, ...], tier: str, count: Count) -> Result:
    """The function's result, from memory where a turn asks what the turn before asked; long texts are not kept."""
    characters = len(text) if isinstance(text, str) else sum(map(len, text))
    if characters > LONGEST_CHARACTERS:
        return function(text, tier, count)
    result: Result = _memory(function, text, tier, count)
    return result


@lru_cache(maxsize=_REMEMBERED_RESULTS)
def _memory(function: Callable[..., Any], text: str | tuple[str, ...], tier: str, count: Count) -> Any:
    return function(text, tier, count)
