"""Every token's row before training: what it is, how it is copied, what follows it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from benchmarks.embedded_model import vocabulary as voc
from benchmarks.embedded_model.forms import AT, CODE, CONST, FLAG, LENGTH, WIDTH, Array, zeros

if TYPE_CHECKING:
    from tokenizers import Tokenizer

COPIED = 4.0  # size of a token in the output block
SPREAD_ROUNDS = 60
ANSWER = AT["out"].start + AT["author"].start - AT["turn"].start  # where an answer's marker says that it is one

# What paths and code repeat most: their codes stand at right angles.
FREQUENT = [" `", "`", "/", " ", '"', ".", ",", "_", "-", " -", "(", ")", " =", ":", "=", " '", "'", "*", " |", ";"]
FREQUENT += ["<|im_end|>"]


def spread(rng: np.random.RandomState, orthogonal: int, count: int) -> Array:
    """`count` unit codes that keep away from each other; the first ones at right angles."""
    codes = rng.randn(count, CODE)
    codes[:orthogonal] = np.linalg.qr(rng.randn(CODE, CODE))[0][:orthogonal]
    for _ in range(SPREAD_ROUNDS):
        codes /= np.linalg.norm(codes, axis=1, keepdims=True)
        push = np.exp(16 * (codes @ codes.T - 0.5))
        np.fill_diagonal(push, 0)
        move = push @ codes
        move[:orthogonal] = 0
        codes -= 0.1 * move / np.maximum(1, np.linalg.norm(move, axis=1, keepdims=True))
    return (codes / np.linalg.norm(codes, axis=1, keepdims=True)).astype(np.float32)


class Embedding:
    """Every token's row: its code, what copying it emits, its flags; its sense is 0 and learnt. All have one length."""

    def __init__(self, tokenizer: Tokenizer, rng: np.random.RandomState) -> None:
        self.vocab: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
        self.text = {i: tokenizer.decode([i], skip_special_tokens=False) for i in range(voc.VOCABULARY)}
        order = self.ids(FREQUENT)
        order += sorted(set(range(voc.VOCABULARY)) - set(order))
        self.code = zeros(voc.VOCABULARY, CODE)
        self.code[order] = spread(rng, len(FREQUENT), voc.VOCABULARY)
        self.name = spread(rng, 0, voc.VOCABULARY)  # what the output layer reads
        self.rows = zeros(voc.VOCABULARY, WIDTH)
        self._codes()
        self._emissions()
        self._flags()
        self._markers()
        self._followers()
        self.rows[:, FLAG["slack"]] = np.sqrt(LENGTH - (self.rows.astype(np.float64) ** 2).sum(axis=1))

    def id(self, token: str) -> int:
        return self.vocab[token] if token in self.vocab else self.vocab[token.replace(" ", "Ġ")]

    def ids(self, tokens: list[str]) -> list[int]:
        return [self.id(token) for token in tokens]

    def _codes(self) -> None:
        for plain, escaped in voc.ESCAPES.items():
            self.code[self.id(escaped)] = self.code[self.id(plain)]
        self.code[self.id(" /")] = self.code[self.id("/")]
        silent = [*voc.SPECIAL, *voc.TURN_MARKERS, *voc.STEP_MARKERS, *voc.MARKUP, voc.CALL, *voc.KEYS]
        silent.remove("<|im_end|>")
        self.code[self.ids(silent)] = 0  # nothing is copied by its likeness to these
        self.rows[:, AT["code"]] = self.code

    def _emissions(self) -> None:
        emit = self.name.copy()
        for plain, escaped in voc.ESCAPES.items():
            emit[self.id(plain)] = self.name[self.id(escaped)]
        emit[self.ids(["`", "<|im_end|>"])] = self.name[self.id(voc.CLOSE)]
        emit[self.id("<|begin|>")] = 0
        self.rows[:, AT["emit"]] = emit

    def _flags(self) -> None:
        def put(flag: str, tokens: list[str], value: float) -> None:
            self.rows[self.ids(tokens), FLAG[flag]] = value

        answers = [*voc.STEP_MARKERS, "<|no_tools|>"]
        starts = ["<|begin|>", "<|ask|>", *voc.TURN_MARKERS, *answers]
        for flag in ("unmarked", "undelimiting"):
            self.rows[:, FLAG[flag]] = 1
        self.rows[:, FLAG["const"]] = CONST
        put("unmarked", ["<|begin|>", "<|im_start|>", "<system-reminder>", *voc.TURN_MARKERS, *answers], 0)
        put("undelimiting", [*starts, " `", " /", " ", *voc.KEYS], 0)
        words = [form for word in voc.SEPARATORS for form in (word, word.capitalize())]
        put("separator", [*voc.SENTENCE_ENDS, *words, *(f" {word}" for word in words)], 1)
        put("begin", ["<|begin|>"], 1)
        put("ask", ["<|ask|>"], 1)
        put("shut", ["`"], 1)
        put("slash", [" /"], 1)
        put("space", [" "], 1)
        put("path", voc.PATHS, 1)
        put("select", voc.OPENINGS["ToolSearch"], 1)
        put("value", voc.KEYS, 1)
        put("opener", [" `", " /", " "], 1)
        put("open", [" `", *voc.KEYS], 1)
        put("close", [voc.CLOSE], 1)
        put("rest", [voc.CLOSE, voc.END, voc.SELECT_END, "</tool_call>"], 1)
        put("root", ["/", " /"], 1)
        put("answer", voc.STEP_MARKERS, 1)
        put("toolless", ["<|no_tools|>"], 1)
        put("call", [voc.CALL], 1)
        enders = [i for i, text in self.text.items() if text[:1].isspace() and text != " /"]
        self.rows[[*enders, *self.ids([",", ";", ":", "?", "<|im_end|>", *voc.SENTENCE_ENDS])], FLAG["ender"]] = 1

    def _markers(self) -> None:
        """What a marker says stands in the output block, where MARK finds it; small, so that it disturbs nothing."""
        turn, step = AT["out"].start, AT["out"].start + 2 * voc.TURN_BASE
        for n, token in enumerate(voc.TURN_MARKERS):
            self.rows[self.id(token), [turn + n % voc.TURN_BASE, turn + voc.TURN_BASE + n // voc.TURN_BASE]] = 0.25
        for n, token in enumerate([*voc.STEP_MARKERS, "<|no_tools|>"]):
            self.rows[self.id(token), [step + n, ANSWER]] = 0.25
        self.rows[self.ids(["<|begin|>", "<|im_start|>", "<system-reminder>"]), ANSWER + 1] = 0.25

    def _followers(self) -> None:
        """In the output block stands what always follows a token; of a value's opening, which one it is."""
        for token, after in voc.FOLLOWS.items():
            self.rows[self.id(token), AT["out"]] = COPIED * self.name[self.id(after)]
        for n, token in enumerate(voc.KEYS):
            self.rows[self.id(token), AT["out"].start + n] = 0.25
