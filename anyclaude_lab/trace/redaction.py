"""What must not be written to disk, found by its shape and replaced by placeholders of the same length. Pure.

A placeholder is `**`, some letters, `*` to the end: equal for equal secrets under one key, never a secret's shape
itself, and harmless inside JSON. Names of home folders become `~~~`, so that paths stay absolute and keep their length.
Shapes: the vendors' documented key formats, and RFC 7468 for private keys.
"""

from __future__ import annotations

import hmac
import json
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import NamedTuple

_ROUNDS = 8  # a replacement can lay a boundary bare that another shape needs; two rounds are usual
_LETTERS = 8


class Shape(NamedTuple):
    """One spelling of a secret. Its only group is what is replaced; text without `anchor` is not searched."""

    anchor: str
    source: str

    @property
    def pattern(self) -> re.Pattern[str]:
        """Compiled on first use: most anchors are never met, and all of them would take a start's time."""
        return _compiled(self.source)


@cache
def _compiled(source: str) -> re.Pattern[str]:
    return re.compile(source)


# Texts are searched as they stand, so a line end may be spelled `\n`, and a quote `\"` or `\\\"`.
START = r"(?:(?<![A-Za-z0-9])|(?<=\\[nrt]))"
_STARTED = r"(?:(?<![A-Za-z0-9]sk-)|(?<=\\[nrt]sk-))"  # the same, looking back over `sk-`
_GIVEN_TO = r"""\\{0,6}["']?\s{0,4}[:=]\s{0,4}\\{0,6}["']?"""
_VALUE = r"[A-Za-z0-9_\-/+=~@%!#^&*$]"
_CODE = r"(?!\$|\*\*|[A-Za-z0-9_]{0,80}[(\[])"  # a variable, a placeholder, a call: no value
_NUMBERED_LINES = r"(?>[A-Za-z0-9+/=\s:,→]|\\+(?:[nrt]|u2192))+"  # base64, as a file or with the numbers of its lines


def _shapes(anchors: str, pattern: str) -> list[Shape]:
    """A row for each anchor, which stands where the pattern says `ANCHOR`: a literal at its head is found fast."""
    return [Shape(anchor, pattern.replace("ANCHOR", re.escape(anchor))) for anchor in anchors.split()]


_NAMES = " ".join(
    spelled
    for name in ("key", "token", "secret", "password", "passwd", "passphrase")
    for spelled in (name, name.capitalize(), name.upper())
)
SHAPES = (
    *_shapes(
        "-----BEGIN",
        r"ANCHOR [A-Z ]{0,30}PRIVATE KEY(?: BLOCK)?-----(?!\*\*)"
        rf'((?>[^"-]|-(?!----))+(?=-----END )|{_NUMBERED_LINES})',
    ),
    *_shapes("sk-ant- sk-or- sk-proj- sk-svcacct- sk-lf-", r"(ANCHOR[A-Za-z0-9_-]{12,})"),
    *_shapes("sk-", rf"(ANCHOR{_STARTED}(?=[A-Za-z0-9_-]{{0,80}}\d)[A-Za-z0-9_-]{{16,}})"),
    *_shapes("ghp_ gho_ ghu_ ghs_ ghr_ github_pat_ sk_live_ rk_live_ npm_ hf_", r"(ANCHOR[A-Za-z0-9_]{20,})"),
    *_shapes("glpat- tvly- xoxb- xoxp- xoxa- xoxs- ya29.", r"(ANCHOR[A-Za-z0-9_-]{10,})"),
    *_shapes("AIza", r"(ANCHOR[A-Za-z0-9_-]{30,})"),
    *_shapes("AKIA ASIA", r"(ANCHOR[A-Z0-9]{16})"),
    *_shapes("eyJ", r"(ANCHOR[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{8,}(?:\.[A-Za-z0-9_-]*)?)"),
    *_shapes("Bearer bearer", r"ANCHOR(?:\s|\\+[nrt]|%20){1,4}([A-Za-z0-9._~+/=-]{12,})"),
    *_shapes("uthorization", rf"ANCHOR{_GIVEN_TO}[Bb]asic\s{{1,4}}([A-Za-z0-9+/=]{{8,}})"),
    *_shapes("://", r"ANCHOR[A-Za-z0-9._%+-]{0,64}:(?!\*\*)([^\s/:@\"\\]{3,200})@"),
    *_shapes(
        _NAMES,
        rf"ANCHOR{_GIVEN_TO}{_CODE}(?={_VALUE}{{0,64}}[A-Za-z])(?={_VALUE}{{0,64}}\d|{_VALUE}{{20}})"
        rf"({_VALUE}{{8,}}(?:\.{_VALUE}+)*)",
    ),
    *_shapes("user_", r"ANCHOR([0-9a-f]{16,})_account_"),
    *_shapes("_account_", r"ANCHOR([0-9a-f][0-9a-f-]{7,})"),
    *_shapes("device_id account_uuid organization_uuid", rf"ANCHOR{_GIVEN_TO}([A-Za-z0-9_-]{{4,}})"),
    *_shapes("mail", r"ANCHOR address is ([A-Za-z0-9._%+-]+@[A-Za-z0-9.-]+)"),
)
_HOME = re.compile(r"""(?:/home/|/Users/|[A-Za-z]:\\{1,4}Users\\{1,4})([^/\\\s"'`<>|:;,()\[\]{}*~$]+)""")
_HOME_ANCHORS = ("/home/", "/Users/", "\\Users\\")

