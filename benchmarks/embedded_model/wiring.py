"""The copy machinery, written into the weights by hand: a llama of four layers with two heads each.

Plain training does not form copying heads in minutes on a CPU, and heads trained on short prompts do not survive
20 000 tokens of tool definitions. So the parts that must be exact at any length are placed here, and training
(`train.py`) learns what is left: which words name which tool, which quoted span is which argument, when to greet.

    layer 0   LAST    every token gets the one before it
              MARK    ... and the newest marker's content: which turn, which step, whose text
    layer 1   PLACE   how many tokens stand before this one in its user's text, or in its answer
              QUOTE   the newest backtick: is this token inside a span?
    layer 2   COUNT   a token of the user's text counts the separators ("then") of its turn: the clause it belongs to
              DELIM   the newest delimiter: where the span or value began, the word before it, the argument it is
    layer 3   FETCH   in a value: the token equally far into the fitting span of this turn's clause number `step`
              TOOL    the words outside backticks of that clause, added up, and how many there are

Scores are exact at any distance because gates subtract: a key of the right turn, clause and author gets 0, every other
one minus hundreds, whatever its content.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from benchmarks.embedded_model import phrases
from benchmarks.embedded_model import vocabulary as voc
from benchmarks.embedded_model.embedding import COPIED, Embedding
from benchmarks.embedded_model.forms import (
    AT,
    CLAUSES,
    FLAG,
    HEAD,
    HEADS,
    KEYS,
    LAYERS,
    PLAIN,
    SENSE,
    STEEP,
    WIDTH,
    Array,
    Head,
    Inner,
    Reader,
    boosted,
    zeros,
)  # fmt: skip

if TYPE_CHECKING:
    from tokenizers import Tokenizer

CARRIES_SENSES = (0, 2)  # the layers that move what is learnt; layer 1 only counts
FAR, NEAR = 1e5, 60.0  # "no candidate at all", and gently so
OTHER_TURN, OTHER_CLAUSE = 20_000.0, 10_000.0
OUTSIDE, INSIDE = 5000.0, 1000.0  # what FETCH takes off for text outside any span, TOOL for text inside one
MATCH, OFFSET, START = 1500.0, 40.0, 3000.0  # FETCH: the same last token; an offset of one token; a value's first token
NOTHING_MATCHES = 750.0  # when FETCH rests on the very first token
WORDS_ANCHOR = 3000.0  # the weight of the very first token for TOOL: so large that the words add up
FITTING = 40.0  # what a sense of 1 does to FETCH's choice of spans
PACE = 8.0  # how much faster than others the weights of FETCH's choice of spans are learnt
ORDER = 10.0  # how much a span feels that it stands behind another
LOGIT = 35.0  # of a copied token
DUE, UNDUE = 25.0, 300.0  # logit of what the model may choose now, and what it loses elsewhere
PLACE_UNIT, SQUARE_UNIT = 200.0, 1000.0  # tokens, and squares of tokens, to a unit in the residual stream
ANCHOR, NO_ANCHOR = 1e6, 12.0  # what a text's beginning weighs for PLACE; how much less the very first token (e-folds)
MARK_SLOPE, NEWEST = 4.0, 10.0
TURN_SHARE = math.exp(-MARK_SLOPE) / (1 + math.exp(-MARK_SLOPE))  # an answer's header says turn, then step
WORDS = AT["before"]  # TOOL writes where an answer holds nothing of use
SAID = slice(AT["turn"].start, AT["author"].stop)  # what MARK brings


@dataclass
class Wiring:
    """All weights before training, and which of them training may move."""

    weights: dict[str, Array]
    trainable: dict[str, Array]


def wire(tokenizer: Tokenizer, seed: int) -> Wiring:
    rng = np.random.RandomState(seed)
    table = Embedding(tokenizer, rng)
    final = boosted()
    last_heads, learned = _copy(final, rng, table)
    build = [(_local(), _turns()), (_places(), _outside()), (_clauses(), _squares(table)), (last_heads, Inner())]
    weights: dict[str, Array] = {"model.embed_tokens.weight": table.rows, "model.norm.weight": final.norm}
    for layer, (heads, inner) in enumerate(build):
        prefix = f"model.layers.{layer}."
        weights |= {f"{prefix}self_attn.{name}": value for name, value in _join(heads).items()}
        for norm in ("input_layernorm", "post_attention_layernorm"):
            weights[f"{prefix}{norm}.weight"] = (final if layer == LAYERS - 1 else PLAIN).norm
        for name, value in (("gate", inner.gate), ("up", inner.up), ("down", inner.down)):
            weights[f"{prefix}mlp.{name}_proj.weight"] = value
    weights["lm_head.weight"], speaking = _output(final, rng, table)
    senses = np.zeros_like(table.rows)
    senses[:, AT["sense"]] = 1
    senses[table.ids([*voc.SPECIAL, *voc.TURN_MARKERS, *voc.STEP_MARKERS, *voc.scaffolding()])] = 0
    trainable = {"model.embed_tokens.weight": senses, "lm_head.weight": speaking}
    trainable |= {f"model.layers.{LAYERS - 1}.self_attn.{name}": mask for name, mask in learned.items()}
    return Wiring(weights, trainable)


def _join(heads: list[Head]) -> dict[str, Array]:
    return {
        "q_proj.weight": np.concatenate([head.q for head in heads]),
        "k_proj.weight": np.concatenate([head.k for head in heads]),
        "v_proj.weight": np.concatenate([head.v for head in heads]),
        "o_proj.weight": np.concatenate([head.o for head in heads], axis=1),
        "q_proj.bias": np.concatenate([head.q_bias for head in heads]),
        "k_proj.bias": np.concatenate([head.k_bias for head in heads]),
        "v_proj.bias": zeros(HEADS * HEAD),
        "o_proj.bias": zeros(WIDTH),
    }


def _local() -> list[Head]:
    last, mark = Head(), Head()
    last.recency(3.0)
    last.peak(1.0, 60.0)
    last.carry(PLAIN(AT["code"]), AT["mix"])
    last.carry(PLAIN(AT["sense"]), AT["nearby"])
    last.carry(PLAIN.flag("open"), AT["opened"])
    last.carry(PLAIN.flag("space"), AT["spaced"])
    last.carry(PLAIN.flag("separator"), AT["parted"])
    mark.recency(MARK_SLOPE)
    mark.always(PLAIN.flag("unmarked"), -FAR)
    start = AT["out"].start
    mark.carry(4 * PLAIN(slice(start, start + SAID.stop - SAID.start)), SAID)
    return [last, mark]


def _turns() -> Inner:
    """Layer 0's inner units: a turn's digits are 1 or 0, also where MARK saw the turn beside the step."""
    inner = Inner()
    steep, half = 4000.0, 0.004
    for place in range(AT["turn"].start, AT["turn"].stop):
        digit = PLAIN(place)[0]
        inner.unit(np.float32(STEEP) * digit, PLAIN.one, place, -1 / STEEP)
        for sign in (1, -1):
            gate = np.float32(steep) * (digit - np.float32(TURN_SHARE / 2 - sign * half) * PLAIN.one)
            inner.unit(gate, PLAIN.one, place, sign / (2 * half * steep))
    return inner


def _places() -> list[Head]:
    place, quote = Head(), Head()
    answer, nobody = PLAIN(AT["author"])
    user = PLAIN.one - answer / np.float32(1 - TURN_SHARE)
    place.match(PLAIN.one - PLAIN(AT["turn"]), PLAIN(AT["turn"]), -NEAR)
    place.match(answer - PLAIN(AT["step"]), PLAIN(AT["step"]), -NEAR)
    place.match(user, answer, -NEAR)
    place.match(answer, user - nobody, -NEAR)
    place.always(nobody, -NEAR)
    # The weight of the beginning is so large that each other token adds the same: a count, not a share.
    beginning = PLAIN.flag("ask") + PLAIN.flag("answer") + PLAIN.flag("toolless")
    place.always(beginning, math.log(ANCHOR))
    place.always(PLAIN.flag("begin"), NEAR + math.log(ANCHOR) - NO_ANCHOR)
    place.carry(PLAIN.flag("unmarked") - PLAIN.flag("ask"), AT["place"], ANCHOR / PLACE_UNIT)
    quote.recency(NEWEST)
    other = PLAIN.flag("undelimiting") + PLAIN.flag("slash") + PLAIN.flag("space") - PLAIN.flag("shut")
    quote.always(other, -FAR)
    quote.carry(PLAIN.flag("open"), AT["inside"])
    return [place, quote]


def _outside() -> Inner:
    """Layer 1's inner units: what ends or begins a bare path outside backticks; what does not delimit inside them."""
    inner = Inner()
    inside = PLAIN.row("inside")
    inner.both(PLAIN.flag("ender"), PLAIN.one - inside, AT["stop"])
    inner.both(PLAIN.flag("slash"), PLAIN.one - inside, AT["start"])
    inner.both(PLAIN.flag("slash") + PLAIN.flag("space"), inside, AT["barred"])
    inner.both(PLAIN.flag("root"), PLAIN.row("opened"), AT["rooted"])
    return inner


