"""What does counting a prompt's tokens cost, first and as a conversation goes on?

Turn k+1 after turn k is set against tokenising the appended text alone, which nobody has seen before.
"""

from __future__ import annotations

import random
import statistics
from functools import partial

from anyclaude_lab.engine import embedded
from anyclaude_lab.render.tokens import TokenCounter, TokenizerCounter, from_tokenizer_json
from benchmarks.questions.history import WORDS
from benchmarks.questions.timing import cpu_ms, settled, timed
from benchmarks.results import Options, Table

TURNS, ASKED = (10, 100, 1000), 40
HEAD = "<|im_start|>system\n{}<|im_end|>\n"
TURN = "<|im_start|>user\n{}<|im_end|>\n<|im_start|>assistant\n{}<|im_end|>\n"


def figures(options: Options) -> Table:
    """Every count is checked against one from nothing."""
    data = (embedded.folder() / "tokenizer.json").read_bytes()
    rows = {f"{turns} turns": _row(data, turns) for turns in TURNS}
    return Table(
        rows,
        f"the demonstration model's tokenizer; medians of n = {ASKED} further turns of some 1,600 characters; "
        "`ratio`: paired, counting a further turn / tokenising what it appended; exact against a count from nothing",
    )


def _row(data: bytes, turns: int) -> dict[str, float | int]:
    counter = from_tokenizer_json(data)
    text = HEAD.format(_words(0, 2000)) + "".join(_turn(n) for n in range(turns))
    settled()
    tokens, first_ms = timed(lambda: counter.count(text))
    again_ms, alone_ms = [], []
    for n in range(turns, turns + ASKED):
        if n % 2:  # in turns, so that neither always finds what the other left in the processor's caches
            alone_ms.append(cpu_ms(partial(_alone, counter, _turn(-n))))
        text += _turn(n)
        tokens, ms = timed(partial(counter.count, text))
        again_ms.append(ms)
        if not n % 2:
            alone_ms.append(cpu_ms(partial(_alone, counter, _turn(-n))))
    assert tokens == from_tokenizer_json(data).count(text), "a count that goes on must be that from nothing"
    return {
        "tokens": tokens,
        "first_tokens_per_s": round(tokens / first_ms * 1000),
        "again_tokens_per_s": round(tokens / statistics.median(again_ms) * 1000),
        "next_turn_ms": statistics.median(again_ms),
        "alone_ms": statistics.median(alone_ms),
        "ratio": statistics.median(a / b for a, b in zip(again_ms, alone_ms, strict=True)),
    }


def _alone(counter: TokenCounter, text: str) -> int:
    """Tokens of a text, by the tokenizer itself."""
    assert isinstance(counter, TokenizerCounter)
    return counter._encode_length(text)


def _turn(number: int) -> str:
    return TURN.format(_words(2 * number + 1, 140), _words(2 * number + 2, 140))


def _words(seed: int, count: int) -> str:
    """Half of them words that stand nowhere else."""
    chosen = random.Random(seed)
    return " ".join(chosen.choice(WORDS) + ("" if n % 2 else f"{chosen.randrange(10**6):x}") for n in range(count))
