"""What is kept of a text that somebody else wrote: its first sentence, and what it lists.

Every function is linear in its text, and keeps its own result as it is.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

TOOL_CHARS = 120
PARAMETER_CHARS = 60
_SCANNED_CHARS = 2000  # a first sentence begins well before this
_MARKS = re.compile(r"(?:(?:[-*•>]|#{1,6}|\d{1,3}[.)])\s+)+")  # of a list, a quotation or a heading
_SENTENCE_END = re.compile(r"(?<!\be\.g)(?<!\bi\.e)(?<!\bvs)(?<!\betc)(?<!\bcf)[.!?](?=\s)|[\u3002\uff01\uff1f]")
# Agents that come with the client need no more than their name.
_BUILT_IN_AGENTS = frozenset(
    {"general-purpose", "Explore", "Plan", "statusline-setup", "output-style-setup", "claude-code-guide", "claude"}
)


def first_sentence(text: str, limit: int) -> str:
    """The first sentence on one line, without marks of lists and headings, cut behind a word at `limit` characters."""
    line = " ".join(_first_paragraph(text[:_SCANNED_CHARS]).split())
    line = _MARKS.sub("", line, count=1) if _MARKS.match(line) else line
    end = _SENTENCE_END.search(line)
    sentence = line[: end.end()] if end else line
    if len(sentence) <= limit:
        return sentence
    cut = sentence[: limit + 1].rpartition(" ")[0] or sentence[:limit]
    return cut.rstrip(" ,;:(-")


def _first_paragraph(text: str) -> str:
    """The first lines that belong together; headings are passed over where anything else follows."""
    paragraph: list[str] = []
    heading = ""
    for line in text.splitlines():
        line = line.strip()
        if not line or (paragraph and _MARKS.match(line)):
            if paragraph:
                break
        elif line.startswith("#") and not paragraph:
            heading = heading or line
        else:
            paragraph.append(line)
    return " ".join(paragraph) or heading


def listed(text: str) -> str:
    """The agents, skills and slash commands a description enumerates: built-in ones by name, the user's with a word.

    "" where it enumerates nothing. Newer releases list them in the conversation instead.
    """
    entries = [
        name if name in _BUILT_IN_AGENTS else f"{name}: {first_sentence(about, PARAMETER_CHARS).rstrip('.')}"
        for name, about in (*_bulleted(text), *_tagged(text))
    ]
    return f" Known: {'; '.join(entries)}." if entries else ""


def _bulleted(text: str) -> Iterator[tuple[str, str]]:
    """`- NAME: about (Tools: ...)` for an agent, `- /NAME: about` for a command."""
    for chunk in f"\n{text}".split("\n- ")[1:]:
        name, colon, about = chunk.partition(":")
        about, of_agent, _ = about.partition("(Tools:")
        if colon and name and not any(map(str.isspace, name)) and (of_agent or name.startswith("/")):
            yield name, about


def _tagged(text: str) -> Iterator[tuple[str, str]]:
    """`<name>NAME</name><description>about</description>` for a skill."""
    for chunk in text.split("<name>")[1:]:
        name, closed, rest = chunk.partition("</name>")
        about = rest.partition("<description>")[2].partition("</description>")[0]
        if closed and about and len(name.split()) == 1:
            yield name.strip(), about
