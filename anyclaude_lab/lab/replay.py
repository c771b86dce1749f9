"""Traces replayed over variants: every recorded request is asked again, with its recorded history (teacher-forced).

Sessions run in order on one backend; which session comes when is drawn by seed. An arm is a variant and a repeat; its
prompts begin with a nonce of the same length in every arm, so that no arm finds another's prompts in the cache.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from importlib import import_module
from pathlib import Path
from typing import Any

import orjson

from anyclaude_lab.backends.base import Call
from anyclaude_lab.errors import AnyclaudeError, SettingsError, for_status
from anyclaude_lab.exchange import Exchange, prepare
from anyclaude_lab.lab.answers import Answer, read_answer
from anyclaude_lab.lab.arms import Arm, Backends, opened
from anyclaude_lab.lab.breaks import Sent, find_break
from anyclaude_lab.lab.cells import add_cells, head_of, read_results, write_head
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.metrics.fidelity import judge
from anyclaude_lab.lab.plan import Asked, planned, sessions_of
from anyclaude_lab.lab.progress import Bar, Progress
from anyclaude_lab.lab.rendered import Prompt
from anyclaude_lab.lab.run import Run
from anyclaude_lab.lab.scripted import ScriptedBackend, simulated_s
from anyclaude_lab.lab.turn import Turn
from anyclaude_lab.lab.variant import Variant, checked
from anyclaude_lab.prompt.sections import measured
from anyclaude_lab.render.tokens import characters
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, text_of

PACES = ("fast", "think", "recorded")
_FOLDER = re.compile(r"(?i)working (?:directory|folder):\s*(\S+)")


def replay(traces: Traces | Sequence[Turn], variants: Sequence[Variant], **options: Any) -> Run:
    """`replay_async`, from where no event loop runs, or (in a notebook) from where one does."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(replay_async(traces, variants, **options))
    tasks: list[asyncio.Task[Any]] = []

    async def run() -> Run:
        tasks.append(asyncio.current_task())  # type: ignore[arg-type]  # this is one
        return await replay_async(traces, variants, **options)

    with ThreadPoolExecutor(1, "replay") as thread:
        running = thread.submit(asyncio.run, run())
        try:
            return running.result()
        except KeyboardInterrupt:  # came to this thread; what runs in the other is stopped as well
            for task in tasks:
                task.get_loop().call_soon_threadsafe(task.cancel)
            raise


async def replay_async(
    traces: Traces | Sequence[Turn],
    variants: Sequence[Variant],
    *,
    repeat: int = 1,
    progress: bool | Progress = True,
    seed: int = 0,
    shard: tuple[int, int] | None = None,
    out: Path | None = None,
    pace: str = "fast",
    turns_per_session: int | None = None,
) -> Run:
    """Ask every turn of every session in every variant, `repeat` times. The first variant is the baseline of tables.

    Instead of traces, turns can be given, in the order they are to be asked.

    `pace`: `fast` asks the next turn as soon as one is answered; `think` first waits as long as the person or the tool
    took; `recorded` asks when it was asked, counted from the session's start, or at once where an answer took too long
    for that (`schedule_lag_s`). `shard` (i, n) takes the i-th of n parts of the sessions. With `out`, results are kept
    there session by session, and sessions that are there already are not asked again: a run that was stopped goes on.
    Raises SettingsError; what a backend fails at is a row with `error`.
    """
    check(variants, pace, repeat)
    sessions = sessions_of(traces, shard, turns_per_session)
    head = head_of(variants, seed=seed, repeat=repeat, shard=shard, pace=pace, cache_policy="own server, nonce per arm")
    done = kept_cells(out, head)
    plan = planned(sessions, variants, repeat, seed)
    bar = Bar(progress, sum(len(each.turns) for each in plan))
    by_key = {turn.key: turn.recorded for turns in sessions.values() for turn in turns}
    cells: list[JsonObject] = []
    async with opened(by_key.get) as backends:
        await _started(backends, [each.variant for each in plan if not each.within(done)])
        for each in plan:
            if each.within(done):
                fresh = [done[key] for key in each.keys]
                bar.step(len(fresh), waited=False)
            else:
                fresh = await session_cells(backends, each, pace, bar)
                if out is not None:
                    add_cells(out, fresh)
            cells += fresh
    return Run(head, cells)


def check(variants: Sequence[Variant], pace: str, repeat: int) -> None:
    """Raises SettingsError where this is nothing to replay by."""
    if not variants or len({checked(v).name for v in variants}) != len(variants):
        raise SettingsError("Give at least one variant, each with a name of its own.")
    if pace not in PACES:
        raise SettingsError(f'"{pace}" is no pace; there are: {", ".join(PACES)}.')
    if not isinstance(repeat, int) or repeat < 1:
        raise SettingsError(f"repeat is {repeat!r}; allowed is a whole number from 1 on.")


