"""What a node is taken to have computed."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.backends.cluster.seen import BLOCK_BYTES, BLOCK_TOKENS, Seen, blocks_of
from anyclaude_lab.wire.request import Request
from tests.backends.calls import make_request

AGE_S = 100.0
names = st.lists(st.binary(min_size=1, max_size=2), max_size=20, unique=True)


def conversation(*texts: str, system: str = "You help.") -> Request:
    turns = [{"role": "user" if i % 2 == 0 else "assistant", "content": text} for i, text in enumerate(texts)]
    return make_request(system=[{"type": "text", "text": system}], messages=turns)


def seen(tokens: int = 1_000_000) -> Seen:
    return Seen(tokens, AGE_S)


def test_a_conversation_that_grew_shares_all_it_was() -> None:
    before, after = (blocks_of(conversation(*["word " * 1000] * turns)) for turns in (3, 5))
    assert len(after) > len(before) > 10
    memory = seen()
    memory.add(before, 0)
    assert memory.shared(after, 1) == len(before) == memory.shared(before, 1)


def test_what_differs_at_the_start_shares_nothing() -> None:
    memory = seen()
    memory.add(blocks_of(conversation("word " * 5000)), 0)
    assert memory.shared(blocks_of(conversation("word " * 5000, system="You harm.")), 0) == 0


@given(st.text(max_size=50), st.integers(0, 9 * BLOCK_BYTES))
def test_shared_is_the_common_beginning_in_whole_blocks(word: str, at: int) -> None:
    text = "a" * 10 * BLOCK_BYTES
    one, other = blocks_of(conversation(text)), blocks_of(conversation(text[:at] + "b" + text[at + 1 :]))
    memory = seen()
    memory.add(one, 0)
    assert at // BLOCK_BYTES <= memory.shared(other, 0) <= at // BLOCK_BYTES + 1
    assert len(one) == len(other)


@given(st.lists(names, max_size=10), st.integers(0, 30))
def test_it_holds_no_more_than_it_may_and_gives_up_ends_before_beginnings(
    prompts: list[list[bytes]], room: int
) -> None:
    memory = seen(room * BLOCK_TOKENS)
    for prompt in prompts:
        memory.add(prompt, 0)
    assert len(memory._used) <= room
    if prompts:
        assert memory.shared(prompts[-1], 0) == min(room, len(prompts[-1]))


def test_what_is_old_or_forgotten_counts_no_more() -> None:
    memory, blocks = seen(), (b"a", b"b", b"c")
    memory.add(blocks[:2], 0)
    memory.add(blocks[:1], 50)
    assert memory.shared(blocks, AGE_S) == 2
    assert memory.shared(blocks, AGE_S + 1) == 1
    memory.forget()
    assert memory.shared(blocks, 50) == 0
