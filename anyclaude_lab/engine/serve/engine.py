"""A model's name to a running engine: which parts go together, and the thread they work in."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from anyclaude_lab.engine.fit import fit_of, fitting_window
from anyclaude_lab.engine.mlx_server import check_model_folder
from anyclaude_lab.engine.serve import kv
from anyclaude_lab.engine.serve.disk import PrefixFolder
from anyclaude_lab.engine.serve.model import LoadedModel, load_model
from anyclaude_lab.engine.serve.render import Renderer
from anyclaude_lab.engine.serve.runner import Runner
from anyclaude_lab.engine.serve.scheduler import Scheduler
from anyclaude_lab.engine.serve.store import PrefixStore
from anyclaude_lab.errors import AnyclaudeError, BackendFailed

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Options:
    """What can be chosen. `window_tokens` None: as trained; `disk` None: nothing is kept on disk."""

    model: str
    memory_bytes: int
    window_tokens: int | None = None
    disk: Path | None = None
    disk_bytes: int = 0
    disk_bits: int | None = None
    warm: bool = False
    grammar: bool = False  # tool calls are valid by construction


@dataclass(frozen=True, slots=True)
class Ready:
    """What answers once the model is loaded."""

    loaded: LoadedModel
    renderer: Renderer
    scheduler: Scheduler


class Engine:
    """Loads its model and generates in one thread of its own. `ready` is None while it loads.

    `on_failure` is called from that thread where the model cannot be served.
    """

    def __init__(self, options: Options, on_failure: Callable[[AnyclaudeError], None]) -> None:
        self.ready: Ready | None = None
        self._options, self._on_failure = options, on_failure
        self._thread = threading.Thread(target=self._run, name="generation", daemon=True)

    def start(self) -> None:
        """Begin to load."""
        self._thread.start()

    def stop(self, timeout_s: float = 10.0) -> None:
        """End after the step it is in; what is worth it is written to disk."""
        if self.ready is not None:
            self.ready.scheduler.stop()
            self._thread.join(timeout_s)

    def _run(self) -> None:
        try:
            self.ready = self._loaded()
            self.ready.scheduler.run()
        except AnyclaudeError as error:
            self._on_failure(error)
        except Exception as error:  # a server whose thread is gone would let everybody wait
            why = " ".join(str(error).split())[:200]
            model = self._options.model[:80]
            self._on_failure(BackendFailed(f"The model {model} cannot be served ({type(error).__name__}: {why})."))

    def _window(self) -> int | None:
        """The window that fits beside the weights. Raises SettingsError where none does."""
        asked, folder = self._options.window_tokens, Path(self._options.model).expanduser()
        if not folder.is_dir():
            return asked
        check_model_folder(folder)
        window = fitting_window(folder, asked)
        log.info("a full window of %s tokens needs: %s", window, fit_of(folder).told(window or 0))
        return window

    def _loaded(self) -> Ready:
        options = self._options
        loaded = load_model(options.model, window_tokens=self._window())
        renderer = Renderer(loaded, grammar=options.grammar)
        folder = None
        if options.disk is not None:
            folder = PrefixFolder(options.disk.expanduser(), loaded.fingerprint, options.disk_bytes)
            folder.clean()
        store = PrefixStore(lambda: kv.fresh(loaded.model), options.memory_bytes, folder, options.disk_bits)
        heads = store.warm() if options.warm else 0
        log.info("%s is loaded; prefixes read from disk: %d", loaded.name, heads)
        return Ready(loaded, renderer, Scheduler(Runner(loaded), store))
