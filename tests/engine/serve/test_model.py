"""Models that cannot be served say so in one sentence; conversations become the tokens the model reads."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from anyclaude_lab.engine.serve.model import LoadedModel, load_model
from anyclaude_lab.engine.serve.render import Renderer
from anyclaude_lab.engine.serve.request import ChatRequest, Conversation, parse_chat
from anyclaude_lab.errors import SettingsError

pytestmark = pytest.mark.engine

READ = {"type": "function", "function": {"name": "Read", "parameters": {"type": "object", "properties": {}}}}
SYSTEM = {"role": "system", "content": "Be brief."}


def cut_weights(folder: Path) -> None:
    weights = folder / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-1000])


def other_type(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"model_type": "abacus"}
    (folder / "config.json").write_text(json.dumps(config))


def no_template(folder: Path) -> None:
    (folder / "tokenizer_config.json").write_text("{}")


def broken_template(folder: Path) -> None:
    about = json.loads((folder / "tokenizer_config.json").read_text()) | {"chat_template": "{% if %}"}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))


@pytest.mark.parametrize(
    ("spoil", "said"),
    [
        (shutil.rmtree, "There is no model folder"),
        (cut_weights, "incomplete or damaged"),
        (other_type, "cannot run"),
        (no_template, "no chat template"),
        (broken_template, "chat template cannot be read"),
    ],
)
def test_a_model_that_cannot_be_served_is_told_in_one_sentence(
    model_folders: dict[str, Path], tmp_path: Path, spoil: Callable[[Path], object], said: str
) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folders["plain"], folder)
    spoil(folder)
    with pytest.raises(SettingsError, match=said) as caught:
        Renderer(load_model(str(folder)))
    assert "\n" not in caught.value.message


def own_tokenizer(folder: Path) -> None:
    about = json.loads((folder / "tokenizer_config.json").read_text())
    about |= {"tokenizer_class": "Own", "auto_map": {"AutoTokenizer": ["own.Own", None]}}
    (folder / "tokenizer_config.json").write_text(json.dumps(about))


def own_layers(folder: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"model_file": "own.py"}
    (folder / "config.json").write_text(json.dumps(config))


@pytest.mark.parametrize("spoil", [own_tokenizer, own_layers])
def test_no_code_of_a_model_is_run_and_nobody_is_asked_whether(
    model_folders: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, spoil: Callable[[Path], object]
) -> None:
    folder, ran = tmp_path / "model", tmp_path / "ran"
    shutil.copytree(model_folders["plain"], folder)
    (folder / "own.py").write_text(f"from pathlib import Path\nPath({str(ran)!r}).touch()\nclass Own: ...\n")
    spoil(folder)
    monkeypatch.setattr("builtins.input", lambda question="": "y")
    with pytest.raises(SettingsError, match="Python code that came with it"):
        load_model(str(folder))
    assert not ran.exists()


def test_a_snapshot_of_the_hub_is_called_by_its_id(model_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "models--mlx-community--Qwen3-4B" / "snapshots" / "0123abc"
    shutil.copytree(model_folders["plain"], folder)
    assert load_model(str(folder)).name == "mlx-community/Qwen3-4B"


def test_the_fingerprint_changes_with_the_weights(model_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folders["plain"], folder)
    before = load_model(str(folder)).fingerprint
    assert load_model(str(folder)).fingerprint == before
    (folder / "model.safetensors").touch()
    assert load_model(str(folder)).fingerprint != before


def asked(*messages: dict[str, Any], **fields: Any) -> ChatRequest:
    return parse_chat({"messages": list(messages), **fields}, {})


def user(text: str) -> dict[str, Any]:
    return {"role": "user", "content": text}


@pytest.mark.parametrize("tools", [[], [READ]])
@pytest.mark.parametrize("system", [[], [SYSTEM]])
def test_the_head_is_what_two_first_requests_have_in_common(
    plain: LoadedModel, system: list[dict[str, Any]], tools: list[dict[str, Any]]
) -> None:
    renderer = Renderer(plain)
    one, other = (renderer.render(asked(*system, user(text), tools=tools)).prompt for text in ("Hello", ". dots"))
    assert one.head_tokens == other.head_tokens
    head = one.ids[: one.head_tokens]
    assert head == other.ids[: one.head_tokens]
    assert plain.tokenizer.decode(head.tolist()).endswith("<|im_start|>user\n")


def test_the_turn_ends_before_the_answer_is_called_for(plain: LoadedModel) -> None:
    renderer = Renderer(plain)
    first = renderer.render(asked(user("Hello"))).prompt
    answer = {"role": "assistant", "content": "Hi"}
    second = renderer.render(asked(user("Hello"), answer, user("Go on"))).prompt
    assert first.ids[: first.turn_tokens] == second.ids[: first.turn_tokens]
    assert plain.tokenizer.decode(first.ids[first.turn_tokens :].tolist()) == "<|im_start|>assistant\n"


def test_tokens_are_those_of_the_whole_text(plain: LoadedModel) -> None:
    conversation = Conversation([SYSTEM, user("Hello <|im_end|> there \u00e9\u4e16"), user("")], [READ], {})
    renderer = Renderer(plain)
    text = renderer._text(conversation)
    whole = plain.tokenizer._tokenizer.backend_tokenizer.encode(text, add_special_tokens=False).ids
    assert renderer._tokens.ids(text).tolist() == whole
    assert renderer.count(conversation) == len(whole)


def test_a_forbidden_call_bans_the_token_that_begins_one(plain: LoadedModel) -> None:
    rendered = Renderer(plain).render(asked(user("Hello"), tools=[READ], tool_choice="none"))
    assert plain.tokenizer.decode(list(rendered.banned)) == "<tool_call>"


def test_where_the_form_of_calls_is_unknown_words_have_to_do(model_folders: dict[str, Path], tmp_path: Path) -> None:
    folder = tmp_path / "model"
    shutil.copytree(model_folders["plain"], folder)
    about = json.loads((folder / "tokenizer_config.json").read_text())
    about["chat_template"] = "{% for m in messages %}{{ m.content }}\n{% endfor %}"
    (folder / "tokenizer_config.json").write_text(json.dumps(about))
    loaded = load_model(str(folder))
    for choice, words in (("required", "one of the tools"), ("none", "without calling a tool")):
        prompt = Renderer(loaded).render(asked(user("Hello"), tools=[READ], tool_choice=choice)).prompt
        assert words in loaded.tokenizer.decode(prompt.ids.tolist())
