"""Writes models with random weights that mlx-lm loads: one for each way in which layers keep their state.

    plain      every layer keeps all keys and values: can be cut anywhere
    window     one layer keeps the last 48 only: can be cut until that is full
    recurrent  a state of fixed size: can never be cut
    pipeline   as plain, of a kind whose layers mlx-lm can share out among machines

A token is one byte, so that texts have as many tokens as letters. float32, because other types are slow on a CPU.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

WINDOW = 48
TEMPLATE = """\
{%- if tools %}<|im_start|>system
{% if messages[0].role == 'system' %}{{ messages[0].content }}
{% endif %}# Tools
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}A call: <tool_call>
{"name": ..., "arguments": ...}
</tool_call><|im_end|>
{% elif messages[0].role == 'system' %}<|im_start|>system
{{ messages[0].content }}<|im_end|>
{% endif %}
{%- for m in messages %}
{%- if m.role == 'function' %}{{ raise_exception('the role function is not known') }}{% endif %}
{%- if m.role != 'system' or not loop.first %}<|im_start|>{{ m.role }}
{{ m.content }}
{%- for call in m.tool_calls or [] %}<tool_call>
{{ call.function | tojson }}
</tool_call>{% endfor %}<|im_end|>
{% endif %}
{%- endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
SPECIAL = ("<|im_start|>", "<|im_end|>", "<tool_call>", "</tool_call>")


@dataclass(frozen=True, slots=True)
class Shape:
    """Of a transformer."""

    layers: int = 2
    width: int = 32
    heads: int = 2
    window_tokens: int = 32768


def write(folder: Path, kind: str = "plain", shape: Shape | None = None, *, seed: int = 0) -> Path:
    """Write config, tokenizer and weights. Returns `folder`."""
    import mlx.core as mx
    from mlx.utils import tree_flatten

    folder.mkdir(parents=True)
    config = _config(kind, shape or Shape()) | _tokenizer(folder)
    (folder / "config.json").write_text(json.dumps(config))
    mx.random.seed(seed)
    module = import_module(f"mlx_lm.models.{config['model_type']}")
    model = module.Model(module.ModelArgs.from_dict(config))
    # Larger than usual, so that every token of the prompt is felt in every token of the answer.
    weights = {name: array * 3 if array.ndim == 2 else array for name, array in tree_flatten(model.parameters())}
    mx.save_safetensors(str(folder / "model.safetensors"), weights, {"format": "mlx"})
    if kind == "pipeline":  # mlx-lm reads from it which file holds which layer
        index = {"metadata": {}, "weight_map": dict.fromkeys(weights, "model.safetensors")}
        (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    return folder


def _config(kind: str, shape: Shape) -> dict[str, Any]:
    if kind == "recurrent":
        return {
            "model_type": "mamba",
            "hidden_size": 32,
            "intermediate_size": 64,
            "state_size": 8,
            "num_hidden_layers": shape.layers,
            "conv_kernel": 4,
            "use_bias": False,
            "use_conv_bias": True,
            "time_step_rank": 2,
            "max_position_embeddings": shape.window_tokens,
        }
    if kind == "pipeline":
        return _transformer("qwen2", shape)
    layer_types = ["full_attention"] * shape.layers
    if kind == "window":
        layer_types[-1] = "sliding_attention"
    return _transformer("llama", shape) | {"layer_types": layer_types, "sliding_window": WINDOW}


def _transformer(model_type: str, shape: Shape) -> dict[str, Any]:
    return {
        "model_type": model_type,
        "hidden_size": shape.width,
        "num_hidden_layers": shape.layers,
        "intermediate_size": 2 * shape.width,
        "num_attention_heads": shape.heads,
        "num_key_value_heads": shape.heads,
        "rms_norm_eps": 1e-6,
        "tie_word_embeddings": False,
        "max_position_embeddings": shape.window_tokens,
    }


def _tokenizer(folder: Path) -> dict[str, Any]:
    """Write it; returns what the model's configuration says about it."""
    from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    tokenizer = Tokenizer(models.BPE(vocab={letter: i for i, letter in enumerate(alphabet)}, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(text, special=text[1] == "|", normalized=False) for text in SPECIAL])
    tokenizer.save(str(folder / "tokenizer.json"))
    about = {"tokenizer_class": "PreTrainedTokenizerFast", "eos_token": SPECIAL[1], "chat_template": TEMPLATE}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    return {"vocab_size": tokenizer.get_vocab_size(), "eos_token_id": tokenizer.token_to_id(SPECIAL[1])}
