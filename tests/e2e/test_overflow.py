"""A window of 16K tokens: the real client notices by itself that it is full, compacts, and goes on to the end.

With short tool texts its own prompt takes 3,600 of them. With the long ones it takes 10,000, more than the point
at which it compacts (9,300): it would compact on every turn and give up.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.claude_code import LATEST, Place, headless
from tests.e2e.conftest import settings_for
from tests.e2e.session import ASIDE, COMPACTION, SUMMARY
from tests.e2e.test_launcher_sessions import LAUNCHER
from tests.standins import conversation
from tests.standins.http import JsonObject, running
from tests.standins.openai_api import OpenAIStandIn, count_tokens
from tests.standins.script import Refusal, ToolCall, Turn, reply

WINDOW_TOKENS = 16_384
PROMPT = "Read every page."
PAGES = 14
PAGE_CHARACTERS = 2_000  # about 500 tokens a page


@dataclass(slots=True)
class ReadingSession:
    """A model that reads page after page until it has seen the last, whatever it still remembers of the first ones."""

    project: Path
    secret: str = field(default_factory=lambda: secrets.token_hex(6))
    read: int = 0
    compactions: int = 0
    largest_tokens: int = 0
    refused: int = 0

    def __post_init__(self) -> None:
        for number in range(PAGES):
            end = f"the secret is {self.secret}" if number == PAGES - 1 else "turn the page"
            (self.project / f"page-{number}.txt").write_text(f"page {number} " + "word " * (PAGE_CHARACTERS // 5) + end)

    def turn(self, body: JsonObject) -> Turn:
        """The next page; a summary where one is asked for."""
        tokens = count_tokens(body)
        self.largest_tokens = max(self.largest_tokens, tokens)
        if tokens + int(body.get("max_tokens") or 0) > WINDOW_TOKENS:
            self.refused += 1
            said = f"request ({tokens} tokens) exceeds the available context size ({WINDOW_TOKENS} tokens)"
            return Refusal(400, said)
        talk = conversation.read(body)
        if COMPACTION in (talk.user_texts or ("",))[-1]:
            self.compactions += 1
            return SUMMARY
        if "Bash" not in talk.tools:
            return ASIDE
        if self.read < PAGES:
            self.read += 1
            command = f"cat {self.project}/page-{self.read - 1}.txt"
            return reply(f"Page {self.read}.", ToolCall("Bash", {"command": command, "description": "Read a page"}))
        result = next((call.result for call in reversed(talk.calls) if call.result), "")
        return reply(f"Done: {result[-30:]}")


def test_the_client_compacts_by_itself_before_a_window_of_16k_overflows(place: Place) -> None:
    session = ReadingSession(place.project)
    standin = OpenAIStandIn(session.turn, profile="llama.cpp")
    standin.profile.window_tokens = WINDOW_TOKENS
    with running(standin) as server:
        env = settings_for("local", server) | {"ANYCLAUDE_STUB_TOOLS": "true"}
        result = headless(LATEST, PROMPT, place=place, command=LAUNCHER, env=env)
    assert result.rc == 0, result
    assert session.secret in result.stdout, result
    assert session.compactions >= 1
    assert session.read == PAGES
    assert session.largest_tokens <= WINDOW_TOKENS and session.refused == 0
    assert server.violations == []
