"""Traces replayed over variants: every recorded request is asked again, with its recorded history (teacher-forced).

Sessions run in order on one backend; which session comes when is drawn by seed. An arm is a variant and a repeat; its
prompts begin with a nonce of the same length in every arm, so that no arm finds another's prompts in the cache.
"""

from __future__ import annotations

import asyncio
import hashlib
import random
import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import orjson

from anyclaude_lab.backends.base import Call
from anyclaude_lab.errors import AnyclaudeError, InvalidRequest, SettingsError, for_status
from anyclaude_lab.exchange import Exchange, prepare
from anyclaude_lab.lab.answers import Answer, read_answer
from anyclaude_lab.lab.arms import Arm, Backends, opened
from anyclaude_lab.lab.breaks import Sent, find_break
from anyclaude_lab.lab.cells import add_cells, cell_key, head_of, read_results, write_head
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.metrics.fidelity import judge
from anyclaude_lab.lab.rendered import Prompt
from anyclaude_lab.lab.run import Run
from anyclaude_lab.lab.scripted import ScriptedBackend, simulated_s
from anyclaude_lab.lab.turn import Turn, turns_of
from anyclaude_lab.lab.variant import Variant
from anyclaude_lab.prompt.sections import measured
from anyclaude_lab.render.tokens import characters
from anyclaude_lab.trace.read import Recorded
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import Request, text_of

Progress = Callable[[int, int, float | None], None]  # done, of how many, seconds left
PACES = ("fast", "think")
_FOLDER = re.compile(r"(?i)working (?:directory|folder):\s*(\S+)")


Sessions = dict[str, list[Turn]]


def replay(traces: Traces, variants: Sequence[Variant], **options: Any) -> Run:
    """`replay_async`, from where no event loop runs, or (in a notebook) from where one does."""
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return asyncio.run(replay_async(traces, variants, **options))
    found: list[Run] = []
    failed: list[BaseException] = []

    def run() -> None:
        try:
            found.append(asyncio.run(replay_async(traces, variants, **options)))
        except BaseException as error:
            failed.append(error)

    thread = threading.Thread(target=run, name="replay")
    thread.start()
    thread.join()
    if failed:
        raise failed[0]
    return found[0]


