"""Text of a reply on its way to the user: reasoning told from the answer, leaked control tokens taken out.

Both readers give the same result however the text is cut, and hold back only what may still become a marker. Text
without marker characters passes untouched and unsearched.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from enum import Enum

# Control tokens of common chat templates that servers let through; families add their own.
SPECIAL_TOKENS = (
    "<|im_start|>", "<|im_end|>", "<|endoftext|>", "<|end_of_text|>", "<|eot_id|>", "<|eom_id|>",
    "<|start_header_id|>", "<|end_header_id|>", "<|python_tag|>", "<|tool_call|>", "<|tool_calls|>", "<|end|>",
    "<start_of_turn>", "<end_of_turn>", "[TOOL_CALLS]",
)  # fmt: skip

_REASONING_TAGS = (("<think>", "</think>"), ("[THINK]", "[/THINK]"))
_LONGEST_FENCE = 64
_BARE_CLOSING = "</think>"  # the template opened the block, the model only closes it


def held_suffix(text: str, markers: Iterable[str]) -> int:
    """Length of the longest end of `text` that is a proper beginning of one of the markers."""
    longest = 0
    for marker in markers:
        for size in range(min(len(marker) - 1, len(text)), longest, -1):
            if text.endswith(marker[:size]):
                longest = size
                break
    return longest


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

    def feed(self, text: str) -> list[tuple[bool, str]]:
        """Pieces in order: (is reasoning, text)."""
        if self._mode is _Mode.ANSWER and not self._held and ("<" not in text or not self._bare_possible):
            self._line_start = text.endswith("\n") if text else self._line_start
            return [(False, text)]
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
        if not begun or any(tag.startswith(begun) for tag in possible):
            self._held = text
            return (False, ""), None
        self._mode, self._line_start = _Mode.ANSWER, True
        return (False, ""), text

    def _reasoning(self, text: str) -> tuple[tuple[bool, str], str | None]:
        at = text.find(self._closing)
        if at >= 0:
            self._mode = _Mode.START
            return (True, text[:at]), text[at + len(self._closing) :]
        keep = held_suffix(text, (self._closing,))
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
        keep = held_suffix(text, ("\n" + _BARE_CLOSING,))
        if keep > 1:  # a line break alone need not wait: the next piece knows that a line begins
            self._held = text[len(text) - keep + 1 :]
            text = text[: len(text) - keep + 1]
        return self._passed(text), None

    def _passed(self, text: str) -> tuple[bool, str]:
        if text:
            self._line_start = text.endswith("\n")
        return (False, text)


class TokenFilter:
    """Takes special tokens out of text, but not out of code: what the user asked to see stays."""

    def __init__(self, tokens: Iterable[str] = SPECIAL_TOKENS) -> None:
        self._tokens = tuple(sorted(set(tokens), key=len, reverse=True))
        self._starts = tuple({token[0] for token in self._tokens})
        self._marks = re.compile("|".join([*map(re.escape, self._tokens), "`+", "\n"]))
        self._held = ""
        self._fence = 0  # length of the run of backticks that opened the code we are in; 0 outside

    def feed(self, text: str) -> str:
        if not self._held and not self._fence and "`" not in text and not any(c in text for c in self._starts):
            return text
        text = self._held + text
        keep = held_suffix(text, self._tokens)
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
        for match in self._marks.finditer(text):
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
