"""Text of a reply on its way to the user: reasoning told from the answer, leaked control tokens taken out.

Both readers give the same result however the text is cut, and hold back only what may still become a marker. Text
without marker characters passes untouched and unsearched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum
from functools import lru_cache
from typing import NamedTuple

# Control tokens of common chat templates that servers let through; families add their own.
SPECIAL_TOKENS = (
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>",
    "<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>", "<|tool_call|>", "<|tool_calls|>", "<|end|>",
    "<start_of_turn>", "<end_of_turn>", "[TOOL_CALLS]",
)  # fmt: skip

_REASONING_TAGS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"))
_LONGEST_FENCE = 64
_LONGEST_BLANK = 4096
_BARE_CLOSING = "</think>"  # the template opened the block, the model only closes it


class _Beginnings:
    """The proper beginnings of some markers."""

    def __init__(self, markers: Iterable[str]) -> None:
        self._all = frozenset(marker[:size] for marker in markers for size in range(1, len(marker)))
        self._sizes = range(max(map(len, self._all), default=0), 0, -1)

    def at_end(self, text: str) -> int:
        """Length of the longest one that ends `text`."""
        for size in self._sizes:
            if (end := text[-size:]) in self._all:
                return len(end)
        return 0


_CLOSING_BEGUN = {closing: _Beginnings([closing]) for _, closing in _REASONING_TAGS}
_BARE_CLOSING_BEGUN = _Beginnings(["\n" + _BARE_CLOSING])


class _Mode(Enum):
    START = "nothing but blanks since the last block"
    REASONING = "inside a reasoning block"
    ANSWER = "inside the answer"


class ReasoningSplitter:
    """Tells `<think>` blocks from the answer. An opening tag counts only where a block of text begins."""

    def __init__(self, *, starts_in_reasoning: bool = False) -> None:
        self.closed_unopened = False  # a closing tag came that nothing had opened: the template opens the block
        self._mode = _Mode.REASONING if starts_in_reasoning else _Mode.START
        self._closing = _BARE_CLOSING
        self._bare_possible = not starts_in_reasoning
        self._line_start = True  # the answer so far ends with a line break
        self._held = ""

    def passes(self, text: str) -> bool:
        """Whether all of `text` is answer, as nearly every piece is; then it need not be fed."""
        if self._mode is not _Mode.ANSWER or self._held or ("<" in text and self._bare_possible):
            return False
        if text:
            self._line_start = text[-1] == "\n"
        return True

    def alarms(self) -> str | None:
        """Characters without which a text passes; None where no text does."""
        if self._mode is not _Mode.ANSWER or self._held:
            return None
        return "<" if self._bare_possible else ""

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """Pieces in order: (is reasoning, text)."""
        pieces: list[tuple[bool, str]] = []
        rest: str | None = self._held + text
        self._held = ""
        steps = {_Mode.START: self._start, _Mode.REASONING: self._reasoning, _Mode.ANSWER: self._answer}
        while rest:
            piece, rest = steps[self._mode](rest)
            if piece[1]:
                pieces.append(piece)
        return pieces

    def close(self) -> list[tuple[bool, str]]:
        """What was held back, as what it is by now."""
        rest, self._held = self._held, ""
        piece = (self._mode is _Mode.REASONING, rest)
        if self._mode is not _Mode.REASONING:
            self._mode = _Mode.START
        return [piece] if rest else []

    def _start(self, text: str) -> tuple[tuple[bool, str], str | None]:
        begun = text.lstrip()
        for opening, closing in _REASONING_TAGS:
            if begun.startswith(opening):
                self._mode, self._closing, self._bare_possible = _Mode.REASONING, closing, False
                return (False, ""), begun[len(opening) :]
        possible = [tag for pair in _REASONING_TAGS for tag in pair[:1]] + [_BARE_CLOSING] * self._bare_possible
        if (not begun and len(text) < _LONGEST_BLANK) or (begun and any(tag.startswith(begun) for tag in possible)):
            self._held = text
            return (False, ""), None
        self._mode, self._line_start = _Mode.ANSWER, True
        return (False, ""), text

    def _reasoning(self, text: str) -> tuple[tuple[bool, str], str | None]:
        at = text.find(self._closing)
        if at >= 0:
            self._mode = _Mode.START
            return (True, text[:at]), text[at + len(self._closing) :]
        keep = _CLOSING_BEGUN[self._closing].at_end(text)
        self._held = text[len(text) - keep :] if keep else ""
        return (True, text[: len(text) - keep]), None

    def _answer(self, text: str) -> tuple[tuple[bool, str], str | None]:
        if not self._bare_possible:
            return self._passed(text), None
        at = 0 if self._line_start and text.startswith(_BARE_CLOSING) else text.find("\n" + _BARE_CLOSING)
        if at >= 0:
            at += text[at] == "\n"
            self.closed_unopened, self._bare_possible, self._mode = True, False, _Mode.START
            return (False, text[:at]), text[at + len(_BARE_CLOSING) :]
        if self._line_start and _BARE_CLOSING.startswith(text):
            self._held = text
            return (False, ""), None
        keep = _BARE_CLOSING_BEGUN.at_end(text)
        if keep > 1:  # a line break alone need not wait: the next piece knows that a line begins
            self._held = text[len(text) - keep + 1 :]
            text = text[: len(text) - keep + 1]
        return self._passed(text), None

    def _passed(self, text: str) -> tuple[bool, str]:
        if text:
            self._line_start = text.endswith("\n")
        return (False, text)


class _TokenReader(NamedTuple):
    starts: str  # characters of which a text without a token or code has none
    marks: re.Pattern[str]
    beginnings: _Beginnings


@lru_cache(maxsize=64)
def _token_reader(tokens: tuple[str, ...]) -> _TokenReader:
    tokens = tuple(sorted(set(tokens), key=len, reverse=True))
    starts = "".join(sorted({"`", *(token[0] for token in tokens)}))
    marks = "|".join([*map(re.escape, tokens), "`+", "\n"])
    return _TokenReader(starts, re.compile(marks), _Beginnings(tokens))


class TokenFilter:
    """Takes special tokens out of text, but not out of code: what the user asked to see stays."""

    def __init__(self, tokens: Iterable[str] = SPECIAL_TOKENS) -> None:
        self._reader = _token_reader(tuple(tokens))
        self._held = ""
        self._fence = 0  # length of the run of backticks that opened the code we are in; 0 outside

    def passes(self, text: str) -> bool:
        """Whether `text` holds nothing to take out; then it need not be fed."""
        return not (self._held or self._fence or any(map(text.__contains__, self._reader.starts)))

    def alarms(self) -> str | None:
        """Characters without which a text passes; None where no text does."""
        return None if self._held or self._fence else self._reader.starts

    def feed(self, text: str) -> str:
        reader = self._reader
        if self.passes(text):
            return text
        text = self._held + text
        keep = reader.beginnings.at_end(text)
        keep = max(keep, min(len(text) - len(text.rstrip("`")), _LONGEST_FENCE))
        self._held = text[len(text) - keep :] if keep else ""
        return self._filtered(text[: len(text) - keep])

    def close(self) -> str:
        rest, self._held = self._held, ""
        rest = self._filtered(rest)
        self._fence = 0
        return rest

    def _filtered(self, text: str) -> str:
        kept: list[str] = []
        last = 0
        for match in self._reader.marks.finditer(text):
            mark = match[0]
            if mark[0] == "`":
                self._fence = len(mark) if not self._fence else 0 if len(mark) == self._fence else self._fence
            elif mark == "\n":
                self._fence = self._fence if self._fence >= 3 else 0  # code within a line ends with it
            elif not self._fence:
                kept.append(text[last : match.start()])
                last = match.end()
        kept.append(text[last:])
        return "".join(kept)
