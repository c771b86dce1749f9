"""The copy machinery, written into the weights by hand: a llama of four layers with two heads each.

Plain training does not form copying heads in minutes on a CPU, and heads trained on short prompts do not survive
20 000 tokens of tool definitions. So the parts that must be exact at any length are placed here, and training
(`train.py`) learns what is left: which words name which tool, which quoted span is which argument, what to say.

    layer 0   LAST    every token gets the one before it
              MARK    ... and the newest marker's content: which turn, which step, whose text
    layer 1   TAIL    the tokens before that one, fading
              SELF    takes the token's own share out of TAIL
    layer 2   COUNT   a token of the user's text counts the "then"s of its turn: the clause it belongs to
              DELIM   newest delimiter: inside backticks or not, the words before the span; in an answer: the argument
    layer 3   FETCH   in a value: what followed the same tokens, in this turn's clause number `step`, in the fitting span
              TOOL    the words outside backticks of that clause; the very first token when there is no such clause

Scores are exact at any distance because gates subtract: a key of the right turn, clause and author gets 0, every other
one minus hundreds, whatever its content. Of the rotary pairs one tells neighbours apart, one is slow enough to fall over
78 000 tokens (recency), and all others stand still, so that likeness does not feel distance.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.embedded_model import vocabulary as voc

if TYPE_CHECKING:
    from tokenizers import Tokenizer

Array = np.ndarray[Any, np.dtype[np.float32]]

WIDTH, HEADS, HEAD, LAYERS, INNER = 256, 2, 96, 4, 64
CODE, SENSE, KEY = 40, 10, 15  # a token's code (fixed), its sense (learnt), the shadow of an argument's name
PERIODS = [1.0, 5e4] + [1e15] * (HEAD // 2 - 2)  # tokens per radian of each rotary pair
STILL = [*range(2, HEAD // 2), *range(HEAD // 2 + 2, HEAD)]  # 92 channels that do not feel distance
CONTEXT = 65536

CONST, FAR = 8.0, 1e5  # the constant that keeps every norm alike; "not a candidate at all"
FADE, ECHO = 0.5, 20  # TAIL forgets by this factor a token; the channels in which FETCH compares tails
REACH = 1.5  # what the tokens further back count in that comparison
OTHER_TURN, OTHER_CLAUSE, INSIDE = 600.0, 300.0, 300.0
MATCH, TAIL_MATCH, NOTHING_MATCHES, NO_CLAUSE = 100.0, 120.0, 60.0, 100.0
START, BEGAN, SLASHED = 400.0, 60.0, 45.0  # a value's first token; its second, behind a backtick; behind a bare slash
BOOST = 3.0  # of the norms before what is learnt: beside the large constant its inputs would be faint
SALIENCE, FITTING = 60.0, 40.0  # what a sense of 1 does to a score: TOOL's choice of words, FETCH's of spans
CLAUSES = voc.STEPS
SQUARES = (76.0, 78.5, 80.0, 83.0)  # the squared length of a residual row before each layer
SPREAD_ROUNDS = 60


FREQUENT = [
    " `",
    "`",
    "/",
    " ",
    '"',
    ".",
    ",",
    "_",
    "-",
    " -",
    "(",
    ")",
    " =",
    ":",
    "=",
    " '",
    "'",
    "*",
    " |",
    ";",
    "<|im_end|>",
]


FLAGS = ["const", "slack", "unmarked", "undelimiting", "uncounted", "begin", "ask", "ender"]
FLAGS += ["slash", "space", "path", "select", "value", "open", "close"]


def _blocks() -> dict[str, slice]:
    sizes = {
        "code": CODE,
        "sense": SENSE,
        "emit": CODE,
        "flag": len(FLAGS),
        "mix": CODE,
        "nearby": SENSE,
        "turn": 2 * voc.TURN_BASE,
        "step": 8,
        "author": 2,
    }
    sizes |= {
        "key": KEY,
        "before": SENSE,
        "inside": 1,
        "value": 1,
        "count": 1,
        "clause": CLAUSES,
        "stop": 1,
        "start": 1,
    }
    sizes |= {"opened": 1, "began": 1, "slashed": 1, "spaced": 1, "pathed": 1}
    sizes |= {"out": CODE}
    ends = np.cumsum(list(sizes.values()))
    assert ends[-1] <= WIDTH
    return {name: slice(int(end) - size, int(end)) for (name, size), end in zip(sizes.items(), ends, strict=True)}


AT = _blocks()
FLAG = {name: AT["flag"].start + i for i, name in enumerate(FLAGS)}
TAIL = AT["out"]  # until the last layer writes what is copied
WORDS = AT["before"]  # TOOL writes where an answer holds nothing of use


def unit(vector: Array) -> Array:
    return (vector / np.linalg.norm(vector)).astype(np.float32)


def spread(rng: np.random.RandomState, orthogonal: int, count: int) -> Array:
    """`count` unit codes that keep away from each other; the first ones at right angles (what paths and code repeat most)."""
    codes = rng.randn(count, CODE)
    codes[:orthogonal] = np.linalg.qr(rng.randn(CODE, CODE))[0][:orthogonal]
    for _ in range(SPREAD_ROUNDS):
        codes /= np.linalg.norm(codes, axis=1, keepdims=True)
        push = np.exp(16 * (codes @ codes.T - 0.5))
        np.fill_diagonal(push, 0)
        move = push @ codes
        move[:orthogonal] = 0
        codes -= 0.1 * move / np.maximum(1, np.linalg.norm(move, axis=1, keepdims=True))
    return (codes / np.linalg.norm(codes, axis=1, keepdims=True)).astype(np.float32)


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
            "original_max_position_embeddings": CONTEXT,
            "short_factor": factors,
            "long_factor": factors,
        },
        "tie_word_embeddings": False,
        "eos_token_id": end,
        "torch_dtype": "float32",
    }


@dataclass
class Head:
    """One attention head as linear forms: channel i of q and k, rows of v, and where v is written."""

    q: Array = field(default_factory=lambda: np.zeros((HEAD, WIDTH), np.float32))
    k: Array = field(default_factory=lambda: np.zeros((HEAD, WIDTH), np.float32))
    v: Array = field(default_factory=lambda: np.zeros((HEAD, WIDTH), np.float32))
    o: Array = field(default_factory=lambda: np.zeros((WIDTH, HEAD), np.float32))
    q_bias: Array = field(default_factory=lambda: np.zeros(HEAD, np.float32))
    k_bias: Array = field(default_factory=lambda: np.zeros(HEAD, np.float32))
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
        channels = [self.free.pop(0) for _ in range(len(q))]
        share = math.sqrt(abs(weight) * math.sqrt(HEAD))
        self.q[channels] = q * share
        self.k[channels] = k * math.copysign(share, weight)
        return channels

    def always(self, k: Array, weight: float) -> list[int]:
        """Add `weight * (k y)` to the score, whatever the query."""
        channel = self.match(np.zeros((1, WIDTH), np.float32), k[None], weight)
        self.q_bias[channel] = math.sqrt(abs(weight) * math.sqrt(HEAD))
        return channel

    def carry(self, v: Array, target: slice, strength: float = 1.0) -> list[int]:
        """Read the (n, WIDTH) form v where the head looks and add it to the n places of `target`."""
        rows = list(range(self.rows, self.rows + len(v)))
        self.rows += len(v)
        self.v[rows] = v
        self.o[np.arange(WIDTH)[target], rows] = strength
        return rows


def pick(*places: int | slice, gain: float) -> Array:
    """Rows that read these places of the residual stream as they were before the norm (whose gain is `gain`)."""
    index = np.concatenate(
        [np.arange(WIDTH)[place] if isinstance(place, slice) else np.array([place]) for place in places]
    )
    return (np.eye(WIDTH, dtype=np.float32)[index] / gain).astype(np.float32)


@dataclass
class Wiring:
    """All weights before training, and which of them training may move."""

    weights: dict[str, Array]
    trainable: dict[str, Array]


class Embedding:
    """Every token's fixed row: its code, what copying it emits, and its flags. All rows have the same length."""

    def __init__(self, tokenizer: Tokenizer, rng: np.random.RandomState) -> None:
        self.vocab: dict[str, int] = tokenizer.get_vocab(with_added_tokens=True)
        self.text = {i: tokenizer.decode([i], skip_special_tokens=False) for i in range(voc.VOCABULARY)}
        self.code = spread(rng, len([*FREQUENT]), voc.VOCABULARY)
        order = [self.id(token) for token in FREQUENT]
        order += [i for i in range(voc.VOCABULARY) if i not in set(order)]
        self.code[order] = self.code.copy()
        self.name = spread(rng, 0, voc.VOCABULARY)  # what the output layer reads
        self.rows = np.zeros((voc.VOCABULARY, WIDTH), np.float32)
        self._alike()
        self._emissions()
        self._flags()
        self._markers()
        length = 76.0 - (self.rows**2).sum(axis=1)
        assert (length > 0).all()
        self.rows[:, FLAG["slack"]] = np.sqrt(length)

    def id(self, token: str) -> int:
        return self.vocab[token.replace(" ", "Ġ")] if token.replace(" ", "Ġ") in self.vocab else self.vocab[token]

    def _alike(self) -> None:
        """Tokens that continue the same n-gram share most of their code."""
        for plain, escaped in voc.ESCAPES.items():
            self.code[self.id(escaped)] = unit(0.9 * self.code[self.id(plain)] + 0.43 * self.code[self.id(escaped)])
        self.code[self.id(" /")] = self.code[self.id("/")]
        keys = [token for tokens in voc.OPENINGS.values() for token in tokens]
        silent = [*voc.SPECIAL, *voc.TURN_MARKERS, *voc.STEP_MARKERS, *voc.MARKUP, voc.CALL, *keys]
        for (
            token
        ) in silent:  # nothing is copied by its likeness to these: not from the resting place, not before a value
            if token != "<|im_end|>":
                self.code[self.id(token)] = 0
        self.rows[:, AT["code"]] = self.code

    def _emissions(self) -> None:
        emit = self.name.copy()
        for plain, escaped in voc.ESCAPES.items():
            emit[self.id(plain)] = self.name[self.id(escaped)]
        for token in ("`", "<|im_end|>"):
            emit[self.id(token)] = self.name[self.id(voc.CLOSE)]
        emit[self.id("<|begin|>")] = 0
        self.rows[:, AT["emit"]] = emit

    def _flags(self) -> None:
        def put(flag: str, tokens: list[str], value: float) -> None:
            self.rows[[self.id(token) for token in tokens], FLAG[flag]] = value

        keys = [token for tokens in voc.OPENINGS.values() for token in tokens]
        answers = [*voc.STEP_MARKERS, "<|no_tools|>"]
        for flag in ("unmarked", "undelimiting", "uncounted"):
            self.rows[:, FLAG[flag]] = 1
        self.rows[:, FLAG["const"]] = CONST
        put("unmarked", ["<|begin|>", "<|im_start|>", "<system-reminder>", *voc.TURN_MARKERS, *answers], 0)
        put("undelimiting", ["<|begin|>", " `", "`", " /", "<|ask|>", *voc.TURN_MARKERS, *answers, *keys], 0)
        put("uncounted", ["<|ask|>", *self.separators()], 0)
        put("begin", ["<|begin|>"], 1)
        put("ask", ["<|ask|>"], 1)
        put("slash", [" /"], 1)
        put("space", [" "], 1)
        put("close", [voc.CLOSE], 1)
        put("select", voc.OPENINGS["ToolSearch"], 1)
        put("path", voc.PATHS, 1)
        put("value", keys, 1)
        put("open", [" `", *keys], 1)
        enders = [
            i
            for i, text in self.text.items()
            if (text[:1].isspace() and text != " /") or text in {",", ";", "<|im_end|>"}
        ]
        self.rows[enders, FLAG["ender"]] = 1

    def separators(self) -> list[str]:
        return [token for token in (" then", "Then", " Then", "then") if token.replace(" ", "Ġ") in self.vocab]

    def _markers(self) -> None:
        """What a marker says stands in the output block, where the MARK head fetches it; small, so it disturbs nothing."""
        start = AT["out"].start
        for n, token in enumerate(voc.TURN_MARKERS):
            self.rows[self.id(token), [start + n % voc.TURN_BASE, start + voc.TURN_BASE + n // voc.TURN_BASE]] = 0.25
        step = start + 2 * voc.TURN_BASE
        for n, token in enumerate([*voc.STEP_MARKERS, "<|no_tools|>"]):
            self.rows[self.id(token), [step + n, step + 8]] = 0.25
        for token in ("<|begin|>", "<|im_start|>", "<system-reminder>"):
            self.rows[self.id(token), step + 9] = 0.25


def wire(tokenizer: Tokenizer, seed: int) -> Wiring:
    rng = np.random.RandomState(seed)
    table = Embedding(tokenizer, rng)
    weights: dict[str, Array] = {
        "model.embed_tokens.weight": table.rows,
        "model.norm.weight": np.full(WIDTH, BOOST, np.float32),
    }
    senses = np.zeros_like(table.rows)
    senses[:, AT["sense"]] = 1
    trainable: dict[str, Array] = {"model.embed_tokens.weight": senses}
    gains = [math.sqrt(WIDTH / squared) for squared in SQUARES]  # 1 / rms of a residual row, per layer
    gains[-1] *= BOOST
    build = [_local(gains[0]), _tail(gains[1]), _clauses(gains[2], rng), _copy(gains[3], rng, table)]
    for layer, (heads, learned) in enumerate(build):
        prefix = f"model.layers.{layer}."
        weights |= {f"{prefix}self_attn.{name}": value for name, value in _join(heads).items()}
        trainable |= {f"{prefix}self_attn.{name}": value for name, value in learned.items()}
        for norm in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{prefix}{norm}.weight"] = np.full(WIDTH, BOOST if layer == LAYERS - 1 else 1, np.float32)
        inner = {name: np.zeros((INNER, WIDTH), np.float32) for name in ("gate_proj", "up_proj")}
        inner["down_proj"] = np.zeros((WIDTH, INNER), np.float32)
        if layer == 2:
            _steps(inner, gains[3] / BOOST)
        if layer == 3:
            for name in ("gate_proj", "up_proj"):
                inner[name] = (rng.randn(INNER, WIDTH) * 0.05).astype(np.float32)
            trainable |= {f"{prefix}mlp.{name}.weight": np.ones_like(value) for name, value in inner.items()}
            trainable[f"{prefix}mlp.down_proj.weight"][AT["out"]] = 0
        weights |= {f"{prefix}mlp.{name}.weight": value for name, value in inner.items()}
    head = np.zeros((voc.VOCABULARY, WIDTH), np.float32)
    said = voc.spoken(tokenizer)
    head[said] = rng.randn(len(said), WIDTH) * 0.01
    head[np.ix_(said, np.arange(WIDTH)[WORDS])] *= 10
    head[:, AT["out"]] = table.name * 3.7 / BOOST
    weights["lm_head.weight"] = head
    trainable["lm_head.weight"] = np.zeros_like(head)
    trainable["lm_head.weight"][said] = 1
    trainable["lm_head.weight"][:, AT["out"]] = 0  # what is copied comes out as it went in
    return Wiring(weights, trainable)


def _join(heads: list[Head]) -> dict[str, Array]:
    zero = np.zeros(HEADS * HEAD, np.float32)
    return {
        "q_proj.weight": np.concatenate([head.q for head in heads]),
        "k_proj.weight": np.concatenate([head.k for head in heads]),
        "v_proj.weight": np.concatenate([head.v for head in heads]),
        "o_proj.weight": np.concatenate([head.o for head in heads], axis=1),
        "q_proj.bias": np.concatenate([head.q_bias for head in heads]),
        "k_proj.bias": np.concatenate([head.k_bias for head in heads]),
        "v_proj.bias": zero,
        "o_proj.bias": np.zeros(WIDTH, np.float32),
    }


def _local(gain: float) -> tuple[list[Head], dict[str, Array]]:
    last, mark = Head(), Head()
    last.recency(3.0)
    last.peak(1.0, 60.0)
    fresh = pick(FLAG["value"], gain=gain), pick(FLAG["begin"], gain=gain)
    last.match(*fresh, 2 * FAR)  # a value begins with no past
    last.carry(pick(AT["code"], gain=gain), AT["mix"])
    last.carry(pick(AT["sense"], gain=gain), AT["nearby"])
    for flag, place in (("open", "opened"), ("slash", "slashed"), ("space", "spaced"), ("path", "pathed")):
        last.carry(pick(FLAG[flag], gain=gain), AT[place])
    mark.recency(2.0)
    mark.always(pick(FLAG["unmarked"], gain=gain)[0], -FAR)
    start = AT["out"].start
    said = slice(AT["turn"].start, AT["author"].stop)
    mark.carry(4 * pick(slice(start, start + said.stop - said.start), gain=gain), said)
    return [last, mark], {}


def _tail(gain: float) -> tuple[list[Head], dict[str, Array]]:
    """Codes and senses from two tokens back on, fading: the sum over all, less what the token itself put in."""
    tail, own = Head(), Head()
    tail.recency(-math.log(FADE))
    tail.match(pick(FLAG["value"], gain=gain), pick(FLAG["begin"], gain=gain), FAR)
    tail.carry(pick(AT["mix"], gain=gain), TAIL, 1 / FADE)
    own.recency(60.0)
    own.carry(pick(AT["mix"], gain=gain), TAIL, -(1 - FADE) / FADE)
    tail.carry(pick(AT["opened"], gain=gain), AT["began"], 1 / FADE)
    own.carry(pick(AT["opened"], gain=gain), AT["began"], -(1 - FADE) / FADE)
    tail.carry(pick(AT["nearby"], gain=gain), AT["nearby"], 1 / FADE)
    own.carry(pick(AT["nearby"], gain=gain), AT["nearby"], -(1 - FADE) / FADE)
    return [tail, own], {}


def _same_turn(head: Head, gain: float, amplitude: float, weight: float) -> None:
    """Minus `weight` for a key of another turn, minus more for one that no user wrote; 0 for this turn's text."""
    const = pick(FLAG["const"], gain=gain) / CONST
    head.match(const - pick(AT["turn"], gain=gain) / amplitude, pick(AT["turn"], gain=gain), -weight)
    head.always(pick(AT["author"], gain=gain).sum(axis=0), -2 * weight)


def _clauses(gain: float, rng: np.random.RandomState) -> tuple[list[Head], dict[str, Array]]:
    count, delim = Head(), Head()
    _same_turn(count, gain, 1.0, OTHER_TURN)
    count.always(pick(FLAG["uncounted"], gain=gain)[0], -FAR)
    count.carry(pick(FLAG["ask"], gain=gain), AT["count"])
    delim.recency(1.5)
    delim.always(pick(FLAG["undelimiting"], gain=gain)[0], -FAR)
    delim.always(pick(FLAG["slash"], gain=gain)[0], -150.0)
    delim.carry(_shadow(rng, KEY) @ pick(AT["emit"], gain=gain), AT["key"])
    delim.carry(pick(AT["nearby"], gain=gain), AT["before"])
    delim.carry(pick(FLAG["open"], gain=gain), AT["inside"])
    delim.carry(pick(FLAG["value"], gain=gain), AT["value"])
    return [count, delim], {}


def _shadow(rng: np.random.RandomState, size: int) -> Array:
    """A projection of codes to `size` places that keeps lengths."""
    turned = np.linalg.qr(rng.randn(CODE, CODE))[0].astype(np.float32)
    shadow: Array = turned[:size] * np.float32(math.sqrt(CODE / size))
    return shadow


def _steps(inner: dict[str, Array], gain: float) -> None:
    """Layer 1's inner units: the count as one clause out of six, and two ANDs: an ender, or a path, outside backticks."""
    const = pick(FLAG["const"], gain=gain)[0] / CONST
    count, inside = pick(AT["count"].start, gain=gain)[0], pick(AT["inside"].start, gain=gain)[0]
    steep, half = 1200.0, 0.004
    unit_no = 0
    bounds = [0.5 * (1 / (1 + n) + 1 / (2 + n)) for n in range(CLAUSES)]
    for n, bound in enumerate(bounds):
        for sign in (1, -1):
            inner["gate_proj"][unit_no] = steep * (count - (bound - sign * half) * const)
            inner["up_proj"][unit_no] = const
            inner["down_proj"][AT["clause"].start + n, unit_no] += sign / (2 * half * steep)
            if n + 1 < CLAUSES:
                inner["down_proj"][AT["clause"].start + n + 1, unit_no] -= sign / (2 * half * steep)
            unit_no += 1
    for flag, place in (("ender", "stop"), ("slash", "start")):
        inner["gate_proj"][unit_no] = steep * (pick(FLAG[flag], gain=gain)[0] - 2 * inside - 0.5 * const)
        inner["up_proj"][unit_no] = const
        inner["down_proj"][AT[place].start, unit_no] = 2 / steep
        unit_no += 1


def _this_clause(head: Head, gain: float, rest_score: float) -> None:
    """The text of this answer's turn and step; the first token of all waits at `rest_score` for when there is none."""
    turn_share = math.exp(-2.0) / (1 + math.exp(-2.0))  # an answer's header says turn, then step: MARK sees both
    _same_turn(head, gain, turn_share, OTHER_TURN)
    const = pick(FLAG["const"], gain=gain) / CONST
    step = pick(slice(AT["step"].start, AT["step"].start + CLAUSES), gain=gain) / (1 - turn_share)
    head.match(const - step, pick(AT["clause"], gain=gain), -OTHER_CLAUSE)
    head.always(pick(FLAG["begin"], gain=gain)[0], 2 * OTHER_TURN + rest_score)


def _copy(gain: float, rng: np.random.RandomState, table: Embedding) -> tuple[list[Head], dict[str, Array]]:
    fetch, tool = Head(), Head()
    const = pick(FLAG["const"], gain=gain) / CONST
    code, mixed = pick(AT["code"], gain=gain), pick(AT["mix"], gain=gain)
    _this_clause(fetch, gain, NOTHING_MATCHES)
    fetch.match(code, mixed, MATCH)
    echo = _shadow(rng, ECHO)
    fetch.match(echo @ (mixed + REACH * pick(TAIL, gain=gain)), echo @ pick(TAIL, gain=gain), TAIL_MATCH)
    pairs = {"value": ("opened", START), "path": ("start", START), "select": ("spaced", START)}
    for flag, (place, weight) in pairs.items():  # where the first token of a value may stand
        fetch.match(pick(FLAG[flag], gain=gain), pick(AT[place], gain=gain), weight)
    since = pick(AT["opened"], gain=gain) + 2 * pick(AT["began"], gain=gain)
    fetch.match(since, pick(AT["began"], gain=gain), 2 * BEGAN)
    fetch.match(pick(AT["pathed"], gain=gain), pick(AT["slashed"], gain=gain), SLASHED)
    idle = const - pick(AT["value"], gain=gain) + pick(FLAG["close"], gain=gain)
    fetch.match(idle, pick(FLAG["begin"], gain=gain), 2000.0)
    words_before = pick(AT["before"], gain=gain)[-len(fetch.free) :]
    guess = (rng.randn(*words_before.shape) * 0.05).astype(np.float32)
    span = fetch.match(guess * _columns("key"), words_before, FITTING)
    fetch.carry(4 * pick(AT["emit"], gain=gain), AT["out"])
    for place, token, strength in (("stop", voc.CLOSE, 12.0), ("start", "/", 8.0)):
        row = fetch.carry(pick(AT[place], gain=gain), slice(0, 0))
        fetch.o[AT["out"], row[0]] = table.name[table.id(token)] * strength

    _this_clause(tool, gain, -NO_CLAUSE)
    tool.always(pick(AT["inside"], gain=gain)[0], -INSIDE)
    weigh = tool.always(pick(AT["sense"].start, gain=gain)[0], SALIENCE)
    readable = _columns("sense")
    readable[0, FLAG["begin"]] = 1
    words = tool.carry(pick(AT["sense"], gain=gain), WORDS, 6.0)

    free = {
        name: np.zeros((HEADS * HEAD, WIDTH), np.float32)
        for name in ("q_proj.weight", "k_proj.weight", "v_proj.weight")
    }
    free["q_proj.weight"][span] = _columns("key")
    free["k_proj.weight"][span] = _columns("before", "nearby", "inside", "start")
    free["k_proj.weight"][[HEAD + channel for channel in weigh]] = _columns("sense", "nearby")
    free["v_proj.weight"][[HEAD + row for row in words]] = readable
    return [fetch, tool], free


def _columns(*names: str) -> Array:
    mask = np.zeros((1, WIDTH), np.float32)
    for name in names:
        mask[0, AT[name]] = 1
    return mask
