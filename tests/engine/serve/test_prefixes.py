"""Laws of the index, against the plainest possible search."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.engine.serve.prefixes import LINE_ENTRIES, Entry, PrefixIndex, Rank, Tokens

IDS = st.lists(st.integers(0, 2), min_size=1, max_size=12)


@st.composite
def entry_lists(draw: st.DrawFn) -> list[Entry]:
    made = []
    cuttable = draw(st.booleans())  # all states of a model are of one kind
    for number in range(draw(st.integers(0, 10))):
        tokens = Tokens.of(draw(IDS))
        rank = draw(st.sampled_from(Rank))
        made.append(Entry(number, tokens, len(tokens), rank, cuttable, asked_tokens=len(tokens)))
    return made


def index_of(entries: Sequence[Entry], budget_bytes: int = 10**9) -> PrefixIndex:
    index = PrefixIndex()
    for entry in entries:
        index.put(entry, budget_bytes)
    return index


def common(one: Sequence[int], other: Sequence[int]) -> int:
    return sum(1 for _ in itertools.takewhile(lambda pair: pair[0] == pair[1], zip(one, other, strict=False)))


def ids_of(tokens: Tokens) -> list[int]:
    return [int.from_bytes(tokens.packed[i : i + 4], "little") for i in range(0, len(tokens.packed), 4)]


@given(IDS, IDS)
def test_common_beginnings_are_counted(one: list[int], other: list[int]) -> None:
    assert Tokens.of(one).common(Tokens.of(other)) == common(one, other)


@given(entry_lists(), IDS)
def test_the_longest_prefix_is_found(entries: list[Entry], prompt: list[int]) -> None:
    """As if nothing had ever been superseded, while there is room for all."""
    best = 0
    for entry in entries:
        tokens = ids_of(entry.tokens)
        if entry.cuttable:
            best = max(best, min(common(tokens, prompt), len(prompt) - 1))
    match = index_of(entries).find(Tokens.of(prompt))
    found = match.tokens if match else 0
    if all(entry.cuttable for entry in entries):
        assert found == best
    elif match:
        assert prompt[: len(match.entry.tokens)] == ids_of(match.entry.tokens)
        assert found == len(match.entry.tokens) < len(prompt)


@given(entry_lists(), IDS)
def test_what_is_found_serves(entries: list[Entry], prompt: list[int]) -> None:
    match = index_of(entries).find(Tokens.of(prompt))
    if match is not None:
        assert 0 < match.tokens < len(prompt)
        assert ids_of(match.entry.tokens)[: match.tokens] == prompt[: match.tokens]


@given(entry_lists(), st.integers(0, 60))
def test_the_budget_holds_after_every_step(entries: list[Entry], budget_bytes: int) -> None:
    index = PrefixIndex()
    for entry in entries:
        index.put(entry, budget_bytes)
        assert index.size_bytes <= budget_bytes


@given(entry_lists(), IDS, st.integers(0, 60))
def test_a_side_call_never_takes_anything_from_a_conversation(
    entries: list[Entry], side: list[int], budget_bytes: int
) -> None:
    index = index_of(entries, budget_bytes)
    before = {entry.id for entry in index if entry.rank is not Rank.SIDE}
    index.put(Entry(99, Tokens.of(side), len(side), Rank.SIDE), budget_bytes)
    assert before <= {entry.id for entry in index}


@given(entry_lists(), st.integers(0, 60))
def test_dropped_ids_are_told_exactly_once(entries: list[Entry], budget_bytes: int) -> None:
    index, told = PrefixIndex(), []
    for entry in entries:
        told += index.put(entry, budget_bytes)
    assert len(told) == len(set(told))
    assert {entry.id for entry in entries} == set(told) | {entry.id for entry in index}


def test_the_least_recently_used_conversation_goes_first() -> None:
    index = index_of([Entry(n, Tokens.of([n] * 10), 10) for n in range(3)], 30)
    index.used(0)
    assert index.put(Entry(3, Tokens.of([3] * 10), 10), 30) == [1]


def test_side_calls_go_before_conversations_and_heads_last() -> None:
    ranks = (Rank.HEAD, Rank.CONVERSATION, Rank.SIDE)
    index = index_of([Entry(n, Tokens.of([n] * 10), 10, rank) for n, rank in enumerate(ranks)])
    assert [index.fit(size) for size in (20, 10, 0)] == [[2], [1], [0]]


def test_of_a_line_that_cannot_be_cut_only_the_last_ends_stay() -> None:
    line = [Entry(n, Tokens.of([1] * (n + 1)), 1, cuttable=False) for n in range(6)]
    assert [entry.id for entry in index_of(line)] == list(range(6))[-1 - LINE_ENTRIES :]


def test_a_longer_prefix_stands_in_for_a_shorter_one() -> None:
    index = index_of([Entry(0, Tokens.of([1, 2]), 2), Entry(1, Tokens.of([1, 2, 3]), 3)])
    assert [entry.id for entry in index] == [1]


def test_a_side_call_that_goes_on_from_a_conversation_does_not_stand_in_for_it() -> None:
    index = index_of([Entry(0, Tokens.of([1, 2]), 2), Entry(1, Tokens.of([1, 2, 3]), 3, Rank.SIDE)])
    assert [entry.id for entry in index] == [0, 1]
