"""The next token out of a model's scores. Every request draws from its own seed, so that others cannot change it."""

from __future__ import annotations

import secrets
from collections.abc import Callable
from dataclasses import dataclass

import mlx.core as mx
from mlx_lm.sample_utils import apply_min_p, apply_top_k, apply_top_p

Pick = Callable[[mx.array], mx.array]  # scores of shape (1, vocabulary) -> token ids of shape (1,)


@dataclass(frozen=True, slots=True)
class Sampling:
    """What a request asks for. A temperature of 0 takes the best token."""

    temperature: float = 0.0
    top_p: float = 1.0
    top_k: int = 0
    min_p: float = 0.0
    seed: int | None = None


def picker(sampling: Sampling, banned: tuple[int, ...] = ()) -> Pick:
    """The way to choose each next token of one request; `banned` ones never come."""
    choose = _best if sampling.temperature == 0 else _draw(sampling)

    def pick(scores: mx.array) -> mx.array:
        if banned:
            scores[:, list(banned)] = -mx.inf
        return choose(scores)

    return pick


def _best(scores: mx.array) -> mx.array:
    return mx.argmax(scores, axis=-1)


def _draw(sampling: Sampling) -> Pick:
    seed = sampling.seed if sampling.seed is not None else secrets.randbits(32)
    key = mx.random.key(seed & 0xFFFF_FFFF_FFFF_FFFF)

    def draw(scores: mx.array) -> mx.array:
        nonlocal key
        logprobs = scores - mx.logsumexp(scores, axis=-1, keepdims=True)
        if 0 < sampling.top_p < 1:
            logprobs = apply_top_p(logprobs, sampling.top_p)
        if sampling.min_p > 0:
            logprobs = apply_min_p(logprobs, sampling.min_p)
        if 0 < sampling.top_k < logprobs.shape[-1]:
            logprobs = apply_top_k(logprobs, sampling.top_k)
        key, used = mx.random.split(key)
        return mx.random.categorical(logprobs / sampling.temperature, key=used)

    return draw
