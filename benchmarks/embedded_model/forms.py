"""The residual stream's places, and attention heads and inner units as linear forms over them.

A large constant in every row keeps the norms' divisor the same for all tokens, so that sums and squares of counts come
out right. Of the rotary pairs one tells neighbours apart, one is slow enough to fall over 78 000 tokens (recency), and all
others stand still, so that likeness does not feel distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from benchmarks.embedded_model import vocabulary as voc

Array = np.ndarray[Any, np.dtype[np.float32]]

WIDTH, HEADS, HEAD, LAYERS, INNER = 256, 2, 96, 4, 32
CODE, SENSE = 37, 10  # a token's code (fixed), its sense (learnt)
KEYS = len(voc.KEYS)  # the arguments of all tools
CLAUSES = voc.STEPS
PERIODS = [1.0, 5e4] + [1e15] * (HEAD // 2 - 2)  # tokens per radian of each rotary pair
STILL = [*range(2, HEAD // 2), *range(HEAD // 2 + 2, HEAD)]  # 92 channels that do not feel distance
CONTEXT = 65536

CONST = 300.0  # the constant that keeps norms alike
LENGTH = CONST**2 + 40  # the squared length of every embedding
BOOST = 100.0  # of the last norms: beside the large constant, what is learnt from would be faint
STEEP = 400.0  # of an inner unit that says yes or no

FLAGS = ["const", "slack", "unmarked", "undelimiting", "separator", "begin", "ask", "ender", "slash", "space", "path"]
FLAGS += ["select", "value", "opener", "open", "shut", "close", "rest", "root", "answer", "toolless", "call"]


def _blocks() -> dict[str, slice]:
    sizes = {"code": CODE, "sense": SENSE, "emit": CODE, "flag": len(FLAGS), "mix": CODE, "nearby": SENSE}
    sizes |= {"turn": 2 * voc.TURN_BASE, "step": voc.STEPS + 2, "author": 2}
    sizes |= {"place": 1, "origin": 1, "square": 1, "key": KEYS, "before": SENSE, "inside": 1, "barred": 1, "value": 1}
    sizes |= {"count": 1, "many": 1, "clause": CLAUSES, "stop": 1, "start": 1, "rooted": 1, "opened": 1, "spaced": 1}
    sizes |= {"parted": 1, "spanned": 1, "out": CODE}
    ends = np.cumsum(list(sizes.values()))
    assert ends[-1] <= WIDTH, ends[-1]
    return {name: slice(int(end) - size, int(end)) for (name, size), end in zip(sizes.items(), ends, strict=True)}


AT = _blocks()
FLAG = {name: AT["flag"].start + i for i, name in enumerate(FLAGS)}


def config(end: int) -> dict[str, Any]:
    """config.json for mlx-lm's llama; `end` is the id of <|im_end|>."""
    factors = [period / 10000.0 ** (2 * pair / HEAD) for pair, period in enumerate(PERIODS)]
    return {
        "model_type": "llama",
        "architectures": ["LlamaForCausalLM"],
        "hidden_size": WIDTH,
        "num_hidden_layers": LAYERS,
        "intermediate_size": INNER,
        "num_attention_heads": HEADS,
        "num_key_value_heads": HEADS,
        "head_dim": HEAD,
        "attention_bias": True,
        "rms_norm_eps": 1e-6,
        "vocab_size": voc.VOCABULARY,
        "max_position_embeddings": CONTEXT,
        "rope_theta": 10000.0,
        "rope_scaling": {
            "rope_type": "longrope",
            "factor": 1.0,
            "original_max_position_embeddings": CONTEXT,
            "short_factor": factors,
            "long_factor": factors,
        },
        "tie_word_embeddings": False,
        "eos_token_id": end,
        "torch_dtype": "float32",
    }


class Reader:
    """Linear forms of a layer's input that read places of the residual stream as they were before the norm."""

    def __init__(self, norm: Array) -> None:
        self.norm = norm
        self.gain = norm * math.sqrt(WIDTH / LENGTH)

    def __call__(self, place: int | slice) -> Array:
        """(n, WIDTH) rows, one a place."""
        index = np.atleast_1d(np.arange(WIDTH)[place])
        return (np.eye(WIDTH)[index] / self.gain[index, None]).astype(np.float32)

    def flag(self, name: str) -> Array:
        """One row: the token's own flag."""
        return self(FLAG[name])[0]

    def row(self, block: str) -> Array:
        """One row: the block's first place."""
        return self(AT[block].start)[0]

    @property
    def one(self) -> Array:
        """One row that reads 1 everywhere."""
        return self.flag("const") / np.float32(CONST)


