"""What does counting a prompt's tokens cost, first and as a conversation goes on?

Turn k+1 after turn k is set against tokenising the appended text alone, which nobody has seen before. The prompt comes
as `render/template.py` hands it over, in pieces of which the earlier ones are the strings of the time before; `whole`
is the same prompt as one new string, which has to be compared with the one before from its beginning.
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
MESSAGE = "<|im_start|>{}\n{}<|im_end|>\n"
OPEN_END = "<|im_start|>assistant\n"


def figures(options: Options) -> Table:
    """Every count is checked against one from nothing."""
    data = (embedded.folder() / "tokenizer.json").read_bytes()
    rows = {f"{turns} turns": _row(data, turns) for turns in TURNS}
    return Table(
        rows,
        f"the demonstration model's tokenizer; medians of n = {ASKED} further turns of some 1,600 characters; "
        "`ratio`: paired, counting a further turn / tokenising what it appended, `whole_ratio` where the prompt is one "
        "string; exact against a count from nothing",
    )


def _row(data: bytes, turns: int) -> dict[str, float | int]:
    counter, whole = from_tokenizer_json(data), from_tokenizer_json(data)
    pieces = [MESSAGE.format("system", _words(0, 2000)), *(piece for n in range(turns) for piece in _turn(n))]
    whole.count("".join(pieces) + OPEN_END)
    settled()
    tokens, first_ms = timed(partial(counter.count_pieces, [*pieces, OPEN_END]))
    again_ms, alone_ms, whole_ms = [], [], []
    for n in range(turns, turns + ASKED):
        if n % 2:  # in turns, so that neither always finds what the other left in the processor's caches
            alone_ms.append(cpu_ms(partial(_alone, counter, "".join(_turn(-n)))))
        pieces += _turn(n)
        tokens, ms = timed(partial(counter.count_pieces, [*pieces, OPEN_END]))
        again_ms.append(ms)
        if not n % 2:
            alone_ms.append(cpu_ms(partial(_alone, counter, "".join(_turn(-n)))))
        text = "".join(pieces) + OPEN_END
        whole_ms.append(cpu_ms(partial(whole.count, text)))
    assert tokens == from_tokenizer_json(data).count(text), "a count that goes on must be that from nothing"
    return {
        "tokens": tokens,
        "first_tokens_per_s": round(tokens / first_ms * 1000),
        "again_tokens_per_s": round(tokens / statistics.median(again_ms) * 1000),
        "next_turn_ms": statistics.median(again_ms),
        "alone_ms": statistics.median(alone_ms),
        "ratio": statistics.median(a / b for a, b in zip(again_ms, alone_ms, strict=True)),
        "whole_ratio": statistics.median(a / b for a, b in zip(whole_ms, alone_ms, strict=True)),
    }


def _alone(counter: TokenCounter, text: str) -> int:
    """Tokens of a text, by the tokenizer itself."""
    assert isinstance(counter, TokenizerCounter)
    return counter._encode_length(text)


def _turn(number: int) -> list[str]:
    return [MESSAGE.format(role, _words(2 * number + n, 140)) for n, role in ((1, "user"), (2, "assistant"))]


def _words(seed: int, count: int) -> str:
    """Half of them words that stand nowhere else."""
    chosen = random.Random(seed)
    return " ".join(chosen.choice(WORDS) + ("" if n % 2 else f"{chosen.randrange(10**6):x}") for n in range(count))