async def _started(backends: Backends, variants: Sequence[Variant]) -> None:
    """Every server that will be needed is being started; what the judge needs is read meanwhile."""
    for variant in dict.fromkeys(variants):
        await backends.arm(variant)
    if variants:
        await asyncio.to_thread(import_module, "jsonschema")


async def session_cells(backends: Backends, asked: Asked, pace: str, bar: Bar) -> list[JsonObject]:
    """A session asked in one variant, turn by turn."""
    arm = await backends.arm(asked.variant)
    drawn = hashlib.sha256(f"{asked.variant.fingerprint} {asked.repeat}".encode()).digest()
    nonce = f"{int.from_bytes(drawn[:6]) % 10**8:08}"  # digits: in most tokenizers of one length
    began, recorded_s = time.monotonic(), asked.turns[0].facts["started_s"]
    cells = []
    for turn, key in zip(asked.turns, asked.keys, strict=True):
        due_s = turn.facts["started_s"] - recorded_s
        wait_s = {"think": turn.facts["gap_s"] or 0.0, "recorded": due_s - (time.monotonic() - began)}.get(pace, 0.0)
        await asyncio.sleep(max(0.0, wait_s))  # once a turn in any case, so that it can be stopped
        lag_s = max(0.0, time.monotonic() - began - due_s) if pace == "recorded" else None
        cell = await _ask(arm, turn, nonce)
        facts = {"key": key, "repeat": asked.repeat, "position": asked.position, "schedule_lag_s": lag_s}
        cells.append(facts | {"nonce": nonce if asked.variant.translates else None} | cell)
        bar.step(1)
    return cells


async def _ask(arm: Arm, turn: Turn, nonce: str) -> JsonObject:
    """One cell. Whatever fails is told in it."""
    row, variant = turn.facts, arm.variant
    cell: JsonObject = {name: row[name] for name in ("session", "lane", "role", "turn", "trigger", "request_id")}
    cell |= {"variant": variant.name, "backend": variant.told, "backend_kind": variant.kind, "tier": variant.tier}
    cell |= {"adapter": variant.adapter, "stub_tools": variant.stub_tools, "error": None}
    began = time.monotonic()
    try:
        original = turn.recorded.request()
        exchange = await _prepared(arm, original, turn, nonce)
        prepared_s = time.monotonic() - began
        prompt = arm.served.renderer.prompt(exchange.sent) if arm.served.renderer else None
        expected = _expectation(arm, exchange.sent, prompt)
        pieces = await _heard(exchange)
    except (AnyclaudeError, KeyError) as failure:
        message = failure.message if isinstance(failure, AnyclaudeError) else f"the blob {failure} is missing"
        return cell | {"error": message, "total_s": time.monotonic() - began}
    answer = read_answer(pieces)
    usage = exchange.usage
    cell |= {
        "ending": exchange.ending.value,
        "stop_reason": exchange.stop_reason,
        "error": exchange.failure.message if exchange.failure else answer.error,
        "prompt_tokens": usage.prompt_tokens,
        "prompt_tokens_cached": usage.cached_tokens,
        "output_tokens": usage.output_tokens,
        "proxy_overhead_s": prepared_s,
        "ttfb_s": exchange.headers_s,
        "ttft_s": answer.ttft_s,
        "ttft_visible_s": answer.ttft_visible_s,
        "tt_tool_s": answer.tt_tool_s,
        "tt_tool_complete_s": answer.tt_tool_complete_s,
        "e2e_s": answer.last_s,
        "stream_close_s": exchange.finished_s,
        **expected,
        "break": _broken(arm, turn, exchange, prompt),
        **_judged(turn, original, answer),
        "answer": answer.blocks(),
    }
    _remember(arm, exchange.sent, prompt, answer)
    if isinstance(arm.way.backend, ScriptedBackend):
        cell |= _simulated(cell)
    return cell


async def _prepared(arm: Arm, original: Request, turn: Turn, nonce: str) -> Exchange:
    """The exchange, ready to be opened; its prompt begins with the nonce of the arm."""
    wanted = original.max_tokens or 4096
    asked = original.with_(stream=True, max_tokens=min(wanted, arm.way.output_cap_tokens or wanted))
    sampling = {name: value for name, value in arm.variant.sampling if name != "max_tokens"}
    asked = asked.with_(**sampling) if sampling else asked
    if not arm.variant.translates:
        asked = asked.with_(model=arm.variant.target)
        call = Call(turn.key, turn.recorded.lane, asked, body=orjson.dumps(asked.body), headers=_CLAUDE_HEADERS)
        return Exchange(arm.way, call, asked, [], None)
    exchange = await prepare(arm.way, Call(turn.key, turn.recorded.lane, asked))
    exchange.sent = exchange.sent.with_(system=[{"type": "text", "text": f"[{nonce}]"}, *exchange.sent.system])
    return exchange


_CLAUDE_HEADERS = (("content-type", "application/json"), ("anthropic-version", "2023-06-01"))


