"""Makes the sessions in `traces/`: `python -m tests.trace.record_sessions [FOLDER] [NAME...]`.

Clients, models and projects of our own words go through the real proxy and its recorder.
"""

from __future__ import annotations

import asyncio
import base64
import os
import struct
import sys
import tempfile
import zlib
from collections.abc import Awaitable, Callable, Mapping
from contextlib import AsyncExitStack
from copy import deepcopy
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

import httpx

from anyclaude_lab.compose import composed
from anyclaude_lab.proxy.log import Log
from anyclaude_lab.proxy.server import Server
from anyclaude_lab.proxy.serving import Serving
from anyclaude_lab.settings import load_settings
from anyclaude_lab.trace.redaction import Redaction
from anyclaude_lab.trace.store import Recorder
from anyclaude_lab.wire.events import Event, JsonObject
from anyclaude_lab.wire.fold import fold
from tests.standins import grammar
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import Thinking, ToolCall, Turn, reply
from tests.trace import session_texts as texts

BUNDLED = Path(__file__).parents[2] / "traces"
TODAY = "2026-11-20"
Results = Mapping[str, object] | Callable[[str, JsonObject], object]


@dataclass
class Client:
    """One client session: what it asks, and the turns the model will answer with."""

    http: httpx.AsyncClient
    turns: list[Turn]
    session: str

    def lane(self, folder: str, tools: list[JsonObject], results: Results, **options: object) -> Lane:
        """The main conversation in a project folder."""
        system = [texts.SYSTEM, texts.PLACE.format(folder=folder, today=TODAY)]
        return Lane(self, system, list(tools), results, **options)  # type: ignore[arg-type]  # Lane's own fields


@dataclass
class Lane:
    """One conversation of a session; its requests grow by appending unless somebody meddles."""

    client: Client
    system: list[str]
    tools: list[JsonObject]
    results: Results
    kind: str = "main"
    agent: str | None = None
    headers: dict[str, str] = field(default_factory=dict)
    messages: list[JsonObject] = field(default_factory=list)

    async def order(self, content: str | list[JsonObject], *turns: Turn) -> None:
        """The person says `content`, the model answers with `turns`; every call gets its result."""
        blocks = [{"type": "text", "text": content}] if isinstance(content, str) else content
        self.messages.append({"role": "user", "content": blocks})
        for turn in turns:
            self.answer_calls(await self.ask(turn))

    async def ask(self, turn: Turn) -> JsonObject:
        """One request; the answer joins the history."""
        self.client.turns.append(turn)
        system = [{"type": "text", "text": text} for text in self.system]
        system[-1] |= {"cache_control": {"type": "ephemeral"}}  # type: ignore[dict-item]  # JSON
        body: JsonObject = {"model": "claude-sample", "max_tokens": 4096, "stream": True, "system": system}
        body |= {"tools": self.tools} if self.tools else {}
        names = {"x-claude-code-session-id": self.client.session, "x-claude-code-request-class": self.kind}
        names |= {"x-claude-code-agent-id": self.agent} if self.agent else {}
        http = await self.client.http.post(
            "/v1/messages", json=body | {"messages": self.messages}, headers=names | self.headers
        )
        http.raise_for_status()
        message = fold(Event(name or "", data) for name, data in grammar.events(http.content))
        self.messages = [*self.messages, {"role": "assistant", "content": message["content"]}]
        return message

    def answer_calls(self, message: JsonObject) -> None:
        calls = [block for block in message["content"] if block["type"] == "tool_use"]
        results = [
            {"type": "tool_result", "tool_use_id": call["id"], "content": self._result(call["name"], call["input"])}
            for call in calls
        ]
        if results:
            self.messages = [*self.messages, {"role": "user", "content": results}]

    def _result(self, name: str, given: JsonObject) -> object:
        return self.results(name, given) if callable(self.results) else self.results[name]


def read(path: str) -> ToolCall:
    return ToolCall("Read", {"file_path": path})


def bash(command: str) -> ToolCall:
    return ToolCall("Bash", {"command": command})


def edit(path: str, old: str, new: str) -> ToolCall:
    return ToolCall("Edit", {"file_path": path, "old_string": old, "new_string": new})


def numbered(*lines: str) -> str:
    return "".join(f"{number:>6}\t{line}\n" for number, line in enumerate(lines, 1))


