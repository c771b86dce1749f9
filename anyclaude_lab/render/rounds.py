"""Rounds of a chat template's loops that are remembered: a round with equal values of all that it reads gives its text
again, and leaves the namespaces around the loop as it left them then.

Which loops these are, and what they read, `loops.py` tells from the template's code.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable
from typing import Any

from jinja2.runtime import LoopContext, Undefined
from jinja2.utils import Namespace

from anyclaude_lab.wire.recent import Recent, told

KEPT_BYTES = 16 * 1024 * 1024  # of rendered messages and of what they were rendered from
LARGEST_SURROUNDINGS = 1024 * 1024  # bytes, of the variables around a loop; more of it is a history, not a setting

_Key = tuple[bytes, ...]
_Round = tuple[str, tuple[dict[str, Any], ...]]  # its text, and what it left in each namespace
_ATTRIBUTES = "_Namespace__attrs"  # where Jinja keeps those of a namespace; a template cannot name it


class Pieces(list[str]):
    """The text of a loop, a string a round; of a round that was rendered before, the very string of that time."""


class Rounds:
    """What the rounds of a template's loops came to. Threads may mix."""

    def __init__(self) -> None:
        self._loops: list[tuple[tuple[str, ...], tuple[int, ...]]] = []
        self._kept: Recent[_Key, _Round] = Recent(KEPT_BYTES)

    def add(self, of_loop: tuple[str, ...], offsets: tuple[int, ...]) -> int:
        """The number of a loop whose body reads these attributes of `loop`, and `messages[loop.index0 + offset]`."""
        self._loops.append((of_loop, offsets))
        return len(self._loops) - 1

    def __call__(
        self, number: int, items: Any, variables: list[Any], messages: Any, caller: Callable[[Any, Any], str]
    ) -> Pieces:
        """The loop over `items`. `caller` renders a round; `variables` are all that it reads from around the loop."""
        of_loop, offsets = self._loops[number]
        spaces = [variable for variable in variables if isinstance(variable, Namespace)]
        states: list[dict[str, Any]] = [getattr(space, _ATTRIBUTES) for space in spaces]
        head = _head(number, variables, spaces)
        values = _Values()
        pieces = Pieces()
        for item, loop in LoopContext(items, Undefined):
            key: _Key | None = None
            if head is not None:
                try:
                    around = told(([_known(getattr(loop, name)) for name in of_loop], states))
                    near = [values.of(_at(messages, loop.index0 + offset)) for offset in offsets]
                    key = (head, around, values.of(item), *near)
                except ValueError:  # holds what is more than data
                    pass
            pieces.append(self._round(key, states, item, loop, caller))
        return pieces

    def _round(
        self, key: _Key | None, states: list[dict[str, Any]], item: Any, loop: Any, caller: Callable[[Any, Any], str]
    ) -> str:
        found = self._kept.get(key) if key is not None else None
        if found is None:
            text = caller(item, loop)
            if key is not None:
                self._keep(key, text, states)
            return text
        text, left = found
        for state, then in zip(states, left, strict=True):
            state.update(then)  # a template adds to a namespace and overwrites, it takes nothing away
        return text

    def _keep(self, key: _Key, text: str, states: list[dict[str, Any]]) -> None:
        try:
            told(states)
        except ValueError:
            return  # it left more than data, which the next round may use up
        size_bytes = sum(map(sys.getsizeof, key)) + sys.getsizeof(text)
        self._kept.put(key, (text, tuple(map(dict, states))), size_bytes)


class _Values:
    """Values of one rendering as bytes, each told once."""

    def __init__(self) -> None:
        self._told: dict[int, tuple[Any, bytes]] = {}

    def of(self, value: Any) -> bytes:
        """Raises ValueError for what is no plain data."""
        found = self._told.get(id(value))
        if found is None:  # the value is held, so that its id is nobody else's
            found = self._told[id(value)] = value, told(_known(value))
        return found[1]


def _head(number: int, variables: list[Any], spaces: list[Namespace]) -> bytes | None:
    """What is the same for all rounds of a rendering; None where it is more than data, or too much of it."""
    identities = [id(space) for space in spaces]
    values = [(n, _known(value)) for n, value in enumerate(variables) if not isinstance(value, Namespace)]
    try:
        surroundings = told((number, values, [identities.index(each) for each in identities]))
    except ValueError:
        return None
    return hashlib.blake2b(surroundings).digest() if len(surroundings) <= LARGEST_SURROUNDINGS else None


def _known(value: Any) -> Any:
    return Ellipsis if isinstance(value, Undefined) else value


def _at(messages: Any, index: int) -> Any:
    """As Jinja reads an item of a list."""
    if type(messages) is not list:
        raise ValueError
    try:
        return messages[index]
    except IndexError:
        return Ellipsis
