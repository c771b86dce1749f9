"""The model of the prompt cache, against its rules and against the real mlx-lm code."""

from __future__ import annotations

import random
from typing import Any

import pytest

from anyclaude_lab.lab.metrics.reuse import IdealCache, MlxCache, cache_efficiency, tokens_of
from tests.requirements import require_mlx

HEAD = list(range(100, 150))


def conversation(name: int, turns: int) -> list[tuple[list[int], list[int]]]:
    """(prompt, answer) of growing requests behind a head that all share."""
    history, found = [*HEAD, name], []
    for turn in range(turns):
        history = [*history, 1000 + turn, name]
        answer = [5000 + name, turn]
        found.append((list(history), answer))
        history = [*history, *answer]
    return found


def interleaved(conversations: int, turns: int) -> list[tuple[list[int], list[int]]]:
    each = [conversation(name, turns) for name in range(conversations)]
    return [each[name][turn] for turn in range(turns) for name in range(conversations)]


def replay(cache: MlxCache | IdealCache, requests: list[tuple[list[int], list[int]]]) -> list[int]:
    reused = []
    for prompt, answer in requests:
        reused.append(cache.reused(tokens_of(prompt)))
        cache.store(tokens_of(prompt), tokens_of([*prompt, *answer]))
    return reused


def test_a_conversation_reuses_all_it_said() -> None:
    requests = conversation(7, 5)
    assert replay(MlxCache(), requests) == [0, *(len(p) + len(a) for p, a in requests[:-1])]


def test_one_token_is_always_computed() -> None:
    assert replay(MlxCache(), [([1, 2, 3], [4]), ([1, 2, 3], [4])]) == [0, 2]


@pytest.mark.parametrize(("conversations", "whole"), [(6, True), (9, True), (12, False)])
def test_more_conversations_than_the_cache_holds_leave_only_the_shared_head(conversations: int, whole: bool) -> None:
    requests = interleaved(conversations, 3)
    expected, ideal = replay(MlxCache(), requests), replay(IdealCache(), requests)
    assert (expected[conversations:] == ideal[conversations:]) is whole
    if not whole:
        assert set(expected[conversations:]) == {len(HEAD)}


def test_layers_that_cannot_be_cut_back_need_a_whole_beginning() -> None:
    """That is the prompt before an answer without its last token, or the two together."""
    requests = [([1, 2, 3, 4], [9]), ([1, 2, 5, 6], [9]), ([1, 2, 3, 7], [9]), ([1, 2, 3, 4, 9, 6], [9])]
    assert replay(MlxCache(trimmable=False), requests) == [0, 0, 3, 5]
    assert replay(MlxCache(), requests) == [0, 2, 3, 5]


def test_a_rotating_window_can_be_cut_until_it_wraps() -> None:
    requests = [([1, 2, 3, 4, 5], [9]), ([1, 2, 6, 7], [9])]
    assert replay(MlxCache(window_tokens=4), requests) == [0, 0]
    assert replay(MlxCache(window_tokens=7), requests) == [0, 2]


@pytest.mark.engine
@pytest.mark.parametrize(
    ("layer", "rules"),
    [("plain", {}), ("recurrent", {"trimmable": False}), ("rotating", {"window_tokens": 64})],
)
def test_the_real_cache_of_mlx_lm_agrees(layer: str, rules: dict[str, Any]) -> None:
    """As `mlx_lm.server` fills it: where the system prompt ends, before the answer, and behind it."""
    require_mlx()
    from mlx_lm.models.cache import ArraysCache, KVCache, LRUPromptCache, RotatingKVCache

    make = {"plain": KVCache, "recurrent": lambda: ArraysCache(1), "rotating": lambda: RotatingKVCache(64)}[layer]
    real, model, differences = LRUPromptCache(), MlxCache(**rules), []

    def insert(tokens: list[int], kind: str) -> None:
        state: Any = make()
        if layer != "recurrent":
            state.offset = len(tokens)
        real.insert_cache("model", tokens, [state], cache_type=kind)

    rng = random.Random(3)
    requests = [request for n in (2, 5, 12) for request in interleaved(n, 4)]
    requests += [
        ([*HEAD[: rng.randint(1, 50)], *rng.choices(range(3), k=9)], rng.choices(range(3), k=2)) for _ in range(200)
    ]
    for prompt, answer in requests:
        _, rest = real.fetch_nearest_cache("model", prompt)
        reused, by_user = len(prompt) - len(rest), rng.random() < 0.5
        if min(reused, len(prompt) - 1) != (expected := model.reused(tokens_of(prompt))):
            differences.append((prompt, reused, expected))
        system_tokens = rng.choice((0, 20)) if by_user and len(prompt) > 21 else 0
        if reused < system_tokens:
            insert(prompt[:system_tokens], "system")
        if reused < len(prompt) - 1:
            insert(prompt[:-1], "user" if by_user else "assistant")
        insert([*prompt, *answer], "assistant")
        stored = tokens_of([*prompt, *answer])
        model.store(tokens_of(prompt), stored, system_tokens=system_tokens, by_user=by_user)
    assert differences == []


def test_efficiency_is_judged_where_the_server_reports() -> None:
    assert cache_efficiency([None, 50, 0], [100, 50, 50]) == 0.5
    assert cache_efficiency([None], [10]) is None
