"""Prints the engine's figures, with the stock server's beside them. Ratios: seconds depend on the machine.

    python -m benchmarks.engine [NAME ...] [--pairs N] [--tokens N ...]

Both servers run at once and are asked in turns (ours, stock, stock, ours, ...), each pair with a prompt nobody has
seen. Every figure is a median over pairs with its range. Model: random float32 weights, 2 layers x 128, a token is a
letter; greedy, one token of answer. TTFT here is the time until that token has ended the answer.
"""

from __future__ import annotations

import argparse
import json
import random
import statistics
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from jsonschema import Draft202012Validator

from benchmarks.engine.random_model import Shape, write
from benchmarks.engine.serving import Messages, Reply, Server, ours, stock

SIDE_TOKENS = 200


@dataclass
class Bench:
    """The model, both servers, and how often everything is done."""

    model: Path
    servers: tuple[Server, Server]
    pairs: int
    tokens: Sequence[int]
    scratch: Path
    chosen: random.Random = field(default_factory=lambda: random.Random(0))

    def text(self, letters: int) -> str:
        """Nobody has seen it."""
        return "".join(self.chosen.choices("abcdefghijklmnopqrstuvwxyz     ", k=letters))

    def talk(self, tokens: int) -> Messages:
        return [{"role": "system", "content": self.text(tokens)}, {"role": "user", "content": "Begin."}]

    def each(self, measure: Callable[[Server], float]) -> dict[str, list[float]]:
        """What `measure` finds for each server, pair by pair, in turns."""
        found: dict[str, list[float]] = {server.name: [] for server in self.servers}
        for pair in range(self.pairs):
            for server in self.servers if pair % 2 == 0 else reversed(self.servers):
                found[server.name].append(measure(server))
        return found


def follow_up(messages: Messages, reply: Reply) -> Messages:
    return [*messages, {"role": "assistant", "content": reply.text}, {"role": "user", "content": "Go on, please."}]


def shown(values: Sequence[float], unit: str = "x") -> str:
    return f"{statistics.median(values):.2f}{unit} ({min(values):.2f} to {max(values):.2f}, n={len(values)})"


def line(what: str, **columns: str) -> None:
    print(f"{what:58s}" + "".join(f"  {name}: {text}" for name, text in columns.items()), flush=True)


def warm(bench: Bench) -> None:
    """A cold first turn against the follow-up turn behind it."""
    for tokens in bench.tokens:
        cold: dict[str, list[float]] = {"ours": [], "stock": []}

        def measure(server: Server, tokens: int = tokens, cold: dict[str, list[float]] = cold) -> float:
            talk = bench.talk(tokens)
            first = server.ask(talk)
            cold[server.name].append(first.seconds)
            return first.seconds / server.ask(follow_up(talk, first)).seconds

        found = bench.each(measure)
        line(f"cold / warm TTFT, {tokens} tokens", **{name: shown(values) for name, values in found.items()})
        against = [one / other for one, other in zip(cold["ours"], cold["stock"], strict=True)]
        line(f"cold TTFT, ours / stock, {tokens} tokens", ratio=shown(against))


def restart(bench: Bench) -> None:
    """The first request of a process, with and without the head on disk. Only ours keeps any."""
    for tokens, bits in [(tokens, bits) for tokens in bench.tokens for bits in (None, 8)]:
        gains, megabytes = [], 0.0
        for pair in range(bench.pairs):
            disk, talk = bench.scratch / f"disk-{tokens}-{bits}-{pair}", bench.talk(tokens)
            with ours(bench.model, disk, bits) as server:
                cold = server.ask(talk)
            with ours(bench.model, disk, bits) as server:
                talk[-1] = {"role": "user", "content": "Something else."}
                gains.append(cold.seconds / server.ask(talk).seconds)
            megabytes = sum(file.stat().st_size for file in disk.glob("*/*.safetensors")) / 1e6
        kind = f"{bits or 32}-bit file of {megabytes:.1f} MB"
        line(f"cold / first request after a restart, {tokens} tokens", ours=f"{shown(gains)}, {kind}")


