"""Tool names as a backend takes them, and back.

OpenAI-like servers allow 64 characters of `[A-Za-z0-9_-]`; names of MCP tools can be longer. The short name depends on
the long one alone, so it is the same in every request of a conversation, whatever other tools come and go.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache

MAX_NAME_CHARS = 64
_REFUSED = re.compile(r"[^A-Za-z0-9_-]")
_DIGEST_CHARS = 8


@dataclass(frozen=True, slots=True)
class ToolNames:
    """The names that one request offers. Build with `for_tools`."""

    limit: int = MAX_NAME_CHARS
    _client: Mapping[str, str] = field(default_factory=dict, repr=False)  # backend's spelling -> client's
    _folded: Mapping[str, str] = field(default_factory=dict, repr=False)  # lower case -> client's, where unambiguous
    verbatim: bool = False  # whether the backend takes all names of offered tools as they are

    @classmethod
    def for_tools(cls, names: Iterable[str], limit: int = MAX_NAME_CHARS) -> ToolNames:
        """The mapping for these tools; `limit` is the longest name the backend takes."""
        return _names(tuple(names), limit)

    def to_backend(self, name: str) -> str:
        """The backend's spelling of any tool's name, offered now or only named in the history."""
        return short_name(name, self.limit)

    def to_client(self, name: str) -> str:
        """The client's spelling of a name the model wrote; a name nobody offered stays as it is.

        Models get capitals wrong ("bash"): a difference in case alone is mended where only one tool can be meant.
        """
        return self._client.get(name) or self._folded.get(name.strip().casefold()) or name

    def offers(self, name: str) -> bool:
        """Whether this is the backend's spelling of an offered tool."""
        return name in self._client


@lru_cache(maxsize=64)  # the same tools come with every request of a session
def _names(names: tuple[str, ...], limit: int) -> ToolNames:
    client = {short_name(name, limit): name for name in names}
    folded: dict[str, str] = {}
    ambiguous: set[str] = set()
    for short, name in client.items():
        if folded.setdefault(short.casefold(), name) != name:
            ambiguous.add(short.casefold())
    unambiguous = {key: name for key, name in folded.items() if key not in ambiguous}
    return ToolNames(limit, client, unambiguous, all(short == name for short, name in client.items()))


@lru_cache(maxsize=4096)
def short_name(name: str, limit: int = MAX_NAME_CHARS) -> str:
    """`name` if it is legal; else its legal characters, cut, with a digest of the whole."""
    legal = _REFUSED.sub("_", name)
    if legal == name and len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode("utf-8", "surrogatepass")).hexdigest()[:_DIGEST_CHARS]
    return f"{legal[: limit - _DIGEST_CHARS - 1]}_{digest}"
