"""How many tokens a text has: by the model's own tokenizer, or guessed from characters and corrected by experience.

Every counter says by which method it counts and whether its numbers are exact; whoever decides something by an
inexact number rounds it up.
"""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from itertools import pairwise
from typing import TYPE_CHECKING, Protocol

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.render.counted import Counted, Mark

if TYPE_CHECKING:
    from tiktoken import Encoding
    from tokenizers import AddedToken, Tokenizer

CHARACTERS_PER_TOKEN = 3.5
_MEMO_ENTRIES = 4096  # of 16 bytes and a number each
_NUMBERED = re.compile(r"\d+\W*\Z")  # <unused7>, <|reserved_special_token_7|>: no template writes those


class TokenCounter(Protocol):
    """Counts the tokens of a text that is already rendered: no token is added at its start."""

    @property
    def method(self) -> str:
        """How it counts, for people."""
        ...

    @property
    def exact(self) -> bool:
        """True if the model itself would count the same."""
        ...

    def count(self, text: str) -> int:
        """Tokens of `text`."""
        ...

    def count_pieces(self, pieces: list[str]) -> int:
        """Tokens of the text that the pieces make together. The last one may well be another when the text goes on."""
        ...


class Characters:
    """The guess without any knowledge of the model."""

    method = "characters"
    exact = False

    def count(self, text: str) -> int:
        """Characters by `CHARACTERS_PER_TOKEN`, rounded up."""
        return math.ceil(len(text) / CHARACTERS_PER_TOKEN)

    def count_pieces(self, pieces: list[str]) -> int:
        """As `count`."""
        return math.ceil(sum(map(len, pieces)) / CHARACTERS_PER_TOKEN)


_CHARACTERS = Characters()


def characters() -> TokenCounter:
    """A counter that knows only characters."""
    return _CHARACTERS


class TokenizerCounter:
    """The model's own tokenizer. Counting a conversation again costs only what was added to it.

    A tokenizer treats the text between two of its special tokens on its own, so the text is counted from special token
    to special token, and each part once: the counts are remembered by a hash of the part. A text that begins as an
    earlier one did is counted from the last special token of what they share.
    """

    method = "tokenizer"
    exact = True

    def __init__(self, tokenizer: Tokenizer) -> None:
        tokenizer.no_truncation()
        tokenizer.no_padding()
        self._encode_length: Callable[[str], int] = lambda text: len(tokenizer.encode(text, add_special_tokens=False))
        self._starts = piece_starts(tokenizer)
        self._count_piece = _Remembered(self._encode_length)
        self._counted = Counted()

    def count(self, text: str) -> int:
        """Tokens of `text`; special tokens in it count as what they are."""
        if self._starts is None:
            return self._count_piece(text)
        *known, new = self._counted.divided(text)
        end = max((found.end() for found in self._starts.finditer(new)), default=0)
        return self.count_pieces([*known, new[:end], new[end:]])

    def count_pieces(self, pieces: list[str]) -> int:
        """As `count`, of the pieces joined."""
        if self._starts is None:
            return self._count_piece("".join(pieces))
        *settled, open_end = pieces
        known = self._counted.beginning(settled)
        rest = known.rest + "".join(settled[known.pieces :])
        starts = [found.start() for found in self._starts.finditer(rest) if found.start()]
        if not starts:
            return known.tokens + self._count_piece(rest + open_end)
        if known.pieces:
            tokens = known.tokens + self._encode_length(rest[: starts[-1]])
        else:  # of a text that is new, every part may stand in others as well
            tokens = sum(self._count_piece(rest[begin:end]) for begin, end in pairwise([0, *starts]))
        rest = rest[starts[-1] :]
        self._counted.note(settled, known, Mark(len(settled), tokens, rest))
        return tokens + self._count_piece(rest + open_end)


class _Remembered:
    """A way to count, asked once for each text."""

    def __init__(self, count: Callable[[str], int]) -> None:
        self._count = count
        self._memo: dict[bytes, int] = {}  # the least recently used first

    def __call__(self, text: str) -> int:
        key = hashlib.blake2b(text.encode("utf-8", "replace"), digest_size=16).digest()
        tokens = self._memo.pop(key, None)
        if tokens is None:
            tokens = self._count(text)
            if len(self._memo) >= _MEMO_ENTRIES:
                self._memo.pop(next(iter(self._memo)), None)
        self._memo[key] = tokens
        return tokens


class VocabularyCounter:
    """A vocabulary of tiktoken's: near what a model counts that nobody here knows, and nearer than characters."""

    exact = False

    def __init__(self, encoding: Encoding) -> None:
        self.method = f"tiktoken {encoding.name}"
        self.count = _Remembered(lambda text: len(encoding.encode_ordinary(text)))

    def count_pieces(self, pieces: list[str]) -> int:
        """As `count`, of the pieces joined."""
        return self.count("".join(pieces))


def from_tokenizer_json(data: bytes) -> TokenCounter:
    """The counter of a model from the bytes of its tokenizer.json. Raises `SettingsError` if they are none."""
    from tokenizers import Tokenizer

    try:
        tokenizer = Tokenizer.from_buffer(data)
    except ValueError as error:
        raise SettingsError(f"This is no tokenizer.json that can be read: {error}") from None
    return TokenizerCounter(tokenizer)


@dataclass(frozen=True, slots=True)
class Ratio:
    """Reported tokens per counted token of one model, and from how many replies it was learned."""

    value: float
    replies: int


_WEIGHT_OF_NEWEST = 0.3
_LEAST_TOKENS = 200  # a smaller prompt is mostly template, and teaches nothing
_CREDIBLE = (0.2, 5.0)  # outside, the backend reports something else than the prompt


@dataclass(frozen=True, slots=True)
class Calibration:
    """What the backends' reports taught, by model. A plain value: `learned` gives a new one, `ratios` can be stored."""

    ratios: dict[str, Ratio] = field(default_factory=dict)

    def learned(self, model: str, *, counted_tokens: int, reported_tokens: int | None) -> Calibration:
        """With one more report taken in; unchanged where it is missing, too small or not credible."""
        if reported_tokens is None or min(counted_tokens, reported_tokens) < _LEAST_TOKENS:
            return self
        newest = reported_tokens / counted_tokens
        if not _CREDIBLE[0] <= newest <= _CREDIBLE[1]:
            return self
        known = self.ratios.get(model)
        if known is not None:
            newest = known.value + _WEIGHT_OF_NEWEST * (newest - known.value)
        return Calibration(self.ratios | {model: Ratio(newest, known.replies + 1 if known else 1)})

    def corrected(self, model: str, tokens: int) -> int:
        """`tokens` as the reports say they are, rounded up; as they are where nothing was learned."""
        known = self.ratios.get(model)
        return tokens if known is None else math.ceil(tokens * known.value)


def piece_starts(tokenizer: Tokenizer) -> re.Pattern[str] | None:
    """Finds special tokens before which a text may be divided without changing its tokens."""
    added: list[AddedToken] = list(tokenizer.get_added_tokens_decoder().values())
    dividing = [
        token.content
        for token in added
        if not (token.lstrip or token.single_word or token.normalized or _NUMBERED.search(token.content))
        and not any(token.content in other.content[1:] for other in added)
    ]
    longest_first = sorted(dividing, key=len, reverse=True)
    return re.compile("|".join(map(re.escape, longest_first))) if longest_first else None
