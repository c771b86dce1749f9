"""How many tokens a prompt has, without generating anything.

The best way that is there: the backend's own endpoint, else the model's tokenizer and chat template, else those of
another model of its family, else a vocabulary of tiktoken's, else characters; the last three are calibrated by what the
backend reported for earlier requests. Every count says how it was made and whether it is exact.
"""

from __future__ import annotations

import asyncio
import math
import threading
from collections.abc import Callable

from anyclaude_lab.backends.base import Backend
from anyclaude_lab.exchange.model_files import ModelFiles, files_for
from anyclaude_lab.render.count import Count, count_request
from anyclaude_lab.render.tokens import Calibration, characters
from anyclaude_lab.wire.openai_dialect import MLX_LM
from anyclaude_lab.wire.openai_request import to_openai
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.tool_names import ToolNames

MARGIN = 1.1  # an estimate is rounded up by this where it decides something
NEAR = 0.6  # from this share of the window on, the backend itself is asked
BACKEND_METHOD = "backend"


def upper_tokens(count: Count) -> int:
    """The count, rounded up where it is uncertain."""
    return count.tokens if count.exact else math.ceil(count.tokens * MARGIN)


class PromptCounter:
    """Counts for one backend, and learns from its reports. The same numbers serve count_tokens, clamp and usage."""

    def __init__(
        self,
        backend: Backend,
        files: ModelFiles | None = None,
        find_files: Callable[[str], ModelFiles | None] = files_for,
    ) -> None:
        self._backend, self._files, self._find_files = backend, files, find_files
        self._model: str | None = None  # the one that answered last
        self._calibration = Calibration()
        self._one_at_a_time = threading.Lock()  # a tokenizer's memory is no place for two threads

    async def count(self, request: Request, *, near_tokens: int | None = None) -> Count:
        """For a request about to be sent. Only near the window `near_tokens` is the backend asked."""
        here = await self._here(request)
        if here.exact or near_tokens is None or upper_tokens(here) < NEAR * near_tokens:
            return here
        return await self._asked(request) or here

    async def count_exactly(self, request: Request) -> Count:
        """For count_tokens: the best there is."""
        return await self._asked(request) or await self._here(request)

    def learn(self, count: Count | None, reported_tokens: int | None, model: str | None = None) -> None:
        """Take in which model answered a request, and what the backend said that the request of `count` had."""
        if not self._look_up(model) and count is not None and count.raw_tokens is not None:
            self._calibration = self._calibration.learned(
                self._backend.name, counted_tokens=count.raw_tokens, reported_tokens=reported_tokens
            )

    def _look_up(self, model: str | None) -> bool:
        """Whether the files of a model that was not known before are now counted with."""
        if self._files is not None or model is None or model == self._model:
            return False
        self._model, self._files = model, self._find_files(model)
        if self._files is not None:
            self._calibration = Calibration()  # learned for characters
        return self._files is not None

    async def _asked(self, request: Request) -> Count | None:
        tokens = await self._backend.count(request)
        return None if tokens is None else Count(tokens, BACKEND_METHOD, exact=True)

    async def _here(self, request: Request) -> Count:
        # The first count reads a tokenizer of megabytes, and a new prompt takes it seconds: not while others stream.
        return await asyncio.to_thread(self._counted, request) if self._files else self._counted(request)

    def _counted(self, request: Request) -> Count:
        with self._one_at_a_time:
            counter, template = (self._files.counter, self._files.template) if self._files else (characters(), None)
            raw = count_request(_body(request), counter, template)
        if counter.exact:
            return raw
        tokens = self._calibration.corrected(self._backend.name, raw.tokens)
        known = self._calibration.ratios.get(self._backend.name)
        method = f"{raw.method}, calibrated (replies: {known.replies})" if known else raw.method
        return Count(tokens, method, exact=False, raw_tokens=raw.tokens)


def _body(request: Request) -> dict[str, object]:
    """The request as a chat-completions body; what little the dialects differ in does not change the count."""
    body, _ = to_openai(request, MLX_LM, model="", names=ToolNames.for_tools(request.offered_tools()))
    return body
