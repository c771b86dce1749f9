"""How many tokens a prompt has, without generating anything.

The best way that is there: the backend's own endpoint, else the model's tokenizer and chat template, else characters,
calibrated by what the backend reported for earlier requests. Every count says how it was made and whether it is exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Protocol

from anyclaude_lab.backends.base import Backend
from anyclaude_lab.wire.request import Request

CHARACTERS_PER_TOKEN = 3.6  # between prose (4.7) and JSON (3.9) of today's vocabularies and code of older ones
MARGIN = 1.1  # an estimate is rounded up by this where it decides something
NEAR = 0.6  # from this share of the window on, the backend itself is asked
LEARNED = 0.3  # weight of the newest report
LEAST_LEARNED_TOKENS = 200  # a report of a smaller prompt is mostly template, and teaches nothing
MEDIA_TOKENS = 1500  # an image or document, whatever its size in base64


@dataclass(frozen=True, slots=True)
class Count:
    """Prompt tokens (None: not counted), how they were counted, and whether the number is exact."""

    tokens: int | None
    method: str
    exact: bool

    @property
    def upper_tokens(self) -> int:
        """The count, rounded up where it is uncertain."""
        tokens = self.tokens or 0
        return tokens if self.exact else math.ceil(tokens * MARGIN)


class Renderer(Protocol):
    """Counts a request as the model's own template and tokenizer see it; None where the template refuses it."""

    def count(self, request: Request) -> int | None: ...


class PromptCounter:
    """Counts for one backend, and learns from its reports. The same numbers serve count_tokens, clamp and usage."""

    def __init__(self, backend: Backend, renderer: Renderer | None = None) -> None:
        self._backend, self._renderer = backend, renderer
        self._ratio: float | None = None  # reported tokens per estimated token

    async def count(self, request: Request, *, near_tokens: int | None = None) -> Count:
        """For a request about to be sent. Only near the window `near_tokens` is the backend asked."""
        local = self._here(request)
        if local.exact or near_tokens is None or local.upper_tokens < NEAR * near_tokens:
            return local
        return await self._asked(request) or local

    async def count_exactly(self, request: Request) -> Count:
        """For count_tokens: the best there is."""
        return await self._asked(request) or self._here(request)

    def learn(self, request: Request, reported_tokens: int | None) -> None:
        """Take in what the backend said `request` had."""
        if reported_tokens is None or reported_tokens < LEAST_LEARNED_TOKENS or self._renderer is not None:
            return
        ratio = reported_tokens / estimate(request)
        self._ratio = ratio if self._ratio is None else self._ratio + LEARNED * (ratio - self._ratio)

    async def _asked(self, request: Request) -> Count | None:
        tokens = await self._backend.count(request)
        return None if tokens is None else Count(tokens, "backend", exact=True)

    def _here(self, request: Request) -> Count:
        if self._renderer is not None and (tokens := self._renderer.count(request)) is not None:
            return Count(tokens, "template and tokenizer", exact=True)
        guess = estimate(request)
        if self._ratio is None:
            return Count(guess, "characters", exact=False)
        return Count(math.ceil(guess * self._ratio), "characters, calibrated", exact=False)


def estimate(request: Request) -> int:
    """Prompt tokens by characters: system, tools and messages; media count by piece, not by base64 length."""
    body = request.body
    characters = media = 0
    for value in (body.get("system"), body.get("tools"), *(m.get("content") for m in request.messages)):
        length, pieces = _size(value)
        characters, media = characters + length, media + pieces
    return math.ceil(characters / CHARACTERS_PER_TOKEN) + 4 * len(request.messages) + MEDIA_TOKENS * media + 8


def _size(value: object) -> tuple[int, int]:
    """Characters, and the number of images and documents left out of them."""
    if isinstance(value, str):
        return len(value), 0
    if isinstance(value, dict):
        if value.get("type") in ("image", "document") and "source" in value:
            return 0, 1
        parts = [_size(part) for name, part in value.items() if name not in ("cache_control", "signature")]
        names = sum(map(len, value)) + 4 * len(value)
        return names + sum(p[0] for p in parts), sum(p[1] for p in parts)
    if isinstance(value, list):
        parts = [_size(part) for part in value]
        return 2 * len(parts) + sum(p[0] for p in parts), sum(p[1] for p in parts)
    return 0 if value is None else len(str(value)), 0
