"""`anyclaude`, and `python -m anyclaude_lab.proxy`: the proxy, and Claude Code behind it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anyclaude_lab import __version__
from anyclaude_lab.errors import AnyclaudeError, SettingsError
from anyclaude_lab.proxy.arguments import Arguments, parse
from anyclaude_lab.settings import FILE_NAME, PREFERRED_PORT, Secret, Settings, home_folder, load_settings

if TYPE_CHECKING:
    from anyclaude_lab.proxy.running import RunningProxy

STATE_FOLDER = ".anyclaude"  # in the user's home
USAGE_ERROR, BACKEND_ERROR = 2, 4


def main(argv: Sequence[str] | None = None) -> int:
    """Run the program; returns its exit code. A user's mistake is one sentence on stderr and code 2."""
    try:
        arguments = parse(sys.argv[1:] if argv is None else argv)
        if arguments.text is not None:
            print(arguments.text, flush=True)
            return 0
        if arguments.trust:
            return _trust(_current_folder() / FILE_NAME)
        settings, warnings = load_settings(
            arguments.flags, os.environ, cwd=_current_folder(), home=home_folder(), config_file=arguments.config_file
        )
        arguments.refuse_strangers(settings)
        for warning in warnings:
            print(f"anyclaude: {warning}", file=sys.stderr)
        return _run(settings, arguments, os.environ)
    except SettingsError as mistake:
        print(f"anyclaude: {mistake.message}", file=sys.stderr)
        return USAGE_ERROR
    except AnyclaudeError as failure:
        print(f"anyclaude: {failure.message}", file=sys.stderr)
        return BACKEND_ERROR
    except BrokenPipeError:  # whoever read it has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except KeyboardInterrupt:
        return 128 + signal.SIGINT


def _trust(file: Path) -> int:
    """Approve a project's file, and say what it decides."""
    from anyclaude_lab.settings.sources import Rank, file_layer
    from anyclaude_lab.settings.trust import approve, dangers

    found = list(dangers(file_layer(file, Rank.FILE)))
    approve(file, home_folder())
    print(f"{file} is trusted as it is now" + (f"; it sets {', '.join(found)}." if found else "."))
    return 0


def _current_folder() -> Path:
    try:
        return Path.cwd()
    except OSError as error:
        why = (error.strerror or str(error)).lower()
        raise SettingsError(f"The current folder cannot be used ({why}): change into another one.") from None


def _run(settings: Settings, arguments: Arguments, environ: Mapping[str, str]) -> int:
    if arguments.check_setup:
        from anyclaude_lab.proxy.setup_check import check_setup

        return asyncio.run(check_setup(settings, environ, cwd=Path.cwd(), home=home_folder()))
    if arguments.disk:
        from anyclaude_lab.proxy.disk import show_or_prune

        return show_or_prune(
            settings, home_folder() / STATE_FOLDER, prune=arguments.prune, ask=_asker(), agreed=arguments.yes
        )
    if arguments.test_model:
        from anyclaude_lab.proxy.model_test import try_model

        obtain_model(settings, agreed=arguments.yes)
        return asyncio.run(try_model(settings, state_folder=home_folder() / STATE_FOLDER))
    from anyclaude_lab.proxy.loop import run

    obtain_model(settings, agreed=arguments.yes)
    claude_args = arguments.for_claude(settings)
    return run(serve(settings, claude_args, environ, state_folder=home_folder() / STATE_FOLDER))


def obtain_model(settings: Settings, *, agreed: bool) -> None:
    """A model that a hub has is downloaded, once its size was told and agreed to. Raises `SettingsError`."""
    name = settings.local.model_path
    if settings.mode != "local" or settings.local.source != "start" or name is None:
        return
    from anyclaude_lab.backends.model_folder import model_folder
    from anyclaude_lab.engine.hub import is_hub_id, obtain

    if is_hub_id(name):
        obtain(name, model_folder(name), _asker(), agreed=agreed)


