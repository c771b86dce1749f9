"""What both servers are asked, for the figures of `python -m benchmarks.engine`."""

from __future__ import annotations

import math
import statistics
import threading

from benchmarks.engine.measure import Bench, Estimate, estimates, ratio
from benchmarks.engine.serving import Messages, Reply, Server, ours

SIDE_TOKENS = 260
LEFT_AT = 0.8
PAUSE_S = 0.3  # between two side calls
NONCE = "x-anthropic-billing-header: cc_version=2.1.330; cch={};\n"


def follow_up(messages: Messages, reply: Reply) -> Messages:
    return [*messages, {"role": "assistant", "content": reply.text}, {"role": "user", "content": "Go on, please."}]


def warm(bench: Bench) -> None:
    """A cold first turn against the follow-up turn behind it."""
    for tokens in bench.tokens:
        cold: dict[str, list[float]] = {"ours": [], "stock": []}

        def measure(server: Server, tokens: int = tokens, cold: dict[str, list[float]] = cold) -> float:
            talk = bench.talk(tokens)
            first = server.ask(talk)
            cold[server.name].append(first.seconds)
            return first.seconds / server.ask(follow_up(talk, first)).seconds

        bench.tell(f"cold / warm TTFT, {tokens} tokens", **estimates(bench.each(measure)))
        bench.tell(f"cold TTFT, ours / stock, {tokens} tokens", ratio=ratio(cold))


def nonce(bench: Bench) -> None:
    """The same conversation with a hash at its head that changes, against one without."""
    tokens = max(bench.tokens)

    def measure(server: Server) -> float:
        system, user = bench.talk(tokens)

        def asked(number: int | None) -> Reply:
            head = "" if number is None else NONCE.format(bench.text(5).replace(" ", "a"))
            return server.ask([{"role": "system", "content": head + str(system["content"])}, user])

        asked(None)
        changing = asked(1).seconds
        return changing / asked(None).seconds

    bench.tell(f"TTFT with a changing billing hash / without, {tokens} tokens", **estimates(bench.each(measure)))


def project(bench: Bench) -> None:
    """A first turn in another project: what differs stands in front of the tools, or behind the shared head."""
    tokens = max(bench.tokens)

    def measure(server: Server) -> float:
        head = bench.text(tokens)

        def asked(folder: str, *, stabilised: bool) -> Reply:
            system, user = (head, f"{folder}\nBegin.") if stabilised else (f"{folder}\n{head}", "Begin.")
            return server.ask([{"role": "system", "content": system}, {"role": "user", "content": user}])

        asked("/harbor", stabilised=True)
        off = asked("/lantern", stabilised=False).seconds
        return off / asked("/meadow", stabilised=True).seconds

    bench.tell(f"TTFT in another project, stabiliser off / on, {tokens} tokens", **estimates(bench.each(measure)))


def restart(bench: Bench) -> None:
    """The first request of a process, cold against with its head on disk: read at the start, as where a proxy starts
    it, or by the request itself. Only ours keeps any.
    """
    tokens = max(bench.tokens)
    for bits, warm in ((None, True), (None, False), (16, True), (8, True)):
        gains: list[float] = []
        megabytes = 0.0
        for number in bench.rounds(lambda: [gains]):  # noqa: B023 - read at once
            disk, talk = bench.scratch / f"disk-{bits}-{warm}-{number}", bench.talk(tokens)
            with ours(bench.model, disk, bits) as server:
                cold = server.ask(talk)
            with ours(bench.model, disk, bits, warm=warm) as server:
                talk[-1] = {"role": "user", "content": "Something else."}
                gains.append(cold.seconds / server.ask(talk).seconds)
            megabytes = sum(file.stat().st_size for file in disk.glob("*/*.safetensors")) / 1e6
        when = "at the start" if warm else "by the request"
        what = f"cold / first request after a restart, {tokens} tokens, {bits or 32}-bit file read {when}"
        bench.tell(what, ours=Estimate.of(gains), file_mb=megabytes)