# What stands between the texts of a stream again and again. It holds no anchor, and no anchor holds a quote: a text has
# the same anchors with a quote in the place of each.
ENVELOPES = (
    '"}}\n\nevent: content_block_delta\ndata: {"type":"content_block_delta","',
    '"delta":{"type":"text_delta","text":"',
)

_DELTA = re.compile(r'^data:[^\r\n]*?"content_block_delta"[^\r\n]*', re.MULTILINE)
_INDEX = re.compile(r'"index"\s*:\s*(\d+)')
_PIECE = re.compile(r'"(?:text|partial_json|thinking)"\s*:\s*"([^"\\]*(?:\\.[^"\\]*)*)"')
_UNIT = re.compile(r"\\u[0-9a-fA-F]{4}|\\.|[^\\]", re.DOTALL)  # one character as JSON spells it


@dataclass(frozen=True, slots=True)
class Redaction:
    """Rules with one key. `known` are secrets without a shape of their own, `home` the path of the home folder.

    Length is kept in characters, and redacting twice changes nothing more.
    """

    key: bytes = field(repr=False)
    known: tuple[str, ...] = field(default=(), repr=False)
    home: str | None = None

    def text(self, text: str) -> str:
        """`text`, which may be JSON, without secrets."""
        for _ in range(_ROUNDS):
            clean = self._once(text)
            if clean == text:
                break
            text = clean
        return text

    def stream(self, text: str) -> str:
        """A reply's event stream, or any other body: also what only the pieces of a block joined give away."""
        for _ in range(_ROUNDS):
            clean = self.text(self._joined(text))
            if clean == text:
                break
            text = clean
        return text

    def _once(self, text: str) -> str:
        for secret in self.known:
            if secret in text:
                text = text.replace(secret, self._placeholder(secret))
        searched = text
        for envelope in ENVELOPES:
            searched = searched.replace(envelope, '"')
        for shape in SHAPES:
            if shape.anchor in searched:
                text = shape.pattern.sub(self._replaced, text)
        if any(anchor in text for anchor in _HOME_ANCHORS):
            text = _HOME.sub(_unnamed, text)
        for spelling in _spellings(self.home):
            if spelling in text:
                hidden = re.sub(r"[^/\\-]+\Z", lambda name: "~" * len(name[0]), spelling)
                text = re.sub(rf"{START}{re.escape(spelling)}(?![A-Za-z0-9_])", hidden.replace("\\", r"\\"), text)
        return text

    def _joined(self, text: str) -> str:
        """Redact every content block over all its deltas, which keep their places and lengths."""
        blocks: dict[str, list[tuple[int, str]]] = {}
        for frame in _DELTA.finditer(text):
            index, piece = _INDEX.search(frame[0]), _PIECE.search(frame[0])
            if index and piece:
                blocks.setdefault(index[1], []).append((frame.start() + piece.start(1), piece[1]))
        edits = [edit for pieces in blocks.values() for edit in self._edits(pieces)]
        out, done = [], 0
        for start, spelled in sorted(edits):
            out += [text[done:start], spelled]
            done = start + len(spelled)
        return "".join([*out, text[done:]])

    def _edits(self, pieces: Sequence[tuple[int, str]]) -> Iterator[tuple[int, str]]:
        said = "".join([_spoken(raw) for _, raw in pieces])
        if self.text(said) == said:
            return  # nearly always: nothing to be placed
        places = [(start + unit.start(), unit[0]) for start, raw in pieces for unit in _UNIT.finditer(raw)]
        said = "".join([unit if len(unit) == 1 else _spoken(unit) for _, unit in places])
        clean = self.text(said)
        if clean != said:
            for (start, unit), before, after in zip(places, said, clean, strict=True):
                if before != after:
                    yield start, after * len(unit)

    def _replaced(self, match: re.Match[str]) -> str:
        start, end = match.start(1) - match.start(), match.end(1) - match.start()
        return match[0][:start] + self._placeholder(match[1]) + match[0][end:]

    def _placeholder(self, secret: str) -> str:
        # Line ends do not count: a key block is the same in a file, in JSON, and in JSON inside JSON.
        bare = re.sub(r"\\+[nrt]|\s", "", secret).encode("utf-8", "surrogatepass")
        letters = "".join(chr(ord("a") + byte % 16) for byte in hmac.digest(self.key, bare, "sha256")[:_LETTERS])
        return ("**" + letters[: max(0, len(secret) - 4)]).ljust(len(secret), "*")[: len(secret)]


def _spoken(raw: str) -> str:
    """What the inside of a JSON string says."""
    if "\\" not in raw:
        return raw
    try:
        return str(json.loads(f'"{raw}"', strict=False))
    except ValueError:
        return "\ufffd" * len(_UNIT.findall(raw))


def _unnamed(match: re.Match[str]) -> str:
    return match[0][: match.start(1) - match.start()] + "~" * len(match[1])


def _spellings(home: str | None) -> list[str]:
    """The home folder as paths, as JSON strings inside JSON strings, and as a folder name of the client spell it."""
    if home is None or len(home) < 4:
        return []
    return list(
        dict.fromkeys(
            [home, home.replace("\\", "\\\\"), home.replace("\\", "\\\\\\\\"), re.sub(r"[^A-Za-z0-9]", "-", home)]
        )
    )