async def short_fix(client: Client) -> None:
    file, before, after = "/srv/basket/basket.py", "sum(prices) / len(prices)", "mean(prices)"
    results = {
        "Read": numbered("from statistics import mean", "", "def mean_price(prices):", f"    return {before}"),
        "Edit": f"{file} was changed in one place.",
        "Bash": "..                                            [100%]\n2 passed in 0.01s\n",
    }
    lane = client.lane("/srv/basket", texts.BASICS, results)
    await lane.order(
        f"Read the file `{file}`",
        reply(Thinking("The file comes first."), read(file)),
        reply("It divides by the number of prices, which is zero for an empty basket."),
    )
    await lane.order(
        f"In `{file}` replace `{before}` with `{after}`",
        reply("Now the change.", edit(file, before, after)),
        reply(bash("python -m pytest -q")),
        reply("The mean comes from the library now, and both tests pass."),
    )


FIELDS = ("amber", "birch", "cedar", "daisy", "elder", "fern", "ginger", "hazel", "iris")


async def long_compaction(client: Client) -> None:
    def result(name: str, given: JsonObject) -> str:
        if name == "Read":
            word = Path(given["file_path"]).stem
            return numbered(f'"""Counts {word}."""', "", f"def {word}(rows):", *(
                f"    total_{n} = sum(row.{word} for row in rows if row.year == {2000 + n})" for n in range(6)
            ), "    return total_0")  # fmt: skip
        return "ok" if name == "Edit" else "12 passed in 0.31s\n"

    lane = client.lane("/srv/census", texts.BASICS, result)
    for word in FIELDS[:6]:
        file = f"/srv/census/{word}.py"
        await lane.order(
            f"Read the file `{file}`", reply(read(file)), reply(f"It sums {word} by year, six years in all.")
        )
        await lane.order(
            f"In `{file}` replace `total_0` with `first`", reply(edit(file, "total_0", "first")), reply("Renamed.")
        )
    lane.kind = "compaction"
    lane.headers = {"x-claude-code-compaction": "auto"}
    summary = (
        "Six modules of /srv/census were read, and total_0 was renamed to first in each. Next: ginger, hazel, iris."
    )
    await lane.order(
        "Write down what was done so far, for someone who goes on without this conversation.", reply(summary)
    )
    lane.kind, lane.headers = "main", {"x-claude-code-context-compacted": "1"}
    lane.messages = [{"role": "user", "content": [{"type": "text", "text": f"What happened before:\n{summary}"}]}]
    await lane.ask(reply("I go on with ginger."))
    lane.headers = {}
    for word in FIELDS[6:]:
        file = f"/srv/census/{word}.py"
        await lane.order(f"Read the file `{file}`", reply(read(file)), reply("The same shape as the others."))
    await lane.order("Run the command `python -m pytest -q`", reply(bash("python -m pytest -q")), reply("All 12 pass."))


async def subagents(client: Client) -> None:
    reports = {
        "port": "/srv/mill/settings.py:4 reads `PORT = 8473`.",
        "dates": "/srv/mill/dates.py:10 defines parse_date; two tests call it.",
    }
    results = {"Agent": "", "Read": numbered("PORT = 8473", "HOST = '127.0.0.1'"), "Grep": "/srv/mill/dates.py:10"}
    title = Lane(client, [texts.TITLE], [], {}, kind="auxiliary")
    await title.order("Where is the port set, and who calls parse_date?", reply("Port and date parsing"))

    lane = client.lane(
        "/srv/mill", texts.BASICS, lambda name, given: reports.get(given.get("description", ""), results.get(name))
    )
    lane.messages.append(
        {
            "role": "user",
            "content": [{"type": "text", "text": "Where is the port set, and who calls parse_date? Send two helpers."}],
        }
    )
    sent = [
        ToolCall(
            "Agent",
            {"description": name, "prompt": f"Find out about the {name} in /srv/mill.", "subagent_type": "scout"},
        )
        for name in reports
    ]
    called = await lane.ask(reply("I send two helpers.", *sent))
    scouts = [
        Lane(
            client,
            [texts.SCOUT, texts.PLACE.format(folder="/srv/mill", today=TODAY)],
            texts.SEARCHERS,
            results,
            "subagent",
            name,
        )
        for name in ("scout-1", "scout-2")
    ]
    for scout, name in zip(scouts, reports, strict=True):
        scout.messages.append(
            {"role": "user", "content": [{"type": "text", "text": f"Find out about the {name} in /srv/mill."}]}
        )
    steps = [
        [
            reply(ToolCall("Grep", {"pattern": "PORT", "path": "/srv/mill"})),
            reply(ToolCall("Grep", {"pattern": "parse_date", "path": "/srv/mill"})),
        ],
        [reply(read("/srv/mill/settings.py")), reply(read("/srv/mill/dates.py"))],
    ]
    for step in steps:  # side by side: first one, then the other, in turns
        for scout, turn in zip(scouts, step, strict=True):
            scout.answer_calls(await scout.ask(turn))
    for scout, report in zip(scouts, reports.values(), strict=True):
        await scout.ask(reply(report))
    lane.answer_calls(called)
    await lane.ask(
        reply("The port is 8473, set in /srv/mill/settings.py; parse_date is in /srv/mill/dates.py, with two tests.")
    )
    await lane.order(
        "Read the file `/srv/mill/settings.py`",
        reply(read("/srv/mill/settings.py")),
        reply("Port and host, two lines."),
    )


