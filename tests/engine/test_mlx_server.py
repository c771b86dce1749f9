"""What is said about a model folder before a server is started for it, and one real start."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from pathlib import Path

import pytest

from anyclaude_lab.engine import mlx_server
from anyclaude_lab.engine.blas import first_usable
from anyclaude_lab.engine.lease import LeaseFolder
from anyclaude_lab.engine.mlx_server import check_model_folder, mlx_lm_server
from anyclaude_lab.engine.servers import shared_server
from anyclaude_lab.errors import SettingsError
from tests.requirements import require_mlx


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A folder that holds everything by name."""
    folder = tmp_path / "model"
    folder.mkdir()
    (folder / "config.json").write_text('{"model_type": "qwen2"}')
    (folder / "tokenizer.json").write_text("{}")
    (folder / "tokenizer_config.json").write_text('{"chat_template": "{{ messages }}"}')
    (folder / "model.safetensors").write_bytes(b"")
    return folder


def test_complete_folder_passes(folder: Path) -> None:
    check_model_folder(folder)


def test_template_may_be_a_file_of_its_own(folder: Path) -> None:
    (folder / "tokenizer_config.json").unlink()
    (folder / "chat_template.jinja").write_text("{{ messages }}")
    check_model_folder(folder)


@pytest.mark.parametrize(
    ("spoil", "named"),
    [
        (lambda f: (f / "config.json").unlink(), "config.json"),
        (lambda f: (f / "config.json").write_text("{"), "readable config.json"),
        (lambda f: (f / "config.json").write_text("{}"), "model_type"),
        (lambda f: (f / "config.json").write_text('["model_type"]'), "model_type"),
        (
            lambda f: (f / "model.safetensors.index.json").write_text('{"weight_map": {"a": [1], "b": 2}}'),
            "model.safetensors.index.json",
        ),
        (lambda f: (f / "tokenizer.json").unlink(), "tokenizer (none of"),
        (lambda f: (f / "tokenizer_config.json").write_text("{}"), "chat template"),
        (lambda f: (f / "model.safetensors").unlink(), "weights (*.safetensors)"),
        (
            lambda f: (f / "model.safetensors.index.json").write_text(
                '{"weight_map": {"a": "model-2-of-2.safetensors"}}'
            ),
            "model-2-of-2.safetensors",
        ),
    ],
)
def test_what_is_missing_is_named_in_one_sentence(folder: Path, spoil: Callable[[Path], object], named: str) -> None:
    spoil(folder)
    with pytest.raises(SettingsError) as raised:
        check_model_folder(folder)
    assert named in raised.value.message
    assert str(folder) in raised.value.message
    assert "\n" not in raised.value.message


def test_no_folder_and_a_file_are_told_apart(tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="no model folder"):
        check_model_folder(tmp_path / "absent")
    (tmp_path / "model.gguf").write_bytes(b"GGUF")
    with pytest.raises(SettingsError, match=r"llama\.cpp"):
        check_model_folder(tmp_path / "model.gguf")


def test_without_mlx_the_way_out_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlx_server, "find_spec", lambda name: None)
    with pytest.raises(SettingsError, match="Set LOCAL_URL"):
        mlx_lm_server(folder)


def test_local_folder_is_served_offline_and_a_hub_id_may_download(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(mlx_server, "find_spec", lambda name: object())
    local, hub = mlx_lm_server(folder), mlx_lm_server("mlx-community/Qwen3-4B-4bit")
    assert dict(local.environment)["HF_HUB_OFFLINE"] == "1"
    assert "HF_HUB_OFFLINE" not in dict(hub.environment)
    assert "mlx-community/Qwen3-4B-4bit" in hub.arguments


def test_replaced_weights_are_another_server(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(mlx_server, "find_spec", lambda name: object())
    before = mlx_lm_server(folder).fingerprint
    assert mlx_lm_server(str(folder)).fingerprint == before
    (folder / "model.safetensors").write_bytes(b"new weights")
    assert mlx_lm_server(folder).fingerprint != before


def test_blas_that_does_not_load_or_lacks_the_symbol_is_passed_over(tmp_path: Path) -> None:
    broken = tmp_path / "libopenblas.so.0"
    broken.write_bytes(b"not a library")
    assert first_usable([broken, tmp_path / "absent.so"]) is None


@pytest.mark.engine
async def test_real_server_answers_under_its_model_name_and_ends(tmp_path: Path) -> None:
    require_mlx()
    model = tmp_path / "model"
    subprocess.run([sys.executable, "-m", "tests.engine.tiny_model", str(model)], check=True, timeout=600)
    async with shared_server(
        mlx_lm_server(model), run_dir=tmp_path / "run", log_dir=tmp_path / "logs", grace_s=0
    ) as server:
        running = await server.running()
        body = {"model": running.model_name, "messages": [{"role": "user", "content": "hello"}], "max_tokens": 2}
        request = urllib.request.Request(
            f"{running.url}/v1/chat/completions", json.dumps(body).encode(), {"content-type": "application/json"}
        )
        with urllib.request.urlopen(request, timeout=60) as response:
            assert json.load(response)["usage"]["completion_tokens"] <= 2
        assert "BLAS: " in running.log_path.read_text()
        lease = LeaseFolder(next((tmp_path / "run").iterdir())).read()
        assert lease is not None
        assert lease.server is not None
        lease.keeper.process().kill()  # type: ignore[union-attr]  # it has started one
        deadline = time.monotonic() + 60
        while lease.server.alive:
            assert time.monotonic() < deadline, "mlx_lm.server outlives its killed keeper"
            time.sleep(0.05)
