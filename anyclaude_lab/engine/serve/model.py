"""A model that mlx-lm has loaded, and everything about it that serving needs."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyclaude_lab.engine.mlx_server import HUB_ID, check_model_folder, file_stamp, package_version
from anyclaude_lab.errors import SettingsError


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """`model` and `tokenizer` are mlx-lm's; `fingerprint` changes with whatever changes the state of a prefix."""

    name: str
    model: Any = field(repr=False)
    tokenizer: Any = field(repr=False)
    window_tokens: int | None
    end_tokens: frozenset[int]
    fingerprint: str

    def detokenizer(self) -> Any:
        """A new one, for one answer."""
        return self.tokenizer.detokenizer


def load_model(name: str, *, window_tokens: int | None = None) -> LoadedModel:
    """Load a folder or a hub id. Raises SettingsError with one sentence where it cannot be served."""
    path = Path(name).expanduser()
    if path.exists() or not HUB_ID.fullmatch(name):
        check_model_folder(path)
    model, tokenizer, config = _load(str(path) if path.exists() else name)
    if tokenizer.chat_template is None:
        raise SettingsError(f"The tokenizer of {name} has no chat template, which a model that chats needs.")
    return LoadedModel(
        name=_told_name(path) if path.exists() else name,
        model=model,
        tokenizer=tokenizer,
        window_tokens=window_tokens or _window(config),
        end_tokens=frozenset(tokenizer.eos_token_ids),
        fingerprint=_fingerprint(path, name, config),
    )


def _told_name(folder: Path) -> str:
    """The folder's name; for a snapshot in the hub's cache, whose name is a hash, the model's id."""
    parts = folder.absolute().parts
    if len(parts) > 2 and parts[-2] == "snapshots" and parts[-3].startswith("models--"):
        return parts[-3].removeprefix("models--").replace("--", "/")
    return parts[-1]


def _load(name: str) -> tuple[Any, Any, dict[str, Any]]:
    from mlx_lm import load
    from mlx_lm.generate import maybe_set_recommended_wired_limit

    try:
        # quirk(transformers): where nothing is said of a tokenizer's own code, it asks on standard input, and runs it.
        model, tokenizer, config = load(name, tokenizer_config={"trust_remote_code": False}, return_config=True)
        maybe_set_recommended_wired_limit()  # on Metal the weights then stay where the accelerator can reach them
    except Exception as error:
        raise SettingsError(_why_not(name, error)) from None
    return model, tokenizer, config


def _why_not(name: str, error: Exception) -> str:
    """mlx-lm's complaints, told apart by their words."""
    said = " ".join(str(error).split())
    if "not supported" in said and "Model type" in said:
        return (
            f"mlx-lm {package_version('mlx-lm')} cannot run {name} ({said}) "
            "A newer release may; or serve it with another program and set LOCAL_URL."
        )
    if "trust_remote_code" in said:
        return (
            f"{name} needs Python code that came with it, which is not run here. "
            "Choose a model without, or serve it with another program and set LOCAL_URL."
        )
    if isinstance(error, RuntimeError) and ("offset" in said or "safetensors" in said):
        return f"The weights of {name} are incomplete or damaged ({said[:200]}): download the model again."
    return f"mlx-lm cannot load {name} ({type(error).__name__}: {said[:300]}): is the download complete?"


def _window(config: dict[str, Any]) -> int | None:
    text = config.get("text_config")
    for part in (config, text if isinstance(text, dict) else {}):
        tokens = part.get("max_position_embeddings")
        if isinstance(tokens, int) and tokens > 0:
            return tokens
    return None


def _fingerprint(path: Path, name: str, config: dict[str, Any]) -> str:
    stamps = sorted(file_stamp(file) for file in path.iterdir() if file.is_file()) if path.is_dir() else [name]
    told = [stamps, config, package_version("mlx-lm"), package_version("mlx")]
    return hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode()).hexdigest()[:24]
