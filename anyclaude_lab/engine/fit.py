"""Whether a model fits in this machine's memory, and with how large a window: told before anything is loaded.

Memory holds the weights and the state of every token that is being worked on. Kept prefixes give way to it: they have
what is left.
"""

from __future__ import annotations

import json
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from anyclaude_lab.errors import SettingsError

# Of all memory. Metal keeps about three quarters for the accelerator; elsewhere the system needs some.
USABLE = 0.75 if sys.platform == "darwin" else 0.9
STEP_TOKENS = 1024
GB = 1e9
ATTENTION = ("full_attention", "attention")


@dataclass(frozen=True, slots=True)
class Fit:
    """Bytes. `state_bytes` is that of one token in all layers that keep every token; None where it is not known."""

    weights_bytes: int
    state_bytes: int | None
    usable_bytes: int
    trained_tokens: int | None

    @property
    def largest_tokens(self) -> int | None:
        """The largest window that fits, in steps of 1024 tokens; None where it is not known."""
        if not self.state_bytes:
            return None
        return (self.usable_bytes - self.weights_bytes) // self.state_bytes // STEP_TOKENS * STEP_TOKENS

    def needed_bytes(self, window_tokens: int) -> int:
        """Weights and the state of a full window."""
        return self.weights_bytes + (self.state_bytes or 0) * window_tokens

    def told(self, window_tokens: int) -> str:
        """What a full window needs, and what there is."""
        return (
            f"weights {self.weights_bytes / GB:.1f} GB and a full window of {window_tokens} tokens "
            f"{(self.state_bytes or 0) * window_tokens / GB:.1f} GB; {self.usable_bytes / GB:.1f} GB can be used"
        )


def fit_of(folder: Path, usable_bytes: int | None = None) -> Fit:
    """Read from the model's files."""
    config = _config(folder)
    weights = sum(file.stat().st_size for file in folder.glob("*.safetensors"))
    usable = int(psutil.virtual_memory().total * USABLE) if usable_bytes is None else usable_bytes
    return Fit(weights, _state_bytes(config), usable, _number(config, "max_position_embeddings"))


def fitting_window(folder: Path, asked_tokens: int | None, usable_bytes: int | None = None) -> int | None:
    """`asked_tokens` if it fits; where none is asked for, the trained window or the largest that fits.

    Raises SettingsError where the weights alone, or what was asked for, do not fit. None: no window is known.
    """
    fit = fit_of(folder, usable_bytes)
    largest, wanted = fit.largest_tokens, asked_tokens or fit.trained_tokens
    if fit.weights_bytes > fit.usable_bytes or (largest is not None and largest < STEP_TOKENS):
        raise SettingsError(
            f"{folder.name} does not fit in this machine's memory: {fit.told(STEP_TOKENS)}. "
            "Choose a smaller or a more strongly quantised model."
        )
    if largest is None or wanted is None or wanted <= largest:
        return wanted
    if asked_tokens is not None:
        raise SettingsError(
            f"A window of {asked_tokens} tokens does not fit in this machine's memory ({fit.told(asked_tokens)}): "
            f"the largest that fits is {largest} tokens."
        )
    return largest


def _state_bytes(config: dict[str, Any]) -> int | None:
    """Keys and values of one token. Latent caches (`kv_lora_rank`) and unusual layouts are not known here."""
    layers, hidden = _number(config, "num_hidden_layers"), _number(config, "hidden_size")
    heads = _number(config, "num_attention_heads")
    if layers is None or heads is None or "kv_lora_rank" in config:
        return None
    head_dim = _number(config, "head_dim") or (hidden // heads if hidden else None)
    if head_dim is None:
        return None
    kinds = config.get("layer_types")
    if isinstance(kinds, list):
        layers = sum(kind in ATTENTION for kind in kinds)  # the others keep a bounded state
    width = 4 if "float32" in str(config.get("torch_dtype") or config.get("dtype")) else 2
    return 2 * layers * (_number(config, "num_key_value_heads") or heads) * head_dim * width


def _config(folder: Path) -> dict[str, Any]:
    """The configuration of the part that reads text."""
    try:
        value = json.loads((folder / "config.json").read_bytes())
    except (OSError, ValueError):
        return {}
    if not isinstance(value, dict):
        return {}
    text = value.get("text_config")
    return value | text if isinstance(text, dict) else value


def _number(config: dict[str, Any], name: str) -> int | None:
    value = config.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else None
