"""The model of the prompt cache, against its rules and against the real mlx-lm code."""

from __future__ import annotations

import random

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
    requests = [([1, 2, 3, 4], [9]), ([1, 2, 3, 5], [9]), ([1, 2, 3, 4, 9, 6], [9])]
    assert replay(MlxCache(trimmable=False), requests) == [0, 0, 5]
    assert replay(MlxCache(), requests) == [0, 3, 5]


def test_a_rotating_window_can_be_cut_until_it_wraps() -> None:
    requests = [([1, 2, 3, 4], [9]), ([1, 2, 3, 5], [9])]
    assert replay(MlxCache(window_tokens=4), requests) == [0, 0]
    assert replay(MlxCache(window_tokens=6), requests) == [0, 3]


@pytest.mark.engine
def test_the_real_cache_of_mlx_lm_agrees() -> None:
    require_mlx()
    from mlx_lm.models.cache import KVCache, LRUPromptCache

    rng = random.Random(3)
    requests = [request for n in (2, 5, 12) for request in interleaved(n, 4)]
    requests += [
        ([*HEAD[: rng.randint(1, 50)], *rng.choices(range(3), k=9)], rng.choices(range(3), k=2)) for _ in range(200)
    ]
    real, model, differences = LRUPromptCache(), MlxCache(), []
    for prompt, answer in requests:
        _, rest = real.fetch_nearest_cache("model", prompt)
        expected = model.reused(tokens_of(prompt))
        if min(len(prompt) - len(rest), len(prompt) - 1) != expected:
            differences.append((prompt, expected))
        stored = [*prompt, *answer]
        layer = KVCache()
        layer.offset = len(stored)
        real.insert_cache("model", stored, [layer])
        model.store(tokens_of(prompt), tokens_of(stored))
    assert differences == []


def test_efficiency_is_judged_where_the_server_reports() -> None:
    assert cache_efficiency([None, 50, 0], [100, 50, 50]) == 0.5
    assert cache_efficiency([None], [10]) is None
