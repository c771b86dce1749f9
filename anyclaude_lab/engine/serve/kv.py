"""The state of a model's layers: copied, cut shorter, measured. Only for the thread that owns mlx.

Arrays of mlx never change: a copy shares its buffers with the original until one of them grows.
"""

from __future__ import annotations

import copy
from typing import Any

import mlx.core as mx
from mlx_lm.models.cache import KVCache, can_trim_prompt_cache, make_prompt_cache, trim_prompt_cache

State = list[Any]  # one cache object of mlx-lm for each layer
GROUP_SIZES = (64, 32)


def fresh(model: Any) -> State:
    """The state before the first token."""
    state: State = make_prompt_cache(model)
    return state


def settle(state: State) -> None:
    """Compute what was only asked for."""
    mx.eval([layer.state for layer in state])


def grows_only(state: State) -> bool:
    """Whether every layer keeps all it has seen, so that it can be cut anywhere, at any time."""
    return all(type(layer) is KVCache for layer in state)


def cuttable(state: State) -> bool:
    """Whether it can be cut as it is now: a rotating layer can until it is full."""
    return bool(can_trim_prompt_cache(state))


def first(state: State, tokens: int, had: int) -> State:
    """A copy of the first `tokens` of the `had` tokens that `state` stands for; fewer only where it is cuttable."""
    if grows_only(state):
        return [_first_of_layer(layer, tokens) for layer in state]
    forked = copy.deepcopy(state)
    if tokens < had:
        trim_prompt_cache(forked, had - tokens)
    return forked


def cut(state: State, tokens: int, had: int) -> None:
    """Drop what is behind the first `tokens`, in place."""
    if tokens < had:
        trim_prompt_cache(state, had - tokens)


def size_bytes(state: State) -> int:
    """What it holds in memory; shared buffers count for each holder."""
    return sum(layer.nbytes for layer in state if not layer.empty())


def alike(state: State, other: State, tokens: int) -> bool:
    """Whether `state` has the layers of `other`, and stands for `tokens` tokens as far as they tell."""
    kinds = [[type(layer) for layer in each] for each in (state, other)]
    return kinds[0] == kinds[1] and all(layer.offset == tokens for layer in state if type(layer) is KVCache)


def quantised(state: State, bits: int) -> State | None:
    """A smaller copy for the disk; None where a layer cannot be quantised."""
    if not grows_only(state):
        return None
    widths = {array.shape[-1] for layer in state for array in (layer.keys, layer.values)}
    group = next((size for size in GROUP_SIZES if all(width % size == 0 for width in widths)), None)
    return None if group is None else [layer.to_quantized(group_size=group, bits=bits) for layer in state]


def cast(state: State, dtype: mx.Dtype) -> State | None:
    """A copy in another type; None where a layer cannot be cast."""
    return [_cast_layer(layer, dtype) for layer in state] if grows_only(state) else None


def dtype_name(state: State) -> str:
    """Such as `float32`; "" where layers have none of their own."""
    return str(state[0].keys.dtype).rpartition(".")[2] if grows_only(state) and not state[0].empty() else ""


def compact(state: State) -> State:
    """The same without the room that layers keep for growing."""
    if grows_only(state):
        for layer in state:
            layer.keys, layer.values = mx.contiguous(layer.keys), mx.contiguous(layer.values)
    return state


def whole(state: State) -> State:
    """`quantised` undone, so that generation stays on the plain path."""
    return [_dequantised(layer) if type(layer).__name__ == "QuantizedKVCache" else layer for layer in state]


def _first_of_layer(layer: KVCache, tokens: int) -> KVCache:
    part = KVCache()
    if layer.keys is not None:
        part.keys, part.values = layer.keys[..., :tokens, :], layer.values[..., :tokens, :]
        part.offset = tokens
    return part


def _cast_layer(layer: KVCache, dtype: mx.Dtype) -> KVCache:
    part = _first_of_layer(layer, layer.offset)
    if part.keys is not None:
        part.keys, part.values = part.keys.astype(dtype), part.values.astype(dtype)
    return part


def _dequantised(layer: Any) -> KVCache:
    plain = KVCache()
    plain.keys, plain.values = (_unpacked(layer, *parts) for parts in (layer.keys, layer.values))
    plain.offset = layer.offset
    return plain


def _unpacked(layer: Any, packed: mx.array, scales: mx.array, biases: mx.array) -> mx.array:
    array: mx.array = mx.dequantize(packed, scales, biases, group_size=layer.group_size, bits=layer.bits)
    return array[..., : layer.offset, :]
