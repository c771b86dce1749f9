"""One request on its way through the generation thread."""

from __future__ import annotations

import time
from array import array
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from anyclaude_lab.engine.serve.grammar import Guide
from anyclaude_lab.engine.serve.kv import State
from anyclaude_lab.engine.serve.prefixes import Rank, Tokens
from anyclaude_lab.engine.serve.sampling import Sampling
from anyclaude_lab.errors import AnyclaudeError


@dataclass(frozen=True, slots=True)
class Prompt:
    """A rendered prompt. `head_tokens`: where system prompt and tools end; `turn_tokens`: where the last message does.

    Both are 0 where they are not known.
    """

    ids: array[int]
    head_tokens: int = 0
    turn_tokens: int = 0
    opens_reasoning: bool = False  # its last words open a block of reasoning
    forced_text: str = ""  # its last words are the beginning of the answer


@dataclass(frozen=True, slots=True)
class Progress:
    """Prompt tokens that are computed, and how many there are."""

    done: int
    total: int


@dataclass(frozen=True, slots=True)
class Text:
    """A piece of the answer."""

    text: str


@dataclass(frozen=True, slots=True)
class Finish:
    """The end of an answer. `reason`: stop or length; `stop`: the stop string that ended it."""

    reason: str
    stop: str | None
    prompt_tokens: int
    cached_tokens: int
    output_tokens: int


@dataclass(frozen=True, slots=True)
class Failure:
    """The end without an answer."""

    error: AnyclaudeError


Told = Progress | Text | Finish | Failure


@dataclass(eq=False, slots=True)
class Job:
    """What is asked, whom to tell, and how far it is. What is below `cancelled` belongs to the generation thread."""

    prompt: Prompt
    max_tokens: int
    tell: Callable[[Told], None]
    sampling: Sampling = field(default_factory=Sampling)
    stops: tuple[str, ...] = ()
    banned: tuple[int, ...] = ()
    guide: Guide | None = None  # keeps tool calls valid
    lane: str = ""
    side: bool = False
    arrived: float = field(default_factory=time.monotonic)
    cancelled: bool = False  # set by whoever asked, at any time

    tokens: Tokens = field(init=False)
    state: State | None = None
    done: int = 0  # tokens that `state` stands for
    reused: int = 0
    marks: set[int] = field(default_factory=set)  # positions at which the state is kept, or others wait for it
    leader: Job | None = None  # computes a part that this one needs too
    share_tokens: int = 0  # how much of it
    fed: list[int] = field(default_factory=list)  # generated tokens that are in the state
    output: int = 0
    writer: Any = None  # decoding: what turns tokens into text
    first_token_s: float | None = None

    def __post_init__(self) -> None:
        self.tokens = Tokens(self.prompt.ids.tobytes())

    @property
    def rank(self) -> Rank:
        return Rank.SIDE if self.side else Rank.CONVERSATION

    @property
    def uncached(self) -> int:
        """Prompt tokens still to compute."""
        return len(self.tokens) - self.done

    @property
    def decoding(self) -> bool:
        return self.writer is not None
