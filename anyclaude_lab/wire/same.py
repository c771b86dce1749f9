"""Work that is done once: the same tools and the same history come with every request of a session.

Of tools and of the system prompt, `one_of` gives lists of equal content one identity, and `once` remembers what a
function made of a list by that identity. A function that changes nothing answers the list itself, so that what comes
behind it finds its work done too. Of a history, `one_message` gives messages of equal content one identity, and `each`
keeps with a message what functions made of it. Nobody edits such a list or message, or what is remembered of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import orjson

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.recent import Recent, told

KEPT = 16  # lists: a few sessions, with the agents of each
LARGEST_BYTES = 1024 * 1024  # of one that is kept

HISTORY_BYTES = 16 * 1024 * 1024  # of messages that are kept: the longest history that a model reads, and some

P = ParamSpec("P")
S = TypeVar("S")
T = TypeVar("T")
Tools = list[JsonObject]

_lists: OrderedDict[bytes, Any] = OrderedDict()


class Message(dict[str, Any]):
    """A message that comes again with every request, and what was made of it."""

    __slots__ = ("made",)

    def __init__(self, message: JsonObject) -> None:
        super().__init__(message)
        self.made: dict[Callable[..., Any], Any] = {}

    def __reduce__(self) -> tuple[Any, ...]:
        return Message, (dict(self),)  # what was made of it can be made again


_messages: Recent[bytes, Message] = Recent(HISTORY_BYTES)

_NOT_YET = object()
_UNCHANGED = object()  # what held itself would have to be collected


def one_of(tools: Any) -> Any:
    """The list that came first with this content, to the letter; `tools` itself where that is none to keep."""
    if not isinstance(tools, list) or not tools:
        return tools
    try:
        spelled = orjson.dumps(tools)
    except TypeError:  # too deep, or not as JSON is read
        return tools
    if len(spelled) > LARGEST_BYTES:
        return tools
    found = _lists[spelled] = _lists.pop(spelled, tools)  # threads may mix: `lab.Proxy` has its own
    if len(_lists) > KEPT:
        _lists.popitem(last=False)
    return found


def once(function: Callable[Concatenate[Tools, P], T]) -> Callable[Concatenate[Tools, P], T]:
    """`function`, which is pure, asked once for the same list object and the same further arguments."""
    kept: OrderedDict[tuple[Any, ...], tuple[Tools, T]] = OrderedDict()

    @wraps(function)
    def remembered(tools: Tools, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if not tools:
            return function(tools, *args, **kwargs)
        key = (id(tools), *args, *kwargs.values())
        found = kept.get(key)
        if found is not None:  # it holds the list, so that its id is nobody else's
            return found[1]
        result = function(tools, *args, **kwargs)
        kept[key] = (tools, result)
        if len(kept) > KEPT:
            kept.popitem(last=False)
        return result

    return remembered


def one_message(message: Any) -> Any:
    """The message that came first with this content; `message` itself where that is none to keep."""
    if type(message) is not dict:
        return message
    try:
        content = told(message)
    except ValueError:  # not as JSON is read
        return message
    found = _messages.get(content)
    if found is None:
        found = Message(message)
        _messages.put(content, found, 2 * len(content))
    return found


def each(function: Callable[Concatenate[S, P], T]) -> Callable[Concatenate[S, P], T]:
    """`function`, which is pure, asked once for the same `Message` or `Request` and the same further arguments.

    A dict that it makes of a message is one too.
    """

    @wraps(function)
    def remembered(given: S, /, *args: P.args, **kwargs: P.kwargs) -> T:
        made: dict[Any, Any] | None = getattr(given, "made", None)
        if made is None:
            return function(given, *args, **kwargs)
        key = (function, *args, *kwargs.values()) if args or kwargs else function
        result = made.get(key, _NOT_YET)
        if result is _NOT_YET:
            answer: Any = function(given, *args, **kwargs)
            result = Message(answer) if type(answer) is dict else answer
            made[key] = _UNCHANGED if result is given else result
        return given if result is _UNCHANGED else result  # type: ignore[return-value]  # it made what it was given

    return remembered
