"""A request's body as text, cut where conversations repeat themselves, and joined again. Pure."""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import NamedTuple

SECTIONS = {"system": "s", "tools": "t", "messages": "m"}
HERE = "="
_SCAN = json.JSONDecoder(strict=False).raw_decode
_SPACE = re.compile(r"[ \t\n\r]*")


class Part(NamedTuple):
    """A piece of the body: `kind` is a letter of `SECTIONS`, or `HERE` for the text between them."""

    kind: str
    text: str


def cut(body: str) -> list[Part]:
    """The parts of `body`; joined (`joined`) they are `body`. One part where it is no JSON object."""
    try:
        spans = list(_spans(body))
    except (ValueError, IndexError, RecursionError):
        return [Part(HERE, body)]
    parts: list[Part] = []
    done = 0
    for kind, start, end in spans:
        between = body[done:start]
        if not (between == "," and parts and parts[-1].kind == kind):
            parts.append(Part(HERE, between))
        parts.append(Part(kind, body[start:end]))
        done = end
    return [*parts, Part(HERE, body[done:])]


def blob_id(text: str) -> str:
    """The address of a text."""
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def joined(segments: Sequence[str], blobs: Mapping[str, str]) -> str:
    """The body that `segments` spell. Raises KeyError with the id of a blob that is not there."""
    out: list[str] = []
    before = ""
    for segment in segments:
        kind, rest = segment[:1], segment[1:]
        if kind == HERE:
            out.append(rest)
        else:
            out += [",", blobs[rest]] if kind == before else [blobs[rest]]
        before = kind
    return "".join(out)


def head(segments: Sequence[str]) -> str:
    """The body with its sections empty: JSON, as long as the client put nothing but commas between elements."""
    return "".join(segment[1:] for segment in segments if segment[:1] == HERE)


def ids_of(segments: Sequence[str], section: str) -> list[str]:
    """The ids of the blobs of one section, in order."""
    letter = SECTIONS[section]
    return [segment[1:] for segment in segments if segment[0] == letter]


def stored(parts: Sequence[Part], keep: Callable[[str], str]) -> list[str]:
    """The parts as `segments`; `keep` takes a blob's text and gives its id."""
    return [HERE + text if kind == HERE else kind + keep(text) for kind, text in parts]


def _spans(body: str) -> Iterator[tuple[str, int, int]]:
    """(letter, start, end) of every element of the three lists, in the order of the text."""
    place = _past(body, 0, "{")
    while body[place] != "}":
        name, place = _SCAN(body, place)
        place = _past(body, place, ":")
        if name in SECTIONS and body[place] == "[":
            place = _past(body, place, "[")
            while body[place] != "]":
                _, end = _SCAN(body, place)
                yield SECTIONS[name], place, end
                place = _spaced(body, end)
                if body[place] == ",":
                    place = _past(body, place, ",")
            place += 1
        else:
            _, place = _SCAN(body, place)
        place = _spaced(body, place)
        if body[place] == ",":
            place = _past(body, place, ",")
    if body[place + 1 :].strip():
        raise ValueError("text behind the object")


def _spaced(body: str, place: int) -> int:
    match = _SPACE.match(body, place)
    return match.end() if match else place


def _past(body: str, place: int, character: str) -> int:
    """The place of the next thing after `character`, which must come now."""
    place = _spaced(body, place)
    if body[place] != character:
        raise ValueError(f"no {character!r} at {place}")
    return _spaced(body, place + 1)