async def toolsearch_mcp(client: Client) -> None:
    found = [{"type": "tool_reference", "tool_name": tool["name"]} for tool in texts.TICKETS[:2]]
    results: dict[str, object] = {
        "ToolSearch": found,
        "mcp__tickets__find": '{"tickets": [{"number": 41, "title": "Mill stops at noon"}], "more": false}',
        "mcp__tickets__show": '{"number": 41, "said": [{"by": "ada", "text": "The clock wraps at 12."}]}',
        "Grep": "/srv/mill/clock.py:7:    return hour % 12",
        "Edit": "/srv/mill/clock.py was changed in one place.",
    }

    def result(name: str, given: JsonObject) -> object:
        if name == "ToolSearch":  # what was found is there from the next request on
            lane.tools = [*lane.tools, *(tool | {"defer_loading": True} for tool in texts.TICKETS[:2])]
        return results[name]

    lane = client.lane("/srv/mill", [*texts.BASICS, texts.TOOL_SEARCH], result)
    names = ", ".join(tool["name"] for tool in texts.TICKETS)
    lane.system.insert(1, f"Known by name, to be loaded before use: {names}")
    await lane.order(
        "Load the tool `mcp__tickets__find`",
        reply(ToolCall("ToolSearch", {"query": "select:mcp__tickets__find,mcp__tickets__show"})),
        reply("Loaded."),
    )
    await lane.order(
        "Which ticket of MILL is about the clock, and what was said?",
        reply(ToolCall("mcp__tickets__find", {"project": "MILL", "text": "clock"})),
        reply(ToolCall("mcp__tickets__show", {"project": "MILL", "number": 41})),
        reply("Ticket 41: ada says that the clock wraps at 12."),
    )
    await lane.order(
        "Mend it.",
        reply(ToolCall("Grep", {"pattern": "% 12", "path": "/srv/mill"})),
        reply(edit("/srv/mill/clock.py", "hour % 12", "hour % 24")),
        reply("The hour wraps at 24 now."),
    )


