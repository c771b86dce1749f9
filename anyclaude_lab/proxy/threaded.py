"""`lab.Proxy`: a proxy for notebooks and tests, in a thread of its own.

It has its own event loop, so that it answers cells that block the notebook's (a synchronous client, `subprocess.run`).
"""

from __future__ import annotations

import asyncio
import atexit
import os
import threading
import warnings
from collections.abc import Mapping
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.proxy.admin import metric_facts
from anyclaude_lab.proxy.client_environment import LOOPBACK, ClientEnvironment, client_environment, start_line
from anyclaude_lab.proxy.loop import run
from anyclaude_lab.proxy.running import RunningProxy, running
from anyclaude_lab.settings import home_folder, load_settings
from anyclaude_lab.wire.events import JsonObject

GIVEN_IN = "lab.Proxy"
AT_EXIT_S = 15.0  # for a proxy that nobody stopped to finish its recording


@dataclass(frozen=True, slots=True)
class _Started:
    proxy: RunningProxy
    window_tokens: int | None


class Proxy:
    """A proxy on a free port of this machine, for as long as a block lasts:

        async with lab.Proxy(record="traces", backends={"local": {"filterTier": "extreme"}}) as proxy:
            ...                                         # proxy.url, proxy.environment, proxy.metrics()

    Settings are named and nested as in `.anyclauderc.json`, in a mapping or as keyword arguments. They are as strong as
    flags: what they leave open, environment and files decide as they do for `anyclaude`. Only `port` (a free one),
    `host` (this machine) and the folder of logs and shared model servers (`state_folder`, by default `~/.anyclaude`)
    come from here alone. Raises SettingsError for a wrong name or value.
    """

    def __init__(
        self, settings: Mapping[str, Any] | None = None, /, *, state_folder: str | Path | None = None, **more: Any
    ) -> None:
        given = {"port": 0, "host": LOOPBACK[0], **_plain({**(settings or {}), **more}), "proxyOnly": True}
        self.settings, said = load_settings({}, os.environ, cwd=Path.cwd(), home=home_folder(), given=(GIVEN_IN, given))
        if self.settings.host not in LOOPBACK:
            raise SettingsError(
                f"{GIVEN_IN}: host is {self.settings.host}; allowed: {', '.join(LOOPBACK)}. "
                "For other machines start the proxy by itself: anyclaude --proxy-only --host ADDRESS."
            )
        for sentence in said:
            warnings.warn(sentence, stacklevel=2)
        self._state_folder = Path(state_folder) if state_folder is not None else home_folder() / ".anyclaude"
        self._thread: threading.Thread | None = None
        self._begun: Future[_Started] = Future()
        self._end: Future[None] = Future()

    async def __aenter__(self) -> Self:
        return await self.start()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> Self:
        """Listen; for a notebook whose cells share one proxy. Nothing happens where it listens already."""
        if self._thread is not None:
            return self
        self._begun, self._end = Future(), Future()
        self._thread = threading.Thread(target=self._run, name="anyclaude-proxy", daemon=True)
        self._thread.start()
        atexit.register(self._end_at_exit)
        begun = asyncio.wrap_future(self._begun)
        begun.add_done_callback(_taken_note_of)
        try:
            await asyncio.shield(begun)
        except BaseException:
            await self.stop()
            raise
        return self

    async def stop(self) -> None:
        """End the proxy and all it started; returns when recordings are written. May be called twice."""
        if self._thread is None:
            return
        self._tell_to_end()
        await asyncio.to_thread(self._thread.join)
        self._thread = None
        atexit.unregister(self._end_at_exit)

    @property
    def url(self) -> str:
        """Where clients ask, such as `http://127.0.0.1:49152`. Like all that follows, SettingsError before a start."""
        return self._running.proxy.url

    @property
    def model(self) -> str:
        """What clients call the model."""
        return self._running.proxy.model_id

    @property
    def environment(self) -> ClientEnvironment:
        """What Claude Code needs: `subprocess.run(["claude"], env=proxy.environment.applied_to(os.environ))`."""
        found = self._running
        return client_environment(
            self.settings, self.url, window_tokens=found.window_tokens, model_id=self.model, user_env=os.environ
        )

    @property
    def start_line(self) -> str:
        """The line that starts Claude Code behind this proxy in a terminal."""
        return start_line(self.settings, self.url, self.model, window_tokens=self._running.window_tokens)

    @property
    def recording_folder(self) -> Path | None:
        """Where sessions are recorded, whole once the proxy was stopped; None where they are not."""
        return self.settings.record_dir

    def metrics(self) -> JsonObject:
        """What `GET /v1/metrics` says."""
        return metric_facts(self._running.proxy.serving)

    def __repr__(self) -> str:
        where = self.url if self._is_running() else "not running"
        recorded = f", recording to {self.recording_folder}" if self.recording_folder else ""
        return f"<Proxy: mode {self.settings.mode}, {where}{recorded}>"

    @property
    def _running(self) -> _Started:
        if not self._is_running():
            raise SettingsError(
                "This proxy does not run: enter `async with lab.Proxy() as proxy:`, or await its start()."
            )
        return self._begun.result()

    def _is_running(self) -> bool:
        return self._thread is not None and self._begun.done() and self._begun.exception() is None

    def _run(self) -> None:
        try:
            run(self._serve())
        except BaseException as failure:
            if self._begun.done():
                raise
            self._begun.set_exception(failure)

    async def _serve(self) -> None:
        """Until `_end` is set, which counts as a cancellation: one way out, from every point."""
        task = asyncio.current_task()
        assert task is not None
        told = asyncio.wrap_future(self._end)
        told.add_done_callback(lambda _: task.cancel())
        try:
            async with running(self.settings, state_folder=self._state_folder) as proxy:
                self._begun.set_result(_Started(proxy, await proxy.serving.variant.window()))
                with suppress(asyncio.CancelledError):
                    await asyncio.get_running_loop().create_future()
        finally:
            told.cancel()  # it would be told to a loop that is closed

    def _tell_to_end(self) -> None:
        with suppress(InvalidStateError):  # it ended, or was told already
            self._end.set_result(None)

    def _end_at_exit(self) -> None:
        self._tell_to_end()
        if self._thread is not None:
            self._thread.join(AT_EXIT_S)


def _taken_note_of(begun: asyncio.Future[_Started]) -> None:
    """Its failure was seen, also where the start was cancelled and nobody waits for it any more."""
    if not begun.cancelled():
        begun.exception()


def _plain(value: Any) -> Any:
    """As JSON has it: paths as text, tuples as lists."""
    if isinstance(value, Mapping):
        return {str(name): _plain(inner) for name, inner in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(inner) for inner in value]
    return os.fspath(value) if isinstance(value, os.PathLike) else value