def _same_turn(head: Head, read: Reader) -> None:
    """A penalty for a key of another turn, a larger one for one that no user wrote; 0 for this turn's text."""
    head.match(read.one - read(AT["turn"]), read(AT["turn"]), -OTHER_TURN)
    head.always(read(AT["author"]).sum(axis=0), -2 * OTHER_TURN)


def _clauses() -> list[Head]:
    count, delim = Head(), Head()
    _same_turn(count, PLAIN)
    begins = PLAIN.flag("ask") + PLAIN.row("parted")  # a clause begins behind its separator
    count.always(PLAIN.one - begins, -NEAR)
    count.always(PLAIN.row("inside") - PLAIN.flag("open"), -NEAR)
    count.carry(PLAIN.flag("ask"), AT["count"])
    delim.recency(NEWEST)
    delim.always(PLAIN.flag("undelimiting") + PLAIN.row("barred"), -FAR)
    delim.carry(4 * PLAIN(AT["out"])[:KEYS], AT["key"])
    delim.carry(PLAIN(AT["nearby"]), AT["before"])
    delim.carry(PLAIN.flag("value"), AT["value"])
    delim.carry(PLAIN.flag("opener"), AT["spanned"])
    # A bare path's slash is its first token; a backtick is not the first token of what it opens.
    delim.carry(PLAIN.row("place") - PLAIN.flag("slash") / np.float32(PLACE_UNIT), AT["origin"])
    return [count, delim]


