"""What the attribution block costs a local model: the second turn of a conversation with the block and without.

    python -m benchmarks.lab.billing [--tokens N ...] [--pairs N]

Claude Code puts a block in front of its system prompt whose last field differs on every turn. Each pair is two
conversations that nobody has asked before, of the same length; both turns of one go through our prompt work with
`strip_billing`, those of the other without. Which comes first changes from pair to pair. Measured is the second turn,
until its first token has ended the answer. Prints the ratio (geometric mean over pairs, 95% by bootstrap over pairs).
Model: random float32 weights, a token is a letter; `mlx_lm.server`, greedy.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyclaude_lab.lab.metrics.statistics import geometric_speedup
from anyclaude_lab.prompt.billing import PREFIX
from anyclaude_lab.prompt.pipeline import Plan, run
from anyclaude_lab.wire.openai_dialect import MLX_LM
from anyclaude_lab.wire.openai_request import to_openai
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.tool_names import ToolNames
from benchmarks.engine.random_model import Shape, write
from benchmarks.engine.serving import Messages, Reply, Server, stock

BLOCK = f"{PREFIX} cc_version=0.0.0; cc_entrypoint=sample; cch={{:05x}};"
SHAPE = Shape(layers=4, width=256, heads=4)
WAYS = {"with the block": False, "without": True}


@dataclass(slots=True)
class Client:
    """Talks as Claude Code does, as far as the block is concerned."""

    server: Server
    chosen: random.Random = field(default_factory=lambda: random.Random(0))

    def second_turn(self, tokens: int, strip: bool) -> Reply:
        """Of a new conversation behind a system prompt of `tokens` letters."""
        system = "".join(self.chosen.choices("abcdefghijklmnopqrstuvwxyz     ", k=tokens))
        talk: Messages = [{"role": "user", "content": "Begin."}]
        first = self.server.ask(self._sent(system, talk, strip), tools=False)
        talk += [{"role": "assistant", "content": first.text or "."}, {"role": "user", "content": "Go on, please."}]
        return self.server.ask(self._sent(system, talk, strip), tools=False)

    def _sent(self, system: str, talk: Messages, strip: bool) -> Messages:
        block = BLOCK.format(self.chosen.randrange(16**5))
        body: dict[str, Any] = {"model": "m", "max_tokens": 1, "messages": talk}
        body["system"] = [{"type": "text", "text": block}, {"type": "text", "text": system}]
        request, _, _ = run(Request(body), Plan(strip_billing=strip, stabilise=False))
        messages: Messages = to_openai(request, MLX_LM, model="", names=ToolNames.for_tools([]))[0]["messages"]
        return messages


def measure(client: Client, tokens: int, pairs: int) -> None:
    """Ask all pairs of one length and print what they took."""
    found: dict[str, list[Reply]] = {way: [] for way in WAYS}
    for pair in range(pairs):
        for way in list(WAYS)[:: 1 if pair % 2 == 0 else -1]:
            found[way].append(client.second_turn(tokens, WAYS[way]))
    seconds = {way: [reply.seconds for reply in replies] for way, replies in found.items()}
    slow_s, fast_s = seconds.values()
    ratio = geometric_speedup(slow_s, fast_s, [str(pair) for pair in range(pairs)])
    each = [slow / fast for slow, fast in zip(slow_s, fast_s, strict=True)]
    spread = f"n={pairs} pairs, {min(each):.1f} to {max(each):.1f}"
    print(
        f"{tokens:,} tokens of system prompt: with the block the second turn takes {ratio.estimate:.1f} times as long"
    )
    print(f"  [{ratio.low:.1f}, {ratio.high:.1f}] ({spread})")
    for way, replies in found.items():
        share = sum(r.cached_tokens for r in replies) / sum(r.prompt_tokens for r in replies)
        print(f"  {way}: median {statistics.median(seconds[way]):.2f} s, {share:.1%} of the prompt from the cache")


def main() -> None:
    """Measure every length on one server."""
    flags = argparse.ArgumentParser("python -m benchmarks.lab.billing")
    flags.add_argument("--tokens", type=int, nargs="+", default=[1400, 2800])
    flags.add_argument("--pairs", type=int, default=10)
    given = flags.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        folder = write(Path(scratch, "model"), shape=SHAPE)
        size_mb = (folder / "model.safetensors").stat().st_size / 1e6
        print(f"{SHAPE.layers} layers x {SHAPE.width}, random float32 weights of {size_mb:.1f} MB; ratios, not speed")
        with stock(folder) as server:
            client = Client(server)
            client.second_turn(min(given.tokens), True)  # warms up, not counted
            for tokens in given.tokens:
                measure(client, tokens, given.pairs)


if __name__ == "__main__":
    main()
