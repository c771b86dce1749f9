"""Whether two values of a tool's argument mean the same to the tool. Pure.

A path may be spelled otherwise, a command line quoted otherwise; code must be the same to the character. Prose for
people is not compared. Which argument is what stands in `COMPARATORS`, by tool and name, then by name; the rest is
compared as it stands.
"""

from __future__ import annotations

import posixpath
import shlex
from collections.abc import Callable, Mapping
from typing import Any

Comparator = Callable[[Any, Any, str | None], bool | None]


def path(reference: Any, candidate: Any, folder: str | None) -> bool | None:
    """Lexically the same path; a relative one counts from `folder` where that is known."""
    if not (isinstance(reference, str) and isinstance(candidate, str)):
        return bool(reference == candidate)
    return _normal(reference, folder) == _normal(candidate, folder)


def shell(reference: Any, candidate: Any, folder: str | None) -> bool | None:
    """The same words in the same order, however quoted and spaced; exact where it cannot be divided into words."""
    if reference == candidate or not (isinstance(reference, str) and isinstance(candidate, str)):
        return bool(reference == candidate)
    try:
        return shlex.split(reference) == shlex.split(candidate)
    except ValueError:
        return False


def exact(reference: Any, candidate: Any, folder: str | None) -> bool | None:
    """Code, text, numbers, switches: the same value. 1 and 1.0 are; True and 1 are not."""
    return bool(reference == candidate and isinstance(reference, bool) == isinstance(candidate, bool))


def prose(reference: Any, candidate: Any, folder: str | None) -> bool | None:
    """Not compared."""
    return None


COMPARATORS: Mapping[tuple[str | None, str], Comparator] = {
    (None, "file_path"): path,
    (None, "notebook_path"): path,
    (None, "path"): path,
    (None, "command"): shell,
    (None, "description"): prose,
    ("Agent", "prompt"): prose,
    ("Task", "prompt"): prose,
    ("WebFetch", "prompt"): prose,
}


def same(
    tool: str,
    name: str,
    reference: Any,
    candidate: Any,
    *,
    folder: str | None = None,
    overrides: Mapping[tuple[str | None, str], Comparator] | None = None,
) -> bool | None:
    """Whether the values agree; None where they are not to be compared."""
    table = {**COMPARATORS, **(overrides or {})}
    compare = table.get((tool, name)) or table.get((None, name)) or exact
    return compare(reference, candidate, folder)


def _normal(text: str, folder: str | None) -> str:
    text = text.replace("\\", "/")
    if folder and not text.startswith(("/", "~")):
        text = posixpath.join(folder, text)
    return posixpath.normpath(text)
