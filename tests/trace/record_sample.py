"""Makes `traces/short-fix.jsonl`: `python -m tests.trace.record_sample [FOLDER]`.

A client, a model and a project of our own words go through the real proxy and its recorder: one bug is read, fixed and
tested in four requests.
"""

from __future__ import annotations

import asyncio
import os
import sys
import tempfile
from pathlib import Path

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
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import Thinking, ToolCall, Turn, reply

BUNDLED = Path(__file__).parents[2] / "traces"
NAME = "short-fix.jsonl"
SESSION = "5f0c6a52-7d14-4b0e-9a3b-2f6d8c1e4a70"
FILE = "/srv/basket/basket.py"

SYSTEM = """You repair small programs. You work in a folder, /srv/basket, through the tools you are given.
Read a file before you change it. Change as little as the task needs. Run the tests afterwards, and say in one
sentence what was wrong."""


def tool(name: str, description: str, **properties: str) -> JsonObject:
    schema = {
        "type": "object",
        "properties": {key: {"type": "string", "description": said} for key, said in properties.items()},
        "required": list(properties),
        "additionalProperties": False,
    }
    return {"name": name, "description": description, "input_schema": schema}


TOOLS = [
    tool("Read", "Gives the text of one file, each line with its number.", file_path="Absolute path of the file."),
    tool(
        "Edit",
        "Replaces one passage of a file. The passage has to occur exactly once.",
        file_path="Absolute path of the file.",
        old_string="The passage as it stands.",
        new_string="What takes its place.",
    ),
    tool("Bash", "Runs one command in the project's folder and gives what it prints.", command="The command."),
]
BEFORE = "    return sum(prices) / len(prices)"
AFTER = "    return sum(prices) / len(prices) if prices else 0.0"
MODEL: list[Turn] = [
    reply(Thinking("The file comes first."), "I look at the function.", ToolCall("Read", {"file_path": FILE})),
    reply(
        "An empty basket divides by zero.",
        ToolCall("Edit", {"file_path": FILE, "old_string": BEFORE, "new_string": AFTER}),
    ),
    reply(ToolCall("Bash", {"command": "python -m pytest -q"})),
    reply("The mean of an empty basket divided by zero; it is 0.0 now, and both tests pass."),
]
RESULTS = {
    "Read": f"1\tdef mean_price(prices: list[float]) -> float:\n2\t{BEFORE}\n",
    "Edit": f"{FILE} was changed in one place.",
    "Bash": "..                                            [100%]\n2 passed in 0.01s\n",
}


async def converse(http: httpx.AsyncClient) -> None:
    """The client: answers every call with its result until the model is done."""
    task = "mean_price fails for an empty basket. Mend it and run the tests."
    messages: list[JsonObject] = [{"role": "user", "content": [{"type": "text", "text": task}]}]
    while True:
        body = {
            "model": "anthropic-local/sample",
            "max_tokens": 4096,
            "stream": True,
            "system": [{"type": "text", "text": SYSTEM, "cache_control": {"type": "ephemeral"}}],
            "tools": TOOLS,
            "messages": messages,
        }
        answer = await http.post("/v1/messages", json=body)
        answer.raise_for_status()
        events = [Event(name or "", data) for name, data in grammar.events(answer.content)]
        message = fold(events)
        calls = [block for block in message["content"] if block["type"] == "tool_use"]
        if not calls:
            return
        messages.append({"role": "assistant", "content": message["content"]})
        results = [{"type": "tool_result", "tool_use_id": c["id"], "content": RESULTS[c["name"]]} for c in calls]
        messages.append({"role": "user", "content": results})


async def record(folder: Path) -> Path:
    """Run the session; the file in `folder` that holds it."""
    with tempfile.TemporaryDirectory() as scratch:
        home = Path(scratch)
        async with OpenAIStandIn(MODEL, profile="mlx-lm") as backend:
            settings, _ = load_settings({"proxy_only": True}, {"LOCAL_URL": f"{backend.url}/v1"}, cwd=home, home=home)
            async with composed(settings, state_folder=home) as parts:
                serving = Serving(settings, parts.variant, Log(), parts.breaker)
                serving.recorder = Recorder(home / "traces", Redaction(os.urandom(16)))
                server = Server(serving)
                url = await server.start("127.0.0.1", 0)
                headers = {"x-claude-code-session-id": SESSION, "user-agent": "anyclaude-lab sample"}
                async with httpx.AsyncClient(base_url=url, headers=headers, timeout=20, trust_env=False) as http:
                    await converse(http)
                await server.stop()
        await asyncio.to_thread(serving.recorder.close)
        (made,) = (home / "traces").iterdir()
        folder.mkdir(parents=True, exist_ok=True)
        (folder / NAME).write_bytes(made.read_bytes())
    return folder / NAME


if __name__ == "__main__":
    print(asyncio.run(record(Path(sys.argv[1]) if len(sys.argv) > 1 else BUNDLED)))
