"""`--test-model`: one small request through the configured backend, and what came of it."""

from __future__ import annotations

from pathlib import Path

from anyclaude_lab.backends.base import Call
from anyclaude_lab.compose import Composition, composed
from anyclaude_lab.errors import AnyclaudeError, SettingsError
from anyclaude_lab.exchange import prepare
from anyclaude_lab.proxy.serving import new_request_id
from anyclaude_lab.settings import Settings
from anyclaude_lab.wire.decoder import Ending
from anyclaude_lab.wire.fold import fold
from anyclaude_lab.wire.request import Request

BACKEND_ERROR = 4
QUESTION = Request(
    {
        "model": "anthropic-local/test",
        "max_tokens": 256,
        "stream": True,
        "system": "You are a coding assistant.",
        "tools": [
            {
                "name": "Read",
                "description": "Read a file.",
                "input_schema": {
                    "type": "object",
                    "properties": {"file_path": {"type": "string"}},
                    "required": ["file_path"],
                },
            }
        ],
        "messages": [{"role": "user", "content": "Read the file `/tmp/example.txt`"}],
    }
)


async def try_model(settings: Settings, *, state_folder: Path) -> int:
    """Print the answer, its tokens and seconds; returns 0, or 4 where the backend failed."""
    if settings.mode == "claude":
        raise SettingsError("--test-model tests a translating mode; in mode claude use Claude Code itself.")
    try:
        async with composed(settings, state_folder=state_folder) as composition:
            return await _ask(composition)
    except AnyclaudeError as failure:
        if isinstance(failure, SettingsError):
            raise
        print(f"FAILED: {failure.message}")
        if failure.hint and failure.hint not in failure.message:
            print(f"hint: {failure.hint}")
        return BACKEND_ERROR


async def _ask(composition: Composition) -> int:

    exchange = await prepare(composition.variant, Call(new_request_id(), "test-model", QUESTION))
    await exchange.open()
    events = [exchange.start]
    while (batch := await exchange.next()) is not None:
        events += batch
    if exchange.ending is not Ending.COMPLETE:
        print(f"FAILED: {exchange.failure.message if exchange.failure else 'the answer ended before its end'}")
        return BACKEND_ERROR
    message = fold(events)
    for block in message["content"]:
        print(
            f"{block['type']}: {block.get('text') or block.get('thinking') or (block.get('name'), block.get('input'))}"
        )
    usage, calls = exchange.usage, exchange.tool_names
    verdict = "a tool call arrived" if calls else "NO tool call: a model for Claude Code has to make them"
    print(f"stop reason {message['stop_reason']}; {verdict}")
    print(
        f"prompt {_known(usage.prompt_tokens)} tokens ({_known(usage.cached_tokens)} cached), "
        f"output {_known(usage.output_tokens)}; first content after {_known(exchange.first_content_s)} s, "
        f"all after {_known(exchange.finished_s)} s"
    )
    return 0


def _known(value: float | None) -> str:
    return "unknown" if value is None else f"{value:.3g}" if isinstance(value, float) else str(value)
