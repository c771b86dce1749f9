"""Prints the engine's figures, with the stock server's beside them. Ratios: seconds depend on the machine.

    python -m benchmarks.engine [--pairs N] [--tokens N ...] [NAME ...]

Both servers run at once and are asked in turns (ours, stock, stock, ours, ...), each pair with a prompt nobody has
seen. Every figure is a median over pairs with its range. Model: random float32 weights, 2 layers x 128, a token is a
letter; greedy, one token of answer. TTFT here is the time until that token has ended the answer.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import threading
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.engine.random_model import Shape, write
from benchmarks.engine.serving import Messages, Reply, Server, ours, stock

SIDE_TOKENS = 200
HEAD = "You help with code. "


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
    """The same prompt again after the client left at 80% of its prefill."""
    tokens = max(bench.tokens)

    def measure(server: Server) -> float:
        cold = server.ask(bench.talk(tokens)).seconds
        talk = bench.talk(tokens)
        server.leave_at(talk, 0.8)
        return server.ask(talk).seconds / cold

    found = bench.each(measure)
    line(f"retry after leaving at 80% / cold, {tokens} tokens", **{name: shown(v) for name, v in found.items()})


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


FIGURES = {"warm": warm, "side": side, "retry": retry, "crowd": crowd, "parallel": parallel, "restart": restart}


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