def side(bench: Bench) -> None:
    """A short side call while a long cold prompt is computed."""
    tokens = max(bench.tokens)

    def measure(server: Server) -> float:
        waits: list[float] = []
        call: Messages = [{"role": "user", "content": bench.text(SIDE_TOKENS)}]

        def ask_beside() -> None:
            beside = threading.Thread(target=lambda: waits.append(server.ask(call, tools=False).seconds))
            beside.start()
            threads.append(beside)

        threads: list[threading.Thread] = []
        server.begin(bench.talk(tokens), ask_beside)
        for thread in threads:
            thread.join()
        return waits[0]

    alone = bench.each(lambda s: s.ask([{"role": "user", "content": bench.text(SIDE_TOKENS)}], tools=False).seconds)
    beside = bench.each(measure)
    columns = {name: f"{shown(beside[name], ' s')} alone {shown(alone[name], ' s')}" for name in beside}
    line(f"side call of {SIDE_TOKENS} tokens beside a cold prefill of {tokens}", **columns)


def retry(bench: Bench) -> None:
    """The same prompt again after the client left before its prefill was over.

    Stock computes 2048 tokens a step, so that at 8000 it can be left at 77% or not at all: 80% is for ours alone.
    """
    tokens = max(bench.tokens)

    def measure(server: Server, share: float = 0.75) -> float:
        cold = server.ask(bench.talk(tokens)).seconds
        talk = bench.talk(tokens)
        server.leave_at(talk, share)
        return server.ask(talk).seconds / cold

    found = bench.each(measure)
    line(f"retry after leaving at 75% / cold, {tokens} tokens", **{name: shown(v) for name, v in found.items()})
    alone = [measure(bench.servers[0], 0.8) for _ in range(bench.pairs)]
    line(f"retry after leaving at 80% / cold, {tokens} tokens", ours=shown(alone))


def crowd(bench: Bench) -> None:
    """The main conversation after 40 side calls, and 12 conversations in turns."""
    tokens = min(bench.tokens)

    def measure(server: Server) -> float:
        talk = bench.talk(tokens)
        talk = follow_up(talk, server.ask(talk))
        for _ in range(40):
            server.ask([{"role": "user", "content": bench.text(SIDE_TOKENS)}], tools=False)
        reply = server.ask(talk)
        return 100 * reply.cached_tokens / reply.prompt_tokens

    def lanes(server: Server) -> float:
        talks = [bench.talk(tokens) for _ in range(12)]
        talks = [follow_up(talk, server.ask(talk)) for talk in talks]
        replies = [server.ask(talk) for talk in talks]
        return 100 * sum(r.cached_tokens for r in replies) / sum(r.prompt_tokens for r in replies)

    for what, found in (("40 side calls", bench.each(measure)), ("12 lanes in turns", bench.each(lanes))):
        columns = {name: shown(values, "%") for name, values in found.items()}
        line(f"reused tokens of {tokens} after {what}", **columns)


def parallel(bench: Bench) -> None:
    """Four agents on one cold head at once, against one alone."""
    tokens = max(bench.tokens)

    def measure(server: Server) -> float:
        alone = server.ask(bench.talk(tokens)).seconds
        system = bench.talk(tokens)[0]
        replies: list[Reply] = []
        talks = [[system, {"role": "user", "content": f"You are agent {n}."}] for n in range(4)]
        threads = [threading.Thread(target=lambda talk=talk: replies.append(server.ask(talk))) for talk in talks]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        return max(reply.seconds for reply in replies) / alone

    found = bench.each(measure)
    line(f"last of 4 agents on a cold head / one alone, {tokens} tokens", **{n: shown(v) for n, v in found.items()})


