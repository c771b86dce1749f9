"""Whole sessions of the real Claude Code, recorded while the tests run.

A scripted backend leads each release through the same work: tools, a call with wrong parameters, a deferred tool,
subagents, a compaction, a second project, a second model. What the client sends is kept in a temporary folder for the
test run and nowhere else: its prompts are not ours to store.

`python -m tests.prompt.live FOLDER [RELEASE ...]` writes them for a person to look at.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path

from filelock import FileLock

from anyclaude_lab.wire.headers import ClientHints, lane_key
from anyclaude_lab.wire.request import Request
from tests.e2e.claude_code import Place, headless
from tests.e2e.session import COMPACTION, SUMMARY
from tests.standins import conversation
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.conversation import Conversation
from tests.standins.http import JsonObject, running
from tests.standins.script import Policy, Thinking, ToolCall, Turn, reply

RECORDED = ("2.1.330", "2.1.197", "2.1.100", "2.0.76", "2.0.30", "1.0.100")
FOREIGN_MODEL = "anthropic-local/model"  # an id that the client does not know gets the shorter of its prompts
KNOWN_MODEL = "claude-sonnet-4-5"  # the longer one
WORK = "Correct the misspelt word in greeting.txt, and let others look at it."
COMPACTED = "session is being continued"  # how a history begins after a compaction
AGENTS = ("Explore", "Plan", "general-purpose")
RECORDING_DEADLINE_S = 900
# What stands in a request's headers and tells which conversation it belongs to.
KEPT_HEADERS = ("x-claude-code-", "anthropic-beta", "user-agent")


@dataclass(frozen=True, slots=True)
class Sent:
    """One request as the client sent it: in which of the sessions below, and where."""

    session: str
    project: str
    headers: list[tuple[str, str]]
    body: JsonObject

    @property
    def request(self) -> Request:
        return Request(self.body)

    @property
    def lane(self) -> str:
        return lane_key(ClientHints.from_headers(self.headers, self.body), self.request)


@dataclass(frozen=True, slots=True)
class Recording:
    """What one release sent, in order. Sessions: `work` (tools, subagents, compaction, what follows it),
    `elsewhere` (a first request in another project), `known` (a first request for a model that the client knows)."""

    release: str
    sent: list[Sent]

    def of(self, session: str) -> list[Sent]:
        return [sent for sent in self.sent if sent.session == session]

    def first(self, session: str) -> Request:
        """The request that opens the main conversation of a session."""
        return next(sent.request for sent in self.of(session) if len(sent.body.get("tools") or ()) > 3)

    def lanes(self) -> dict[str, list[Request]]:
        """The requests of each conversation, in order."""
        lanes: dict[str, list[Request]] = {}
        for sent in self.sent:
            lanes.setdefault(sent.lane, []).append(sent.request)
        return lanes


def recording(release: str, folder: Path) -> Recording:
    """That release's sessions: read from `folder`, or recorded into it by whoever comes first."""
    folder.mkdir(parents=True, exist_ok=True)
    kept = folder / f"{release}.json"
    with FileLock(folder / f"{release}.lock", timeout=RECORDING_DEADLINE_S):
        if not kept.exists():
            made = [asdict(sent) for sent in record(release)]
            kept.write_text(json.dumps(made, ensure_ascii=True, indent=1))
    rows = json.loads(kept.read_text())
    return Recording(release, [Sent(**{**row, "headers": [tuple(pair) for pair in row["headers"]]}) for row in rows])


def record(release: str) -> list[Sent]:
    """Drive the client through its sessions. Skips the test where that release cannot be had."""
    with tempfile.TemporaryDirectory(prefix="anyclaude-live-") as scratch:
        here = _place(Path(scratch, "one"), "greeting", "Words are spelt the British way.", "main")
        there = _place(Path(scratch, "two"), "other-project", "Nothing is ever deleted here.", "work-in-progress")
        third = _place(Path(scratch, "three"), "third", "Every line is short.", "main")
        work: list[tuple[str, Sequence[str]]] = [(WORK, ()), ("/compact", ("--continue",)), ("Go on.", ("--continue",))]
        with ThreadPoolExecutor(3) as pool:
            sessions = [
                pool.submit(_session, release, "work", here, FOREIGN_MODEL, work),
                pool.submit(_session, release, "elsewhere", there, FOREIGN_MODEL, [("Hello there.", ())]),
                pool.submit(_session, release, "known", third, KNOWN_MODEL, [("Hello there.", ())]),
            ]
            return [sent for session in sessions for sent in session.result()]


