"""What differs between two sessions leaves the system prompt for the first user turn.

Working directory, git status, date and memory folder stand in Claude Code's system prompt before all tool definitions,
so a session in another project would compute both anew. Told at the head of the first user turn instead, they leave a
head that every session of a release shares. Most templates render system text before tools, so the end of the system
text would not do.

A line is moved by what it says, wherever the release puts it: `<env>` to `</env>`, a paragraph that names the working
directory, the git status, and every line that names this session's own folders or ids.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from functools import lru_cache

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, as_blocks
from anyclaude_lab.wire.same import once

INTRODUCTION = "About this session; it belongs to your instructions:"

_WORKING_DIRECTORY = re.compile(r"\s*(?:[-*] )?(?:primary |current )?working directory: *(\S.*)", re.IGNORECASE)
_DATE = re.compile(r"\s*(?:[-*] )?(?:today's|current) date\b", re.IGNORECASE)
_STATUS = re.compile(r"git ?status: ", re.IGNORECASE)
_HEADING = re.compile(r"(#{1,3}) \S")
# A folder of the client's own below an absolute path, and the ids that name a session.
_OWN_FOLDER = re.compile(r"(?<![\w~.$}])(?:/|[A-Za-z]:\\)(?:[^\s`'\"/\\]+[/\\])+\.claude[/\\]")
_SESSION_ID = re.compile(r"\b[0-9a-fA-F]{8}-(?:[0-9a-fA-F]{4}-){3}[0-9a-fA-F]{12}\b")
_LEAST_PATH = 4  # characters: a shorter working directory ("/", "C:\") stands in many a line that is not about it


def stabilise(request: Request) -> Request:
    """The request with its volatile text in a reminder before everything else the user says.

    The same object where there is none, where it is all there is, or where no user speaks.
    """
    kept, pieces = _parted(request.system, working_directory(request))
    first = next((i for i, message in enumerate(request.messages) if message.get("role") == "user"), None)
    if not pieces or first is None or not any(block.get("text", "").strip() for block in kept):
        return request
    text = "\n\n".join([INTRODUCTION, *pieces])
    told: JsonObject = {"type": "text", "text": f"<system-reminder>\n{text}\n</system-reminder>"}
    messages = request.messages
    messages[first] = {**messages[first], "content": [told, *as_blocks(messages[first].get("content"))]}
    return request.with_(system=kept, messages=messages)


@once
def _parted(system: list[JsonObject], directory: str | None) -> tuple[list[JsonObject], list[str]]:
    """The blocks with what stays, and the pieces that move."""
    parts = [_split(str(block.get("text") or ""), directory) for block in system]
    kept = [
        {**block, "text": text} if moved else block
        for block, (text, moved) in zip(system, parts, strict=True)
        if text or not moved
    ]
    return kept, [piece for _, moved in parts for piece in moved]


def working_directory(request: Request) -> str | None:
    """The project's folder as the system prompt names it; None where it does not."""
    for block in request.system:
        if found := _directory_in(str(block.get("text") or "")):
            return found
    return None


@lru_cache(maxsize=256)
def _directory_in(text: str) -> str | None:
    matches = (_WORKING_DIRECTORY.fullmatch(line) for line in text.split("\n"))
    return next((match[1].strip() for match in matches if match), None)


@lru_cache(maxsize=256)  # one system prompt comes with every request of a session
def _split(text: str, directory: str | None) -> tuple[str, tuple[str, ...]]:
    """What stays, and the pieces that move, in order."""
    lines = text.split("\n")
    volatile = _volatile(lines, directory)
    if not any(volatile):
        return text, ()
    kept = [line for line, moves in zip(lines, volatile, strict=True) if not moves]
    return _without_gaps(kept), tuple(_pieces(lines, volatile))


def _volatile(lines: Sequence[str], directory: str | None) -> list[bool]:
    """Which lines move. One pass: what stands in an open span is known from the lines above it."""
    marks: list[bool] = []
    last_closing = max((i for i, line in enumerate(lines) if line.strip() == "</env>"), default=-1)
    in_env = in_status = in_paragraph = False
    for i, line in enumerate(lines):
        if line.strip() == "<env>" and i < last_closing:
            in_env = True
            if i and lines[i - 1].endswith(":"):
                marks[-1] = True  # the line that introduces it
        in_status = (in_status and not _HEADING.match(line)) or bool(_STATUS.match(line))
        in_paragraph = in_paragraph and bool(line.strip())
        if not (in_env or in_paragraph) and _WORKING_DIRECTORY.fullmatch(line):
            in_paragraph = True
            _mark_back(lines, marks)
        marks.append(in_env or in_status or in_paragraph or _is_own(line, directory))
        in_env = in_env and line.strip() != "</env>"
    _mark_emptied(lines, marks)
    return marks


def _mark_emptied(lines: Sequence[str], marks: list[bool]) -> None:
    """Headings with nothing left below them move too."""
    moved = stays = False  # what the lines below do, up to the next heading that stays
    level_below = 0  # of that heading; a deeper one belongs to the section above it
    for i in range(len(lines) - 1, -1, -1):
        if marks[i]:
            moved = True
        elif heading := _HEADING.match(lines[i]):
            level = len(heading[1])
            if moved and not stays and level_below <= level:
                marks[i] = True
            else:
                moved, stays, level_below = False, False, level
        elif lines[i].strip():
            stays = True


def _is_own(line: str, directory: str | None) -> bool:
    if directory is not None and len(directory) >= _LEAST_PATH and directory in line:
        return True
    return bool(_DATE.match(line) or _OWN_FOLDER.search(line) or _SESSION_ID.search(line))


def _mark_back(lines: Sequence[str], marks: list[bool]) -> None:
    """The lines above, up to a blank one."""
    i = len(marks) - 1
    while i >= 0 and lines[i].strip():
        marks[i] = True
        i -= 1


def _pieces(lines: Sequence[str], volatile: Sequence[bool]) -> Iterator[str]:
    """Runs of lines that move, without blank edges."""
    run: list[str] = []
    for line, moves in zip([*lines, ""], [*volatile, False], strict=True):
        if moves:
            run.append(line)
        elif run and (piece := "\n".join(run).strip("\n")):
            yield piece
            run = []


def _without_gaps(lines: Sequence[str]) -> str:
    """One blank line where the moved text left several."""
    kept: list[str] = []
    for line in lines:
        if line.strip() or (kept and kept[-1].strip()):
            kept.append(line)
    return "\n".join(kept).rstrip("\n")