def calls(bench: Bench) -> None:
    """Calls that fit their schemas, of those that a random model was made to begin; what that costs a token."""
    if find_spec("llguidance") is None:
        line("calls that fit their schemas", ours="llguidance is not installed")
        return
    talk: Messages = [{"role": "user", "content": "Do something."}]
    right = wrong = cut = 0
    with ours(bench.model, grammar=True) as server:
        for seed in range(CALLS):
            sampled = {"temperature": 1.0, "seed": seed, "max_tokens": 600}
            _, answer = server.whole(messages=talk, tools=CALL_TOOLS, tool_choice="required", **sampled)
            found = answer["choices"][0]["message"].get("tool_calls")
            good = found is not None and fits(found[0]["function"])
            right, wrong, cut = right + good, wrong + (found is not None and not good), cut + (found is None)
        kept = per_token(server, talk)
    line("calls of a random model", fit=f"{right}", do_not=f"{wrong}", cut_by_length=f"{cut}", of=f"{CALLS}")
    free = per_token(bench.servers[0], talk)
    line("ms per token within calls (260 tokens of vocabulary)", grammar=shown(kept, " ms"), free=shown(free, " ms"))


def fits(call: dict[str, str]) -> bool:
    schema = next(t["function"]["parameters"] for t in CALL_TOOLS if t["function"]["name"] == call["name"])
    return Draft202012Validator(schema).is_valid(json.loads(call["arguments"]))


def per_token(server: Server, talk: Messages) -> list[float]:
    """Milliseconds, without the prompt's."""
    found = []
    for seed in range(20):
        sampled = {"temperature": 1.0, "seed": seed, "messages": talk, "tools": CALL_TOOLS, "tool_choice": "required"}
        short, _ = server.whole(max_tokens=1, **sampled)
        long, answer = server.whole(max_tokens=200, **sampled)
        if (tokens := answer["usage"]["completion_tokens"]) > 20:
            found.append(1000 * (long - short) / (tokens - 1))
    return found


CALLS = 200
_TEXT = {"type": "string", "maxLength": 40}
_ITEM = {
    "type": "object",
    "properties": {"text": _TEXT, "state": {"enum": ["open", "done"]}, "urgent": {"type": "boolean"}},
    "required": ["text", "state"],
    "additionalProperties": False,
}
_SCHEMAS: dict[str, dict[str, Any]] = {
    "Look": {"path": _TEXT, "limit": {"type": "integer", "minimum": 1, "maximum": 2000}},
    "Run": {"command": _TEXT, "timeout": {"type": "number"}, "beside": {"type": "boolean"}},
    "Plan": {"items": {"type": "array", "maxItems": 3, "items": _ITEM}, "of": {"anyOf": [_TEXT, {"type": "null"}]}},
}
CALL_TOOLS: list[dict[str, Any]] = [
    {
        "type": "function",
        "function": {
            "name": name,
            "parameters": {
                "type": "object",
                "properties": properties,
                "required": [next(iter(properties))],
                "additionalProperties": False,
            },
        },
    }
    for name, properties in _SCHEMAS.items()
]

FIGURES = {
    "warm": warm,
    "side": side,
    "retry": retry,
    "crowd": crowd,
    "parallel": parallel,
    "restart": restart,
    "calls": calls,
}


def main() -> None:
    """Measure what was named, or everything."""
    parser = argparse.ArgumentParser("python -m benchmarks.engine", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"of {', '.join(FIGURES)} (default: all)")
    parser.add_argument("--pairs", type=int, default=5)
    parser.add_argument("--tokens", type=int, nargs="+", default=[2800, 8000])
    options = parser.parse_args()
    with ExitStack() as stack:
        scratch = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        model = write(scratch / "model", shape=Shape(layers=2, width=128, heads=2))
        servers = (stack.enter_context(ours(model)), stack.enter_context(stock(model)))
        bench = Bench(model, servers, options.pairs, options.tokens, scratch)
        for name in options.names or FIGURES:
            FIGURES[name](bench)


if __name__ == "__main__":
    main()