def _offset(read: Reader) -> Array:
    """How many tokens into its span or value a token stands."""
    return np.float32(PLACE_UNIT) * (read.row("place") - read.row("origin"))


def _squares(table: Embedding) -> Inner:
    """Layer 2's inner units: the count as one clause out of six, the square of the offset, what follows a value."""
    inner = Inner()
    steep, half = 1200.0, 0.004
    for n in range(CLAUSES):
        bound = 0.5 * (1 / (1 + n) + 1 / (2 + n))
        for sign in (1, -1):
            gate = np.float32(steep) * (PLAIN.row("count") - np.float32(bound - sign * half) * PLAIN.one)
            share, place = sign / (2 * half * steep), AT["clause"].start + n
            places = slice(place, min(place + 2, AT["clause"].stop))
            inner.unit(gate, PLAIN.one, places, np.array([share, -share])[: CLAUSES - n])
    offset = _offset(PLAIN)
    for sign in (1, -1):  # silu(z) is z for a large z: (60 + x) x - (60 - x) x = 2 x x
        gate = 60 * PLAIN.one + np.float32(sign / 10) * offset
        inner.unit(gate, offset, AT["square"], sign * 5 / SQUARE_UNIT)
    for key, after in voc.after_values().items():
        value = PLAIN(AT["key"])[voc.KEYS.index(key)]
        inner.both(PLAIN.flag("close"), value, AT["out"], COPIED * table.name[table.id(after)])
    return inner


def _this_clause(head: Head, read: Reader, rest_score: float) -> None:
    """The text of this answer's turn and step; the first token of all waits at `rest_score` for when there is none."""
    _same_turn(head, read)
    step = read(slice(AT["step"].start, AT["step"].start + CLAUSES)) / np.float32(1 - TURN_SHARE)
    head.match(read.one - step, read(AT["clause"]), -OTHER_CLAUSE)
    head.always(read.flag("begin"), 2 * OTHER_TURN + rest_score)


