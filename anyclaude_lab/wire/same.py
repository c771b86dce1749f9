"""Work on a request's tools that is done once: the same definitions come with every request of a session.

`one_of` gives lists of equal content one identity, and `once` remembers what a function made of a list by that
identity. A function that changes nothing answers the list itself, so that what comes behind it finds its work done too.
Nobody edits such a list, or what is remembered of it.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from functools import wraps
from typing import Any, Concatenate, ParamSpec, TypeVar

import orjson

from anyclaude_lab.wire.events import JsonObject

KEPT = 16  # lists: a few sessions, with the agents of each
LARGEST_BYTES = 1024 * 1024  # of one that is kept

P = ParamSpec("P")
T = TypeVar("T")
Tools = list[JsonObject]

_lists: OrderedDict[bytes, Any] = OrderedDict()


def one_of(tools: Any) -> Any:
    """The list that came first with this content, to the letter; `tools` itself where that is none to keep."""
    if not isinstance(tools, list) or not tools:
        return tools
    spelled = orjson.dumps(tools)
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
