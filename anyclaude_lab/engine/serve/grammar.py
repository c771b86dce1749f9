"""Tool calls that fit their schemas by construction: inside a call only tokens that keep it valid may come.

Outside of calls nothing is touched. A call begins with a token of its own; from there to its closing marker a grammar
made from the request's schemas allows or forbids each token. Needs `llguidance`; its mask is applied with plain
operations, so that it works wherever mlx does. A schema that the library cannot enforce is loosened to "an object".

Only for models whose calls begin with `<tool_call>`, and for which that is one token. See `call_rules.py`.
"""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any

import mlx.core as mx
import numpy as np

from anyclaude_lab.engine.serve.call_forms import HERMES, CallForm
from anyclaude_lab.engine.serve.call_rules import call_rules
from anyclaude_lab.wire.events import JsonObject

Matcher = Any  # llguidance.LLMatcher

CLOSING = "</tool_call>"
MEMO_GRAMMARS = 32

log = logging.getLogger(__name__)


class Guide:
    """Watches one answer. `begin` enters a call by hand, where its marker was part of the prompt."""

    def __init__(self, fresh: Matcher, marker: int) -> None:
        self._fresh, self._marker = fresh, marker
        self._call: Matcher | None = None

    def begin(self) -> None:
        self._call = self._fresh.deep_copy()

    def took(self, token: int) -> None:
        """The next token of the answer."""
        if self._call is None:
            if token == self._marker:
                self.begin()
        elif not self._call.consume_token(token) or self._call.is_stopped():
            self._call = None

    def allowed(self, scores: mx.array) -> mx.array:
        """`scores` of shape (1, vocabulary), with what may not come at minus infinity."""
        if self._call is None:
            return scores
        packed = mx.array(np.frombuffer(self._call.compute_bitmask(), np.uint8))
        bits = ((packed[:, None] >> mx.arange(8, dtype=mx.uint8)) & 1).reshape(-1)
        size = scores.shape[-1]
        bits = bits[:size] if bits.size >= size else mx.pad(bits, (0, size - bits.size))
        return mx.where(bits[None] == 1, scores, -mx.inf)


class CallGrammar:
    """The grammars of one model. Any thread may call; made by `call_grammar`."""

    def __init__(self, tokenizer: Any, form: CallForm, marker: int, closing: int | None) -> None:
        self._tokenizer, self._form, self._marker = tokenizer, form, marker
        self._closing = f"<[{closing}]>" if closing is not None else json.dumps(CLOSING)
        self._memo: dict[str, Matcher] = {}
        self._one_at_a_time = threading.Lock()

    def guide(self, tools: Mapping[str, JsonObject]) -> Guide:
        """For an answer that may call these: name -> schema."""
        key = json.dumps(tools)
        with self._one_at_a_time:
            if key not in self._memo:
                while len(self._memo) >= MEMO_GRAMMARS:
                    del self._memo[next(iter(self._memo))]
                self._memo[key] = self._compiled(tools)
            return Guide(self._memo[key].deep_copy(), self._marker)

    def _compiled(self, tools: Mapping[str, JsonObject]) -> Matcher:
        strict = self._matcher(tools)
        if not strict.is_error():
            return strict
        loose = dict(tools)
        for name, schema in tools.items():
            if self._matcher({name: schema}).is_error():
                loose[name] = {"type": "object"}
                log.warning("calls of %s are kept to valid JSON only: its schema cannot be enforced", name)
        return self._matcher(loose)

    def _matcher(self, tools: Mapping[str, JsonObject]) -> Matcher:
        return import_module("llguidance").LLMatcher(
            self._tokenizer, call_rules(tools, self._form, self._closing), log_level=0
        )


def call_grammar(hub_tokenizer: Any, form: CallForm | None, end_token: int) -> CallGrammar | None:
    """None, with the reason in the log, where calls cannot be constrained."""
    backend = hub_tokenizer.backend_tokenizer
    marker, closing = (backend.encode(text, add_special_tokens=False).ids for text in (HERMES.marker, CLOSING))
    if find_spec("llguidance") is None:
        reason = "llguidance is not installed"
    elif form is None or form.marker != HERMES.marker or len(marker) != 1:
        reason = "no grammar is known for the way in which this model writes them"
    else:
        try:
            vocabulary = import_module("llguidance").LLTokenizer(backend.to_str(), eos_token=end_token)
            return CallGrammar(vocabulary, form, marker[0], closing[0] if len(closing) == 1 else None)
        except ValueError as error:
            reason = f"llguidance cannot read its tokenizer ({error})"
    log.warning("tool calls are not constrained: %s", reason)
    return None
