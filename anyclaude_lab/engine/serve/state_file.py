"""A prefix's state as one safetensors file: whole, as float16, or quantised. Only for the thread that owns mlx."""

from __future__ import annotations

from pathlib import Path

import mlx.core as mx
from mlx_lm.models.cache import load_prompt_cache, save_prompt_cache

from anyclaude_lab.engine.serve import kv
from anyclaude_lab.engine.serve.prefixes import Tokens


def small_copy(state: kv.State, bits: int | None) -> kv.State:
    """What is written: as computed (None), as float16 (16), or quantised (4, 8) where every layer can be."""
    small = None
    if bits == 16:
        small = kv.cast(state, mx.float16)
    elif bits:
        small = kv.quantised(state, bits)
    small = kv.compact(state) if small is None else small
    kv.settle(small)
    return small


def write_state(path: Path, tokens: Tokens, small: kv.State, dtype: str = "") -> None:
    """`dtype`: that of the model, which the state has again when it is read."""
    save_prompt_cache(str(path), small, {"tokens": tokens.packed.hex(), "dtype": dtype})


def load_state(path: Path) -> tuple[Tokens, kv.State]:
    """The state as it is worked on. Raises what mlx raises where the file is none of ours."""
    state, about = load_prompt_cache(str(path), return_metadata=True)
    state = kv.whole(state)
    if name := about.get("dtype"):
        state = kv.cast(state, getattr(mx, name)) or state
    kv.settle(state)
    return Tokens(bytes.fromhex(about["tokens"])), state