async def _heard(exchange: Exchange) -> list[tuple[float | None, str]]:
    """The events of the answer with their arrival, in seconds since it was sent."""
    exchange.started = time.monotonic()
    await exchange.open()
    reply = exchange.reply
    if reply is not None and reply.decoder is None:  # passthrough of something that is no stream: a refusal
        told = b"".join([data async for data in reply.body])[:500].decode("utf-8", "replace")
        await reply.close()
        raise for_status(reply.status, f"{reply.backend} answered with status {reply.status}: {told}")
    pieces: list[tuple[float | None, str]] = [(exchange.headers_s, exchange.start.encode().decode())]
    while (events := await exchange.next()) is not None:
        if events:
            at_s = time.monotonic() - exchange.started
            pieces.append((at_s, "".join(event.encode().decode("utf-8", "replace") for event in events)))
    return pieces


def _expectation(arm: Arm, sent: Request, prompt: Prompt | None) -> JsonObject:
    """What is known of the prompt before it is sent: its tokens, by section, and how many of them are reused."""
    renderer = arm.served.renderer
    sections = renderer.sections(sent, prompt) if renderer and prompt else measured(sent, characters().count)
    total = len(prompt.tokens) if prompt else None
    parts = {"tokens_system": sections.system, "tokens_tools": sections.tools, "tokens_messages": sections.messages}
    return {
        "rendered_tokens": total,
        **parts,
        "tokens_overhead": None if total is None else total - sum(parts.values()),
        "ideal_tokens": arm.served.ideal.reused(prompt.tokens) if prompt else None,
        "expected_tokens": arm.served.expected.reused(prompt.tokens) if prompt else None,
        "tokenizer": renderer.name if renderer else characters().method,
    }


def _broken(arm: Arm, turn: Turn, exchange: Exchange, prompt: Prompt | None) -> JsonObject | None:
    """What keeps this prompt from continuing its lane's last one."""
    if prompt is None or arm.served.renderer is None:
        return None
    lane = turn.recorded.lane
    sent = Sent(exchange.call.original, exchange.sent, exchange.steps, prompt)
    before, arm.last[lane] = arm.last.get(lane), sent
    found = find_break(before, sent, arm.served.renderer) if before is not None else None
    return found.as_json() if found else None


def _remember(arm: Arm, sent: Request, prompt: Prompt | None, answer: Answer) -> None:
    """Prompt and answer are in the cache now."""
    if arm.served.renderer is None or prompt is None:
        return
    continued = arm.served.renderer.continued(sent, answer.blocks())
    stored = prompt.tokens if continued is None else continued
    for cache in (arm.served.expected, arm.served.ideal):
        cache.store(prompt.tokens, stored)


def _judged(turn: Turn, original: Request, answer: Answer) -> JsonObject:
    """The ladder against the recorded answer and the tools as the client offered them."""
    reference = read_answer(turn.recorded.pieces)
    folder = _FOLDER.search(text_of(original.body.get("system")))
    found = judge(reference, answer, original.offered_tools() or None, folder=folder[1] if folder else None)
    named = [match for match in found.matches if match.name_match]
    return {
        "reference_calls": found.reference_calls,
        "candidate_calls": found.candidate_calls,
        "triggered": found.triggered,
        "matched_calls": len(found.matches),
        "named_calls": len(named),
        "invalid_calls": found.schema_errors,
        "arg_value_score": sum(m.value_score for m in named) / len(named) if named else None,
        "failed_rung": found.failed_rung,
        "failure": found.failure,
        "fidelity": found.fidelity,
        "exact": found.exact,
    }


def _simulated(cell: JsonObject) -> JsonObject:
    """Cache and times of a scripted answer, in the place of those that were measured."""
    total, reused = cell["rendered_tokens"], cell["expected_tokens"]
    if total is None:
        return {}
    first_s, end_s = simulated_s(total - reused, cell["output_tokens"] or 1)
    told = {"prompt_tokens": total, "prompt_tokens_cached": reused, "ttfb_s": first_s, "e2e_s": end_s}
    told |= {"stream_close_s": end_s, "tt_tool_complete_s": None if cell["tt_tool_complete_s"] is None else end_s}
    times = {name: None if cell[name] is None else first_s for name in ("ttft_s", "ttft_visible_s", "tt_tool_s")}
    return told | times | {"proxy_overhead_s": None}


def kept_cells(out: Path | None, head: JsonObject) -> dict[str, JsonObject]:
    """The cells that a run with the same head left in `out`, by key; creates the folder."""
    if out is None:
        return {}
    if not (out / "run.json").exists():
        write_head(out, head)
        (out / "cells.jsonl").touch()
        return {}
    before, cells, _ = read_results(out)
    if before["variants"] != orjson.loads(orjson.dumps(head["variants"])):
        raise SettingsError(f"{out} holds results of other variants; name another folder with --out.")
    return {cell["key"]: cell for cell in cells if not cell.get("error")}