async def replay_async(
    traces: Traces,
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

    `shard` (i, n) takes the i-th of n parts of the sessions. With `out`, results are kept there session by session, and
    sessions that are there already are not asked again. Raises SettingsError; what a backend fails at is a row with
    `error`.
    """
    if not variants or len({v.name for v in variants}) != len(variants):
        raise SettingsError("Give at least one variant, each with a name of its own.")
    if pace not in PACES:
        raise SettingsError(f'"{pace}" is no pace; there are: {", ".join(PACES)}.')
    sessions = _sessions(traces, shard, turns_per_session)
    head = head_of(variants, seed=seed, repeat=repeat, shard=shard, pace=pace, cache_policy="own server, nonce per arm")
    done = _done(out, head)
    plan = _plan(sessions, variants, repeat, seed)
    bar = _Bar(progress, sum(len(sessions[name]) for _, _, name in plan))
    by_key = {turn.key: turn.recorded for turns in sessions.values() for turn in turns}
    cells: list[JsonObject] = []
    async with opened(by_key.get) as backends:
        for number, (variant, repetition, name) in enumerate(plan):
            keys = [cell_key(turn.recorded, variant, repetition) for turn in sessions[name]]
            if all(key in done for key in keys):
                fresh = [done[key] for key in keys]
                bar.step(len(keys), waited=False)
            else:
                fresh = await _session(backends, variant, repetition, sessions[name], pace, number, bar)
                if out is not None:
                    add_cells(out, fresh)
            cells += fresh
    return Run(head, cells)


async def _session(
    backends: Backends, variant: Variant, repetition: int, turns: list[Turn], pace: str, position: int, bar: _Bar
) -> list[JsonObject]:
    arm = await backends.arm(variant)
    drawn = hashlib.sha256(f"{variant.fingerprint} {repetition}".encode()).digest()
    nonce = f"{int.from_bytes(drawn[:6]) % 10**8:08}"  # digits: in most tokenizers of one length
    cells = []
    for turn in turns:
        if pace == "think" and turn.facts["gap_s"] and turn.facts["gap_s"] > 0:
            await asyncio.sleep(turn.facts["gap_s"])
        cell = await _ask(arm, turn, nonce)
        facts = {"key": cell_key(turn.recorded, variant, repetition), "repeat": repetition, "position": position}
        cells.append(facts | {"nonce": nonce if variant.translates else None} | cell)
        bar.step(1)
    return cells


async def _ask(arm: Arm, turn: Turn, nonce: str) -> JsonObject:
    """One cell. Whatever fails is told in it."""
    row, variant = turn.facts, arm.variant
    cell: JsonObject = {name: row[name] for name in ("session", "lane", "role", "turn", "trigger", "request_id")}
    cell |= {"variant": variant.name, "backend": variant.backend, "backend_kind": variant.kind, "tier": variant.tier}
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
        "e2e_s": answer.last_s,
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
    times = {name: None if cell[name] is None else first_s for name in ("ttft_s", "ttft_visible_s", "tt_tool_s")}
    return told | times | {"proxy_overhead_s": None}


def _sessions(traces: Traces, shard: tuple[int, int] | None, turns_per_session: int | None) -> Sessions:
    """The turns that can be asked again, by session, in the order they were asked."""
    found: Sessions = {}
    for trace in traces.traces(verify=True):
        if trace.origin.get("redaction") == "shape":
            raise SettingsError(f"{trace.name} holds shapes instead of texts: it can be counted, not replayed.")
        for turn in turns_of(trace):
            exchange = turn.recorded
            answered = exchange.data["response"]["status"] in (200, None) and exchange.answer
            if answered and _mine(exchange.session, shard) and _is_request(exchange):
                found.setdefault(exchange.session, []).append(turn)
    if turns_per_session is not None:
        found = {name: turns[:turns_per_session] for name, turns in found.items()}
    if not found and shard is None:
        raise SettingsError("There is no answered request in these traces, nothing to replay.")
    return found


def _is_request(exchange: Recorded) -> bool:
    try:
        exchange.request()
    except (InvalidRequest, KeyError):
        return False
    return True


def _mine(session: str, shard: tuple[int, int] | None) -> bool:
    if shard is None:
        return True
    return int(hashlib.sha256(session.encode()).hexdigest(), 16) % shard[1] == shard[0] - 1


def _plan(sessions: Sessions, variants: Sequence[Variant], repeat: int, seed: int) -> list[tuple[Variant, int, str]]:
    """(variant, repeat, session) in the order they run: arms side by side within a session, sessions as drawn."""
    rng = random.Random(seed)  # noqa: S311 - an order, no secret
    plan = []
    for repetition in range(repeat):
        names = sorted(sessions)
        rng.shuffle(names)
        for name in names:
            order = list(variants)
            rng.shuffle(order)
            plan += [(variant, repetition, name) for variant in order]
    return plan


def _done(out: Path | None, head: JsonObject) -> dict[str, JsonObject]:
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


class _Bar:
    """Progress with the seconds that are left, where somebody looks."""

    def __init__(self, progress: bool | Progress, total: int) -> None:
        self._told = progress if callable(progress) else _printed if progress else None
        self._total, self._done, self._asked, self._began = total, 0, 0, time.monotonic()

    def step(self, turns: int, *, waited: bool = True) -> None:
        self._done += turns
        self._asked += turns if waited else 0
        if self._told is not None:
            spent_s = time.monotonic() - self._began
            left_s = spent_s / self._asked * (self._total - self._done) if self._asked else None
            self._told(self._done, self._total, left_s)


def _printed(done: int, total: int, left_s: float | None) -> None:
    if sys.stderr.isatty():
        left = "" if left_s is None else f", {left_s:.0f} s left"
        end = "\n" if done == total else ""
        print(f"\rreplayed {done} of {total} turns{left}   ", end=end, file=sys.stderr, flush=True)
