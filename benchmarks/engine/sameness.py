"""Whether a prompt that is not computed again is answered as if it were: greedily, from memory and from disk."""

from __future__ import annotations

import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from anyclaude_lab.engine import embedded
from anyclaude_lab.trace.read import read_trace
from anyclaude_lab.wire.openai_dialect import ENGINE
from anyclaude_lab.wire.openai_request import to_openai
from anyclaude_lab.wire.tool_names import ToolNames
from benchmarks.engine.measure import Bench
from benchmarks.engine.serving import Server, ours

BUNDLED = Path(__file__).parents[2] / "traces"
ANSWER_TOKENS = 24
Body = dict[str, Any]
Answers = list[tuple[Any, int]]  # what was said, and how many tokens of the prompt were not computed


def bodies(trace: Path) -> Iterator[Body]:
    """What the engine is asked in a bundled session, turn by turn."""
    for recorded in read_trace(trace).in_order():
        request = recorded.request()
        names = ToolNames.for_tools(request.offered_tools())
        body, _ = to_openai(request, ENGINE, model="embedded", names=names)
        yield body | {"stream": False, "max_tokens": ANSWER_TOKENS, "temperature": 0}


def same(bench: Bench) -> None:
    """Every turn of every bundled session, asked in three processes: as it comes (warm); with no memory, so that its
    head is read from disk each time; and with neither, so that all of it is computed (cold)."""
    model, disk = embedded.folder(), bench.scratch / "same"
    sessions = {trace.stem: list(bodies(trace)) for trace in sorted(BUNDLED.glob("*.jsonl"))}
    with ours(model, disk) as server:
        warm = _answers(server, sessions)
    with ours(model, disk, memory_mb=0) as server:
        from_disk = _answers(server, sessions)
    with ours(model, memory_mb=0) as server:
        cold = _answers(server, sessions)
    for name, asked in sessions.items():
        bench.tell(
            f"greedy answers of {name}, embedded model, f32",
            turns=len(asked),
            warm_as_cold=_equal(warm[name], cold[name]),
            from_disk_as_cold=_equal(from_disk[name], cold[name]),
            tokens_reused=_reused(warm[name]),
            tokens_read=_reused(from_disk[name]),
            reused_when_cold=_reused(cold[name]),
        )


def _answers(server: Server, sessions: Mapping[str, list[Body]]) -> dict[str, Answers]:
    return {name: [_answer(server, body) for body in asked] for name, asked in sessions.items()}


def _equal(some: Answers, others: Answers) -> int:
    return sum(one[0] == other[0] for one, other in zip(some, others, strict=True))


def _reused(answers: Answers) -> int:
    return sum(cached for _, cached in answers)


def _answer(server: Server, body: Body) -> tuple[Any, int]:
    _, answer = server.whole(**body)
    message = answer["choices"][0]["message"]
    calls = [call["function"] for call in message.get("tool_calls") or ()]
    return (message["content"], calls), answer["usage"]["prompt_tokens_details"]["cached_tokens"]


def drift(bench: Bench) -> None:
    """The next token's log-probabilities behind a head that was read from disk, against one that was computed."""
    import mlx.core as mx

    from anyclaude_lab.engine.serve import kv
    from anyclaude_lab.engine.serve.model import load_model
    from anyclaude_lab.engine.serve.prefixes import Tokens
    from anyclaude_lab.engine.serve.state_file import load_state, small_copy, write_state

    loaded, tokens = load_model(str(bench.model)), max(bench.tokens)
    ids = [bench.chosen.randrange(97, 123) for _ in range(tokens)]

    def scores(state: kv.State) -> mx.array:
        found = loaded.model(mx.array([ids[-1:]]), cache=state)[:, -1, :].astype(mx.float32)
        told: mx.array = found - mx.logsumexp(found, axis=-1, keepdims=True)
        return told

    state = kv.fresh(loaded.model)
    for begin in range(0, tokens - 1, 512):
        loaded.model(mx.array([ids[begin : min(begin + 512, tokens - 1)]]), cache=state)
        kv.settle(state)
    wanted = scores(kv.first(state, tokens - 1, tokens - 1))
    for bits in (None, 16, 8):
        file = bench.scratch / f"drift-{bits}.safetensors"
        write_state(file, Tokens.of(ids[:-1]), small_copy(kv.first(state, tokens - 1, tokens - 1), bits), "float32")
        began = time.perf_counter()
        _, read = load_state(file)
        took_s = time.perf_counter() - began
        away = float(mx.abs(scores(read) - wanted).max())
        best = mx.argmax(scores(load_state(file)[1])).item() == mx.argmax(wanted).item()
        bench.tell(
            f"log-probabilities from disk, {tokens} tokens, {bits or 32}-bit",
            drift_at_most=away,
            same_token=str(best),
            file_mb=file.stat().st_size / 1e6,
            read_in_s=took_s,
        )