PLAIN = Reader(np.ones(WIDTH, np.float32))


def boosted() -> Reader:
    norm = np.full(WIDTH, BOOST, np.float32)
    norm[[FLAG["const"], FLAG["slack"]]] = 1
    return Reader(norm)


def zeros(*shape: int) -> Array:
    return np.zeros(shape, np.float32)


@dataclass
class Head:
    """One attention head as linear forms: channels of q and k, rows of v, and where v is written."""

    q: Array = field(default_factory=lambda: zeros(HEAD, WIDTH))
    k: Array = field(default_factory=lambda: zeros(HEAD, WIDTH))
    v: Array = field(default_factory=lambda: zeros(HEAD, WIDTH))
    o: Array = field(default_factory=lambda: zeros(WIDTH, HEAD))
    q_bias: Array = field(default_factory=lambda: zeros(HEAD))
    k_bias: Array = field(default_factory=lambda: zeros(HEAD))
    free: list[int] = field(default_factory=lambda: list(STILL))
    rows: int = 0

    def recency(self, per_token: float) -> None:
        """Score minus `per_token` times the distance."""
        self.q_bias[HEAD // 2 + 1] = per_token * PERIODS[1] * math.sqrt(HEAD) / 100
        self.k_bias[1] = 100

    def peak(self, distance: float, weight: float) -> None:
        """Add `weight * cos(d - distance)` to the score at d tokens back: the fastest pair, one radian per token."""
        share = math.sqrt(weight * math.sqrt(HEAD))
        self.q_bias[0], self.q_bias[HEAD // 2] = share * math.cos(distance), -share * math.sin(distance)
        self.k_bias[0] = share

    def match(self, q: Array, k: Array, weight: float = 1.0) -> list[int]:
        """Add `weight * (q x) . (k y)` to the score; q and k are (n, WIDTH) forms. Returns the channels taken."""
        q, k = np.atleast_2d(q), np.atleast_2d(k)
        channels = [self.free.pop(0) for _ in range(len(q))]
        share = math.sqrt(abs(weight) * math.sqrt(HEAD))
        self.q[channels] = q * share
        self.k[channels] = k * math.copysign(share, weight)
        return channels

    def always(self, k: Array, weight: float) -> list[int]:
        """Add `weight * (k y)` to the score, whatever the query."""
        channel = self.match(zeros(WIDTH), k, weight)
        self.q_bias[channel] = math.sqrt(abs(weight) * math.sqrt(HEAD))
        return channel

    def carry(self, v: Array, target: slice, strength: float = 1.0) -> list[int]:
        """Read the (n, WIDTH) form v where the head looks and add it to the n places of `target`."""
        v = np.atleast_2d(v)
        rows = list(range(self.rows, self.rows + len(v)))
        self.rows += len(v)
        self.v[rows] = v
        self.o[np.arange(WIDTH)[target], rows] = strength
        return rows


@dataclass
class Inner:
    """A layer's inner units: each adds `silu(gate x) * (up x)` to a few places."""

    gate: Array = field(default_factory=lambda: zeros(INNER, WIDTH))
    up: Array = field(default_factory=lambda: zeros(INNER, WIDTH))
    down: Array = field(default_factory=lambda: zeros(WIDTH, INNER))
    used: int = 0

    def unit(self, gate: Array, up: Array, target: int | slice, strength: float | Array) -> None:
        self.gate[self.used], self.up[self.used] = gate, up
        self.down[target, self.used] += strength
        self.used += 1

    def both(self, first: Array, second: Array, target: int | slice, strength: float | Array = 1.0) -> None:
        """`strength` at `target` where both forms read 1, 0 where one reads 0."""
        gate = STEEP * (first + second - np.float32(1.5) * PLAIN.one)
        self.unit(gate, PLAIN.one, target, strength * np.float32(2 / STEEP))