def picture(colour: tuple[int, int, int]) -> JsonObject:
    """A PNG of 16 by 16 pixels in one colour, as an image block."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    pixels = zlib.compress((b"\0" + bytes(colour) * 16) * 16, 9)
    png = (
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 0))
        + chunk(b"IDAT", pixels)
        + chunk(b"IEND", b"")
    )
    source = {"type": "base64", "media_type": "image/png", "data": base64.b64encode(png).decode()}
    return {"type": "image", "source": source}


async def images_parallel(client: Client) -> None:
    def result(name: str, given: JsonObject) -> object:
        if name == "Read" and given["file_path"].endswith(".png"):
            return [picture((20, 160, 60))]
        return numbered(".button { background: #c02020; }") if name == "Read" else "ok"

    lane = client.lane("/srv/site", texts.BASICS, result)
    await lane.order(
        [
            picture((192, 32, 32)),
            {"type": "text", "text": "The button looks like this, and should look like design/button.png."},
        ],
        reply(
            "I look at the style, the page and the design.",
            read("/srv/site/style.css"),
            read("/srv/site/index.html"),
            read("/srv/site/design/button.png"),
        ),
        reply(edit("/srv/site/style.css", "#c02020", "#14a03c"), bash("python -m http.server --help")),
        reply("The button is green now, as in the design."),
    )
    await lane.order(
        "Read the file `/srv/site/style.css`", reply(read("/srv/site/style.css")), reply("One rule, for the button.")
    )


async def broken_prefix(client: Client) -> None:
    results = {"Read": numbered("PORT = 8473"), "Bash": "ok\n"}
    lane = client.lane("/srv/mill", texts.BASICS[1:], results)
    lane.system.insert(0, "")
    moves: list[Callable[[], None]] = [
        lambda: None,
        lambda: lane.system.__setitem__(2, lane.system[2].replace(TODAY, "2026-11-21")),
        lambda: lane.tools.insert(3, texts.TOOL_SEARCH),
        lambda: lane.tools.reverse(),
        lambda: lane.messages[2]["content"].__setitem__(
            0, lane.messages[2]["content"][0] | {"content": "[older result left out]"}
        ),
        lambda: lane.system.__setitem__(2, lane.system[2].replace("/srv/mill", "/srv/mill/tests")),
    ]
    for number, move in enumerate(moves):
        lane.messages, lane.tools = deepcopy(lane.messages), deepcopy(lane.tools)
        move()
        for step in (reply(bash(f"./step {number}")), reply(f"Step {number} is done.")):
            nonce = f"{number}{len(lane.messages):04x}"
            lane.system[0] = f"x-anthropic-billing-header: cc_version=0.0.0; cc_entrypoint=sample; cch={nonce};"
            if step.stop_kind == "tool":
                lane.messages = [
                    *lane.messages,
                    {"role": "user", "content": [{"type": "text", "text": f"Run the command `./step {number}`"}]},
                ]
                lane.answer_calls(await lane.ask(step))
            else:
                await lane.ask(step)


@dataclass(frozen=True)
class Session:
    """One bundled session; the file is its name and `.jsonl`."""

    name: str
    id: str
    play: Callable[[Client], Awaitable[None]]
    mode: Literal["local", "claude"] = "local"


SESSIONS = (
    Session("short-fix", "5f0c6a52-7d14-4b0e-9a3b-2f6d8c1e4a70", short_fix),
    Session("long-compaction", "a41be0c8-52d9-4d3e-8a77-91c0e6f3b512", long_compaction),
    Session("subagents", "c7d3f9a1-0b64-4f8a-b2e5-6d1a80f4c933", subagents),
    Session("toolsearch-mcp", "e92a5b7c-3f18-4c6d-9e04-7b5fd2a861c4", toolsearch_mcp),
    Session("images-parallel", "1d86c4e0-9a2f-4b75-8c3d-f05e7a91b2d6", images_parallel, "claude"),
    Session("broken-prefix", "73b0e5d2-c8f4-4a19-a6d7-0e4c1f9b38a5", broken_prefix),
)


async def record(session: Session, folder: Path) -> Path:
    """Play one session through a proxy; the file in `folder` that holds it."""
    turns: list[Turn] = []
    async with AsyncExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        if session.mode == "local":
            local = await stack.enter_async_context(OpenAIStandIn(lambda body: turns.pop(0), profile="mlx-lm"))
            environment = {"LOCAL_URL": f"{local.url}/v1"}
        else:
            api = await stack.enter_async_context(AnthropicStandIn(lambda body: turns.pop(0)))
            environment = {"ANYCLAUDE_CLAUDE_URL": api.url}
        flags = {"proxy_only": True, "mode": session.mode}
        settings, _ = load_settings(flags, environment, cwd=home, home=home)
        parts = await stack.enter_async_context(composed(settings, state_folder=home))
        serving = Serving(settings, parts.variant, Log(), parts.breaker)
        serving.recorder = Recorder(home / "traces", Redaction(os.urandom(16)))
        server = Server(serving)
        url = await server.start("127.0.0.1", 0)
        async with httpx.AsyncClient(
            base_url=url,
            headers={"user-agent": "anyclaude-lab sample", "x-api-key": "no-key"},
            timeout=20,
            trust_env=False,
        ) as http:
            await session.play(Client(http, turns, session.id))
        await server.stop()
        await asyncio.to_thread(serving.recorder.close)
        (made,) = (home / "traces").iterdir()
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{session.name}.jsonl"
        file.write_bytes(made.read_bytes())
    return file


if __name__ == "__main__":
    into = Path(sys.argv[1]) if len(sys.argv) > 1 else BUNDLED
    for each in SESSIONS:
        if not sys.argv[2:] or each.name in sys.argv[2:]:
            print(asyncio.run(record(each, into)))