def _copy(read: Reader, rng: np.random.RandomState, table: Embedding) -> tuple[list[Head], dict[str, Array]]:
    """FETCH and TOOL, and where training may change them."""
    fetch, tool = Head(), Head()
    _this_clause(fetch, read, NOTHING_MATCHES)
    fetch.always(read.one - read.row("spanned") - read.flag("begin"), -OUTSIDE)
    fetch.match(read(AT["code"]), read(AT["mix"]), MATCH)
    offset, square = _offset(read), np.float32(SQUARE_UNIT) * read.row("square")
    fetch.match(square + 2 * offset + read.one, read.one, -OFFSET)  # -(i + 1 - j)^2, term by term
    fetch.match(offset + read.one, offset, 2 * OFFSET)
    fetch.match(read.one, square, -OFFSET)
    for flag, place in (("value", "opened"), ("path", "start"), ("select", "spaced")):  # a value's first token
        fetch.match(read.flag(flag), read.row(place), START)
    idle = read.one - read.row("value") + read.flag("rest")
    fetch.match(idle, read.flag("begin"), 4e6)
    spans = np.concatenate([read(AT[name]) for name in ("before", "start", "rooted")] + [ORDER * read(AT["origin"])])
    guess = (rng.randn(*spans.shape) * 0.05).astype(np.float32) * _columns("key")
    for n in (voc.KEYS.index(key) for key in voc.PATHS):  # a path begins with a slash
        guess[-3:-1] += 0.5 * read(AT["key"])[n]
    span = fetch.match(guess, spans, FITTING)
    fetch.q[span] /= PACE  # training moves all weights at one pace
    fetch.k[span] *= PACE
    fetch.carry(read(AT["emit"]), AT["out"], COPIED)
    for place, token, strength in (("stop", voc.CLOSE, 3 * COPIED), ("start", "/", 2 * COPIED)):
        row = fetch.carry(read.row(place), slice(0, 0))
        fetch.o[AT["out"], row[0]] = table.name[table.id(token)] * np.float32(strength)

    _this_clause(tool, read, math.log(WORDS_ANCHOR))
    tool.always(read.row("inside"), -INSIDE)
    tool.always(read.one - read.flag("unmarked") - read.flag("begin"), -INSIDE)
    words = tool.carry(read(AT["sense"]), WORDS, 6 * WORDS_ANCHOR)
    tool.carry(read.one - read.flag("begin"), AT["many"], WORDS_ANCHOR)

    learned = {f"{name}_proj.weight": zeros(HEADS * HEAD, WIDTH) for name in "qkv"}
    learned["q_proj.weight"][span] = _columns("key")
    learned["v_proj.weight"][[HEAD + row for row in words]] = _columns("sense")
    return [fetch, tool], learned


def _columns(*names: str) -> Array:
    mask = zeros(1, WIDTH)
    for name in names:
        mask[0, AT[name]] = 1
    return mask


def _output(read: Reader, rng: np.random.RandomState, table: Embedding) -> tuple[Array, Array]:
    """The output layer, and where training may change it: how what is due depends on the words that TOOL brought."""
    head, mask = zeros(voc.VOCABULARY, WIDTH), zeros(voc.VOCABULARY, WIDTH)
    head[:, AT["out"]] = table.name * np.float32(LOGIT / COPIED / read.gain[AT["out"].start])
    words = np.arange(WIDTH)[WORDS]
    done, greet = phrases.DONE_PARTS[0], phrases.GREETING_PARTS[0]
    tools = [tokens[0] for tokens in voc.OPENINGS.values()]
    for flag, choices in (("answer", ["<tool_call>", greet]), ("call", tools)):
        rows = table.ids(choices)
        head[rows] += np.float32(DUE + UNDUE) * read.flag(flag) - np.float32(UNDUE) * read.one
        head[np.ix_(rows, words)] = rng.randn(len(rows), SENSE).astype(np.float32) * 0.1
        mask[np.ix_(rows, [*words, FLAG[flag]])] = 1
    head[table.id(greet)] += np.float32(DUE + UNDUE) * read.flag("toolless")
    head[table.id(done)] = np.float32(2 * DUE) * (read.flag("answer") - read.row("many"))  # no word left to act on
    return head, mask
