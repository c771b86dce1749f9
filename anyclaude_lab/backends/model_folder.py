"""Where the files of a model lie on this machine, and what its configuration says."""

from __future__ import annotations

import os
from pathlib import Path

import orjson

from anyclaude_lab.wire.events import JsonObject

_CACHED = "models--"  # a model's folder in the cache: models--owner--name


def model_folder(name: str) -> Path | None:
    """The folder of a model: the name itself if it is one, else the newest snapshot in the Hugging Face cache."""
    try:
        folder = Path(name).expanduser()
        if folder.is_dir():
            return folder
        return _newest_snapshot(_hub_cache() / f"{_CACHED}{name.replace('/', '--')}") if name.count("/") == 1 else None
    except (OSError, RuntimeError, ValueError):  # servers call their models as they like: no name of a file, no user
        return None


def downloaded_models() -> list[tuple[str, Path]]:
    """Hub id and folder of every model in the Hugging Face cache, by name."""
    cached = sorted(_hub_cache().glob(f"{_CACHED}*"))
    found = [(path.name.removeprefix(_CACHED).replace("--", "/", 1), _newest_snapshot(path)) for path in cached]
    return [(name, folder) for name, folder in found if folder is not None]


def trained_window_tokens(name: str) -> int | None:
    """`max_position_embeddings` of a model whose files are here; None where they are not, or do not say."""
    folder = model_folder(name)
    config = _read_json(folder / "config.json") if folder else {}
    text_config = config.get("text_config")  # models that also see images keep it there
    for part in (config, text_config if isinstance(text_config, dict) else {}):
        tokens = part.get("max_position_embeddings")
        if isinstance(tokens, int) and tokens > 0:
            return tokens
    return None


def _newest_snapshot(cached: Path) -> Path | None:
    found = [path for path in cached.glob("snapshots/*") if (path / "config.json").is_file()]
    return max(found, key=lambda path: path.stat().st_mtime, default=None)


def _hub_cache() -> Path:
    """Source: huggingface_hub, environment variables HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME."""
    if cache := os.environ.get("HF_HUB_CACHE"):
        return Path(cache).expanduser()
    home = os.environ.get("HF_HOME") or Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "huggingface"
    return Path(home).expanduser() / "hub"


def _read_json(path: Path) -> JsonObject:
    try:
        value = orjson.loads(path.read_bytes())
    except (OSError, orjson.JSONDecodeError):
        return {}
    return value if isinstance(value, dict) else {}