def _asker() -> Callable[[str], bool] | None:
    """Puts a question to whoever sits there; None where nobody does."""
    if not (sys.stdin.isatty() and sys.stderr.isatty()):
        return None

    def ask(question: str) -> bool:
        print(f"anyclaude: {question}", end="", file=sys.stderr, flush=True)
        return sys.stdin.readline().strip().lower() in ("y", "yes")

    return ask


async def serve(
    settings: Settings, claude_args: Sequence[str], environ: Mapping[str, str], *, state_folder: Path
) -> int:
    """Serve until told to stop, or, as a launcher, until Claude Code ends; returns the exit code."""
    from anyclaude_lab.proxy.client_environment import start_line
    from anyclaude_lab.proxy.loop import spare_the_collector
    from anyclaude_lab.proxy.running import running

    claude = None
    if not settings.proxy_only:
        from anyclaude_lab.proxy.launcher import find_claude, launch

        claude = find_claude(environ)  # before anything is started for nothing
    console = settings.proxy_only and sys.stderr.isatty()
    async with running(settings, state_folder=state_folder, console=console, probe=settings.probe) as proxy:
        spare_the_collector()
        variant, port = proxy.serving.variant, proxy.server.port

        def line(url: str, asks: bool) -> str:
            token = "TOKEN" if asks else None  # the reader has been told it, or set it
            return start_line(settings, url, proxy.model_id, token, variant.window_tokens)

        if proxy.token is not None:
            _warn_of_the_network(settings, proxy.token, port, line(f"http://THIS-MACHINE:{port}", True))
        if settings.port is None and port != PREFERRED_PORT:
            print(f"anyclaude: port {PREFERRED_PORT} is taken, using {port}", file=sys.stderr)
        if claude is None:
            stop = _told_to_stop()  # before anybody is told that this runs, and may end it
            _announce(settings, proxy, line(proxy.url, proxy.client_token is not None))
            await stop.wait()
            return 0
        if settings.record_dir is not None:
            print(f"anyclaude: {_recording_line(settings)}", file=sys.stderr)
        window = await variant.window()
        if window is None and (complaint := await variant.backend.health()):
            print(f"anyclaude: {complaint}", file=sys.stderr)
        return await launch(
            settings,
            claude_args,
            base_url=proxy.url,
            environ=environ,
            claude=claude,
            model_id=proxy.model_id,
            window_tokens=window,
            token=proxy.client_token,
        )


def _warn_of_the_network(settings: Settings, token: Secret, port: int, start_line: str) -> None:
    made = settings.access_token is None
    shown = token.reveal() if made else "(the one you set)"
    print(
        f"anyclaude: WARNING: listening on {settings.host}, every machine that reaches port {port} can ask this proxy, "
        f"over plain HTTP, with the access token {shown}\n"
        f"anyclaude: there: {start_line}",
        file=sys.stderr,
    )


def _announce(settings: Settings, proxy: RunningProxy, start_line: str) -> None:
    from anyclaude_lab.compose import EMBEDDED_NAME

    print(f"anyclaude {__version__}, mode {settings.mode}: listening on {proxy.url}")
    print(f"dashboard: {proxy.url}/")
    print(f"start Claude Code with: {start_line}")
    if proxy.model_id.endswith("/" + EMBEDDED_NAME):
        print(
            "NOTE: no model is configured; a tiny DEMONSTRATION model answers. It calls tools and can do little else.\n"
            "      A real one: LOCAL_URL=http://127.0.0.1:8080/v1, or --model /path/to/mlx-model, or --mode openrouter."
        )
    if settings.record_dir is not None:
        print(_recording_line(settings))
    sys.stdout.flush()


def _recording_line(settings: Settings) -> str:
    return f"recording to {settings.record_dir} (--no-record turns it off)"


def _told_to_stop() -> asyncio.Event:
    """Set by the signals that ask a program to end."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for name in ("SIGINT", "SIGTERM", "SIGHUP"):
        number = getattr(signal, name, None)
        if number is not None:
            with contextlib.suppress(NotImplementedError):  # Windows: Ctrl-C arrives as KeyboardInterrupt
                loop.add_signal_handler(number, stop.set)
    return stop


if __name__ == "__main__":
    sys.exit(main())
