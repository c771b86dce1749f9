"""A model's id names its family."""

from __future__ import annotations

import pytest

from anyclaude_lab.models.families import FAMILIES, GENERIC, family_of, parser_for, special_tokens
from tests.models.corpus import LS, LS_JSON, LS_LLAMA, hermes, parse, qwen, summary


@pytest.mark.parametrize(
    ("model_id", "name"),
    [
        ("mlx-community/Qwen3-Coder-30B-A3B-Instruct-4bit", "qwen"),
        ("QwQ-32B", "qwen"),
        ("DeepSeek-R1-Distill-Qwen-7B", "qwen"),
        ("NousResearch/Hermes-3-Llama-3.1-8B", "hermes"),
        ("mistralai/Devstral-Small-2507", "mistral"),
        ("mixtral:8x7b", "mistral"),
        ("ministral-8b", "mistral"),
        ("/models/Meta-Llama-3.3-70B-Instruct", "llama"),
        ("gemma3:27b", "gemma"),
        ("z-ai/glm-4.6", "generic"),
        ("", "generic"),
        (None, "generic"),
    ],
)
def test_family_of(model_id: str | None, name: str) -> None:
    assert family_of(model_id).name == name
    assert special_tokens(model_id) == family_of(model_id).special_tokens


@pytest.mark.parametrize(
    ("model_id", "text"),
    [
        ("qwen2.5-coder", hermes(LS_JSON)),
        ("qwen2.5-coder", f"```json\n{LS_JSON}\n```"),
        ("qwen3-coder", qwen("Bash", command="ls -la")),
        ("hermes-2-pro", hermes(LS_JSON)),
        ("devstral", '[TOOL_CALLS]Bash[ARGS]{"command": "ls -la"}'),
        ("llama-3.2", '[Bash(command="ls -la")]'),
        ("llama-3.1", LS_LLAMA),
        ("gemma-3", f"```json\n{LS_JSON}\n```"),
        ("something else", hermes(LS_JSON)),
    ],
)
def test_each_family_writes_calls_its_own_way(model_id: str, text: str) -> None:
    assert summary(parse(parser_for(model_id), [text])) == (LS,)


def test_rows_are_reachable() -> None:
    for family in FAMILIES:
        assert all(family_of(part) is family for part in family.matches)
        assert family.special_tokens
    assert not GENERIC.matches
