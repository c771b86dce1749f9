"""A model's name to a running engine: which parts go together."""

from __future__ import annotations

import logging
from collections.abc import Callable
from pathlib import Path

from anyclaude_lab.engine.serve import kv
from anyclaude_lab.engine.serve.disk import PrefixFolder
from anyclaude_lab.engine.serve.model import LoadedModel, load_model
from anyclaude_lab.engine.serve.scheduler import Engine
from anyclaude_lab.engine.serve.store import PrefixStore
from anyclaude_lab.errors import AnyclaudeError

log = logging.getLogger(__name__)


def open_engine(
    model: str,
    *,
    window_tokens: int | None,
    memory_bytes: int,
    disk: Path | None,
    disk_bytes: int,
    disk_bits: int | None,
    warm: bool,
    on_failure: Callable[[AnyclaudeError], None],
) -> Engine:
    """An engine that loads `model` once it is started. `on_failure` is called from its thread if it cannot."""

    def load() -> tuple[LoadedModel, PrefixStore]:
        loaded = load_model(model, window_tokens=window_tokens)
        folder = PrefixFolder(disk.expanduser(), loaded.fingerprint, disk_bytes) if disk else None
        store = PrefixStore(lambda: kv.fresh(loaded.model), memory_bytes, folder, disk_bits)
        if folder is not None:
            folder.clean()
        heads = store.warm() if warm else 0
        log.info("%s is loaded; %d prefixes are warm", loaded.name, heads)
        return loaded, store

    return Engine(load, on_failure)