def side(bench: Bench) -> None:
    """Short side calls while a long cold prompt is computed: one after another, with pauses, until it is."""
    tokens = max(bench.tokens)
    every: dict[str, list[float]] = {"ours": [], "stock": []}

    def alone(server: Server) -> float:
        return server.ask(side_call(bench), tools=False).seconds

    def beside(server: Server) -> float:
        ended = threading.Event()
        waits: list[float] = []

        def ask() -> None:
            while not waits or not ended.wait(PAUSE_S):
                waits.append(alone(server))

        thread = threading.Thread(target=ask)
        server.begin(bench.talk(tokens), thread.start)
        ended.set()
        thread.join()
        found = waits[:-1] or waits  # the last one ran on alone
        every[server.name] += found
        return statistics.median(found)

    what = f"side call of {SIDE_TOKENS} tokens"
    own = bench.each(alone)
    bench.tell(f"{what}, alone", **estimates(own, "s"))
    found = bench.each(beside)
    bench.tell(f"{what} beside a cold prefill of {tokens}, medians", **estimates(found, "s"))
    prefill = bench.servers[0].metrics()["prefill"]
    for name, waits in every.items():
        above_s = p95(waits) - statistics.median(own[name])
        steps = {"above_own_time_in_steps": above_s / prefill["step_limit_s"]} if name == "ours" else {}
        bench.tell(f"{what} beside it, {name}: p95", wait_s=p95(waits), n=len(waits), **steps)
    bench.tell(f"{what} beside it: steps", longest_s=prefill["longest_step_s"], limit_s=prefill["step_limit_s"])


def side_call(bench: Bench) -> Messages:
    return [{"role": "user", "content": bench.text(SIDE_TOKENS)}]


def p95(values: list[float]) -> float:
    """By nearest rank: the largest of up to 20."""
    return sorted(values)[math.ceil(0.95 * len(values)) - 1]


def retry(bench: Bench) -> None:
    """The same prompt again after the client left at 80 %: of its tokens, then of the time that it takes.

    The last fifth of the tokens is more than a fifth of the work where attention counts: what was left stands beside
    it. Both servers are left at the first of their steps behind that share, and go on until they notice.
    """
    tokens = max(bench.tokens)
    for of in ("tokens", "time"):
        rest: list[float] = []

        def measure(server: Server, of: str = of, rest: list[float] = rest) -> float:
            cold = server.ask(bench.talk(tokens))
            share = LEFT_AT if of == "tokens" else cold.done_after(LEFT_AT)
            if server.name == "ours":
                rest.append(cold.behind(share))
            talk = bench.talk(tokens)
            server.leave_at(talk, share)
            return server.ask(talk).seconds / cold.seconds

        found = bench.each(measure)
        bench.tell(f"retry after leaving at 80 % of the {of} / cold, {tokens} tokens", **estimates(found))
        bench.tell(f"what was left of a cold prefill at 80 % of the {of}", ours=Estimate.of(rest))


def crowd(bench: Bench) -> None:
    """Reused by ideal: the main conversation after 40 side calls, and 12 conversations in turns."""
    tokens = min(bench.tokens)

    def share(server: Server, talk: Messages, before: Reply) -> tuple[int, int]:
        """Cached tokens, and those that the prompt and its predecessor have in common."""
        return server.ask(talk).cached_tokens, before.prompt_tokens - 1

    def after_side_calls(server: Server) -> float:
        talk = bench.talk(tokens)
        first = server.ask(talk)
        for _ in range(40):
            server.ask([{"role": "user", "content": bench.text(SIDE_TOKENS)}], tools=False)
        cached, ideal = share(server, follow_up(talk, first), first)
        return 100 * min(1.0, cached / ideal)

    def lanes(server: Server) -> float:
        talks = [bench.talk(tokens) for _ in range(12)]
        firsts = [server.ask(talk) for talk in talks]
        found = [share(server, follow_up(talk, first), first) for talk, first in zip(talks, firsts, strict=True)]
        return 100 * min(1.0, sum(cached for cached, _ in found) / sum(ideal for _, ideal in found))

    for what, measure in (("40 side calls", after_side_calls), ("12 lanes in turns", lanes)):
        found = bench.each(measure)
        least = {f"{name}_percent_at_least": min(values) for name, values in found.items()}
        bench.tell(f"reused / ideal after {what}, {tokens} tokens", **least, n=len(found["ours"]))


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

    bench.tell(f"last of 4 agents on a cold head / one alone, {tokens} tokens", **estimates(bench.each(measure)))
