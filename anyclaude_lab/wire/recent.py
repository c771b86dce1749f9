"""A mapping of what was made lately, bounded by its size."""

from __future__ import annotations

import marshal
from collections.abc import Hashable
from typing import Any, Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class Recent(Generic[K, V]):
    """What was put or asked for last stays: in two halves, the older of which goes when the newer is full.

    Threads may mix.
    """

    def __init__(self, limit_bytes: int) -> None:
        self._limit_bytes = limit_bytes
        self._late: dict[K, tuple[V, int]] = {}
        self._before: dict[K, tuple[V, int]] = {}
        self._bytes = 0  # of the late ones

    def get(self, key: K) -> V | None:
        """What was put under `key`; it is as recent now as if it had just been put."""
        found = self._late.get(key)
        if found is None:
            found = self._before.get(key)
            if found is None:
                return None
            self.put(key, *found)
        return found[0]

    def put(self, key: K, value: V, size_bytes: int) -> None:
        """`size_bytes`: of key and value. What is larger than an eighth of all is not kept."""
        if size_bytes > self._limit_bytes // 8:
            return
        _, replaced_bytes = self._late.get(key, (None, 0))
        self._late[key] = value, size_bytes
        self._bytes += size_bytes - replaced_bytes
        if self._bytes > self._limit_bytes // 2:
            self._before, self._late, self._bytes = self._late, {}, 0


def told(value: Any) -> bytes:
    """Equal for equal plain data of the same types, and for nothing else: `1` is neither `True` nor `1.0`.

    Raises ValueError for what is more than plain data. In version 2 of the format nothing is told by reference.
    """
    return marshal.dumps(value, 2)
