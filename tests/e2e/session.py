"""One session of work that any scripted backend can drive, and what must be true afterwards.

The policy knows neither dialect nor release: it reads the conversation, sees how far the session is, and asks for the
next step. The final text holds a secret that only the output of the first step can have brought to it.
"""

from __future__ import annotations

import secrets
import shlex
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

from tests.e2e.claude_code import Result
from tests.standins import conversation
from tests.standins.conversation import Call, Conversation
from tests.standins.http import JsonObject
from tests.standins.script import Fault, Policy, Refusal, Reply, Thinking, ToolCall, Turn, reply

Step = Callable[[Conversation], ToolCall]

PROMPT = "Correct the misspelt word in greeting.txt."
BEFORE = 'Hello, wrold!\nIt\'s "fine" — größe: \\n stays.\n'
AFTER = BEFORE.replace("wrold", "world")
ASIDE = reply("{}")
# What every release's request for a summary says; all else in it differs.
COMPACTION = "detailed summary of the conversation so far"
SUMMARY = reply("<summary>The misspelt word in greeting.txt was corrected.</summary>")


@dataclass(slots=True)
class EditSession:
    """Bash, Read, Edit, final text, in one project folder."""

    project: Path
    thinking: bool = False
    secret: str = field(default_factory=lambda: secrets.token_hex(6))
    talks: list[Conversation] = field(default_factory=list)
    """The conversation of every main request, in order."""
    asides: list[JsonObject] = field(default_factory=list)
    """The bodies of all other requests: titles, summaries, probes."""
    compactions: int = 0

    def __post_init__(self) -> None:
        (self.project / "greeting.txt").write_text(BEFORE, encoding="utf-8")
        (self.project / "secret.txt").write_text(self.secret)

    @property
    def policy(self) -> Policy:
        return self.turn

    def turn(self, body: JsonObject) -> Turn:
        """The next turn of the session that the request belongs to."""
        talk = conversation.read(body)
        if COMPACTION in (talk.user_texts or ("",))[-1]:
            self.compactions += 1
            return SUMMARY
        if not self.is_main(talk):
            self.asides.append(body)
            return ASIDE
        self.talks.append(talk)
        done = len(talk.calls)
        steps = self.steps()
        if done < len(steps):
            call = steps[done](talk)
            lead: tuple[Thinking | str, ...] = (Thinking(f"Step {done + 1}."),) if self.thinking else ()
            return reply(*lead, f"Now {call.name}.", call)
        return self.final(talk)

    def is_main(self, talk: Conversation) -> bool:
        return {"Bash", "Read", "Edit"} <= set(talk.tools) and any(PROMPT in text for text in talk.user_texts)

    def steps(self) -> list[Step]:
        path = str(self.project / "greeting.txt")
        ledger, secret = (shlex.quote(str(self.project / name)) for name in ("ledger.txt", "secret.txt"))
        shell = f"echo ran >> {ledger}; cat {secret}"
        edit = {"file_path": path, "old_string": "wrold", "new_string": "world"}
        return [
            lambda _: ToolCall("Bash", {"command": shell, "description": "Show the secret"}),
            lambda _: ToolCall("Read", {"file_path": path}),
            lambda _: ToolCall("Edit", edit),
        ]

    def final(self, talk: Conversation) -> Reply:
        return reply(f"Corrected. The secret is {(talk.calls[0].result or 'lost').strip()}.")

    def check(self, result: Result | None = None) -> None:
        """Assert that every step ran once, that its result came back, and that the file changed as asked."""
        if result is not None:
            assert result.rc == 0, result
            assert f"The secret is {self.secret}." in result.stdout, result
        assert (self.project / "greeting.txt").read_text(encoding="utf-8") == AFTER
        assert (self.project / "ledger.txt").read_text() == "ran\n", "the first step ran more than once"
        calls = self.talks[-1].calls
        assert [call.name for call in calls] == [step(self.talks[-1]).name for step in self.steps()]
        assert all(call.result is not None for call in calls), calls
        self.check_results(calls)

    def check_results(self, calls: tuple[Call, ...]) -> None:
        assert self.secret in (calls[0].result or "")
        assert "wrold" in (calls[1].result or "")
        assert "greeting.txt" in (calls[2].result or "")


@dataclass(slots=True)
class StumblingSession(EditSession):
    """The same work on a backend that fails at one step, as often as there are mishaps, and then goes on."""

    mishaps: list[Fault | Refusal] = field(default_factory=list)
    at: int = 0
    """The step at which it fails: 0 is the first tool call, 3 the final text."""
    struck: int = 0

    def turn(self, body: JsonObject) -> Turn:
        turn = EditSession.turn(self, body)
        talk = conversation.read(body)
        if self.struck == len(self.mishaps) or not self.is_main(talk) or len(talk.calls) != self.at:
            return turn
        mishap = self.mishaps[self.struck]
        self.struck += 1
        assert isinstance(turn, Reply)
        return mishap if isinstance(mishap, Refusal) else replace(turn, fault=mishap)


@dataclass(slots=True)
class DeferredToolSession(EditSession):
    """The same work after a tool that is deferred has been asked for by ToolSearch."""

    deferred: str = "WebFetch"

    def is_main(self, talk: Conversation) -> bool:
        # The base is named: a dataclass with slots is a class of its own, which bare super() does not know.
        return EditSession.is_main(self, talk) and "ToolSearch" in talk.tools

    def steps(self) -> list[Step]:
        search = {"query": f"select:{self.deferred}", "max_results": 5}
        bash, *rest = EditSession.steps(self)
        return [bash, lambda _: ToolCall("ToolSearch", search), *rest]

    def check_results(self, calls: tuple[Call, ...]) -> None:
        EditSession.check_results(self, (calls[0], *calls[2:]))
