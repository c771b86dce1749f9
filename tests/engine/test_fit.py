"""What fits in memory, by arithmetic on a model's files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from anyclaude_lab.engine.fit import fit_of, fitting_window
from anyclaude_lab.errors import SettingsError

# Keys and values of 4 layers x 2 heads x 64 numbers of 2 bytes: 2 * 4 * 2 * 64 * 2.
STATE_BYTES = 2048
CONFIG = {
    "num_hidden_layers": 4,
    "num_attention_heads": 8,
    "num_key_value_heads": 2,
    "hidden_size": 512,
    "max_position_embeddings": 32_768,
    "torch_dtype": "bfloat16",
}
WEIGHTS_BYTES = 1_000_000


def model(folder: Path, **changes: Any) -> Path:
    (folder / "config.json").write_text(json.dumps(CONFIG | changes))
    (folder / "model.safetensors").write_bytes(bytes(WEIGHTS_BYTES))
    return folder


@pytest.mark.parametrize(
    ("changes", "state_bytes"),
    [
        ({}, STATE_BYTES),
        ({"torch_dtype": "float32"}, 2 * STATE_BYTES),
        ({"head_dim": 128}, 2 * STATE_BYTES),
        ({"layer_types": ["full_attention", "sliding_attention"] * 2}, STATE_BYTES // 2),
        ({"num_hidden_layers": None, "text_config": {"num_hidden_layers": 8}}, 2 * STATE_BYTES),
        ({"kv_lora_rank": 512}, None),
        ({"num_attention_heads": "many"}, None),
    ],
)
def test_bytes_of_one_token(changes: dict[str, Any], state_bytes: int | None, tmp_path: Path) -> None:
    assert fit_of(model(tmp_path, **changes)).state_bytes == state_bytes


def usable(window_tokens: int) -> int:
    return WEIGHTS_BYTES + window_tokens * STATE_BYTES


def test_the_trained_window_is_cut_to_what_fits(tmp_path: Path) -> None:
    folder = model(tmp_path)
    assert fitting_window(folder, None, usable(40_000)) == 32_768
    assert fitting_window(folder, None, usable(8192 + 500)) == 8192
    assert fitting_window(folder, 4096, usable(8192)) == 4096


def test_what_was_asked_for_and_does_not_fit_names_what_does(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="the largest that fits is 8192 tokens"):
        fitting_window(model(tmp_path), 16_384, usable(8192))


def test_weights_that_do_not_fit_are_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="does not fit in this machine's memory"):
        fitting_window(model(tmp_path), None, WEIGHTS_BYTES // 2)


def test_an_unknown_layout_is_taken_at_its_word(tmp_path: Path) -> None:
    assert fitting_window(model(tmp_path, kv_lora_rank=512), None, usable(10)) == 32_768
