"""System messages in the middle of a conversation: what they list is told in fewer words.

Such a message is part of the history, so it is a function of its own text and the tier, whatever stands around it. It
says where the session is, which tools can be searched for, which agents and skills there are: every line that names
one stays. From `aggressive` on, the description of an agent or a skill is its first sentence.
"""

from __future__ import annotations

import re

from anyclaude_lab.prompt.tiers.outline import Unit, outline
from anyclaude_lab.prompt.tiers.table import AGGRESSIVE, EXTREME, LISTS, TIERS

_DESCRIPTION_CHARACTERS = {AGGRESSIVE: 200, EXTREME: 100}
_NAMED = re.compile(r"(?P<name>[ \t]*[-*] \S{1,100}?(?: \S{1,40}?){0,3}?: )(?P<text>.*)", re.DOTALL)
_SENTENCE_END = re.compile(r"(?<!e\.g)(?<!i\.e)[.!?](?=\s+[^\sa-z]|\s*\Z)")
_TOOLS = re.compile(r" \(Tools: [^()]*\)\s*\Z")


def shorten_notice(text: str, tier: str) -> str:
    """The text of one system message at a tier."""
    limit = _DESCRIPTION_CHARACTERS.get(TIERS.index(tier))
    if limit is None:
        return text
    source = outline(text)
    parts: list[str] = []
    listing = False
    for unit in source.units:
        listing = (listing and unit.item) or _announces(unit)
        parts += [unit.gap, _shortened(unit.text, limit) if listing and unit.item else unit.text]
    return "".join([*parts, source.tail])


def _announces(unit: Unit) -> bool:
    folded = unit.text.casefold().rstrip()
    return not unit.item and folded.endswith(":") and any(sign in folded for sign in LISTS)


def _shortened(item: str, limit: int) -> str:
    """`- name: first sentence (Tools: ...)`; the item itself where that is no shorter."""
    named = _NAMED.fullmatch(item)
    if named is None:
        return item
    tools = _TOOLS.search(named["text"])
    description = named["text"][: tools.start()] if tools else named["text"]
    end = _SENTENCE_END.search(description)
    sentence = description[: end.end()] if end else description
    if len(sentence) > limit:
        sentence = sentence[: limit - 1].rsplit(None, 1)[0].rstrip(",;:. ") + "…"
    shorter = named["name"] + sentence + (tools[0].rstrip() if tools else "")
    return shorter if len(shorter) < len(item) else item