def _session(
    release: str, name: str, place: Place, model: str, prompts: Sequence[tuple[str, Sequence[str]]]
) -> list[Sent]:
    standin = AnthropicStandIn(_policy(place.project))
    with running(standin):
        for prompt, args in prompts:
            options = ("--model", model, "--dangerously-skip-permissions", *args)
            result = headless(release, prompt, place=place, base_url=standin.url, args=options)
            assert result.rc == 0, result
    return [
        Sent(
            name, str(place.project), [(k, v) for k, v in each.headers if k.lower().startswith(KEPT_HEADERS)], each.json
        )
        for each in standin.messages
    ]


def _place(folder: Path, project: str, rule: str, branch: str) -> Place:
    """A home, and a project that is a repository with a file to work on and a memory of its own."""
    place = Place.fresh(folder, project)
    (place.project / "greeting.txt").write_text("Hello, wrold!\n")
    (place.project / "CLAUDE.md").write_text(f"# Rules of {project}\n\n{rule}\n")
    identity = ["-c", "user.name=Nobody", "-c", "user.email=nobody@localhost"]
    for line in (["init", "-q", "-b", branch], ["add", "CLAUDE.md"], [*identity, "commit", "-q", "-m", rule]):
        subprocess.run(["git", *line], cwd=place.project, check=True, timeout=60)
    return place


def _policy(project: Path) -> Policy:
    """The next turn of whatever conversation a request belongs to."""
    path = str(project / "greeting.txt")

    def turn(body: JsonObject) -> Turn:
        talk = conversation.read(body)
        said = "\n".join(talk.user_texts)
        if COMPACTION in (talk.user_texts or ("",))[-1]:
            return SUMMARY
        if any(_errand(agent) in said for agent in AGENTS):
            return _next(talk, [[ToolCall("Read", {"file_path": path})]])
        if WORK in said and talk.tools and COMPACTED not in said:
            return _next(talk, _work(talk, path, json.dumps(body)))
        return reply("Done.")

    return turn


def _next(talk: Conversation, steps: Sequence[Sequence[ToolCall]]) -> Turn:
    """The first step whose calls are not in the history yet."""
    done = len(talk.calls)
    for number, calls in enumerate(steps, 1):
        if done < len(calls):
            return reply(Thinking(f"This is step {number}."), f"Step {number}.", *calls)
        done -= len(calls)
    return reply("The work is done.")


def _work(talk: Conversation, path: str, body: str) -> list[list[ToolCall]]:
    search = [ToolCall("ToolSearch", {"query": "select:WebFetch", "max_results": 5})]
    spawn = "Agent" if "Agent" in talk.tools else "Task"
    offered = [agent for agent in AGENTS if agent in body]
    return [
        [ToolCall("Bash", {"command": "ls -a", "description": "List the files"})],
        [ToolCall("Read", {"path": path})],  # the parameter has another name
        [ToolCall("Read", {"file_path": path})],
        [ToolCall("Edit", {"new_string": "world", "old_string": "wrold", "file_path": path})],
        *([search] if "ToolSearch" in talk.tools else []),
        [ToolCall(spawn, {"description": "A look", "prompt": _errand(a), "subagent_type": a}) for a in offered],
        [ToolCall("Bash", {"command": "git status --short", "description": "Show what changed"})],
    ]


def _errand(agent: str) -> str:
    return f"You are asked as {agent}: read greeting.txt and say whether every word is spelt well."


def main(folder: Path, releases: Sequence[str]) -> None:
    """Write each request of these releases as a file of its own."""
    for release in releases:
        for number, sent in enumerate(recording(release, folder / release).sent):
            written = folder / release / f"{number:02}-{sent.session}.json"
            written.write_text(json.dumps(sent.body, indent=1))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or RECORDED)
