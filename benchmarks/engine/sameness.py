"""Whether a prompt that is not computed again is answered as if it were: greedily, from memory and from disk."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from anyclaude_lab.engine import embedded
from anyclaude_lab.trace.read import read_trace
from anyclaude_lab.wire.openai_dialect import ENGINE
from anyclaude_lab.wire.openai_request import to_openai
from anyclaude_lab.wire.tool_names import ToolNames
from benchmarks.engine.measure import Bench, line
from benchmarks.engine.serving import Server, ours

BUNDLED = Path(__file__).parents[2] / "traces"
ANSWER_TOKENS = 24


def bodies(trace: Path) -> Iterator[dict[str, Any]]:
    """What the engine is asked in a bundled session, turn by turn."""
    for recorded in read_trace(trace).in_order():
        request = recorded.request()
        names = ToolNames.for_tools(request.offered_tools())
        body, _ = to_openai(request, ENGINE, model="embedded", names=names)
        yield body | {"stream": False, "max_tokens": ANSWER_TOKENS, "temperature": 0}


def same(bench: Bench) -> None:
    """Every turn of every bundled session: asked as it comes (warm), from disk by a new process, and cold."""
    model = embedded.folder()
    for trace in sorted(BUNDLED.glob("*.jsonl")):
        asked = list(bodies(trace))
        disk = bench.scratch / f"same-{trace.stem}"
        with ours(model, disk) as server:
            first = [_answer(server, body) for body in asked]
        with ours(model, disk, warm=True) as server:
            again = [_answer(server, asked[0])]
        with ours(model, memory_mb=1) as server:  # keeps nothing of that size
            cold = [_answer(server, body) for body in asked]
        equal = sum(one[0] == other[0] for one, other in zip(first, cold, strict=True))
        reused = sum(cached for _, cached in first)
        line(
            f"greedy answers of {trace.stem}, embedded model, f32",
            warm_as_cold=f"{equal} of {len(asked)} ({reused} tokens reused)",
            from_disk_as_cold=f"{again[0][0] == cold[0][0]} ({again[0][1]} tokens read)",
        )


def _answer(server: Server, body: dict[str, Any]) -> tuple[Any, int]:
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
        away = mx.abs(scores(read) - wanted).max().item()
        best = mx.argmax(scores(load_state(file)[1])).item() == mx.argmax(wanted).item()
        line(
            f"log-probabilities from disk, {tokens} tokens, {bits or 32}-bit",
            drift=f"{away:.1e} at most",
            same_token=str(best),
            file=f"{file.stat().st_size / 1e6:.1f} MB",
            read_in=f"{took_s:.3f} s",
        )
