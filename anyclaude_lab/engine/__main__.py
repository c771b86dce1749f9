"""The engine alone: `python -m anyclaude_lab.engine --model PATH`. See `engine/serve/`."""

from __future__ import annotations

import argparse
import asyncio
import ctypes
import logging
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from anyclaude_lab.engine.blas import find_openblas
from anyclaude_lab.engine.mlx_server import require_mlx_lm
from anyclaude_lab.errors import AnyclaudeError, SettingsError

if TYPE_CHECKING:
    from anyclaude_lab.engine.serve.engine import Options

MEMORY_SHARE = 0.25
MB = 1_000_000
DISK_MB = 20_000


def _number(least: int, most: int | None = None) -> Callable[[str], int]:
    """For argparse, which tells the message."""

    def number(text: str) -> int:
        value = int(text) if text.lstrip("-").isdecimal() else None
        if value is None or value < least or (most is not None and value > most):
            raise argparse.ArgumentTypeError(f"{text!r} is not a number from {least} {f'to {most}' if most else 'on'}")
        return value

    return number


def arguments(argv: list[str] | None = None) -> argparse.Namespace:
    """What was asked for; exits with 2 on a mistake."""
    parser = argparse.ArgumentParser("python -m anyclaude_lab.engine", allow_abbrev=False, description=__doc__)
    parser.add_argument("--model", required=True, help="a model folder, or a hub id such as mlx-community/NAME")
    parser.add_argument("--host", default="127.0.0.1", help="address to listen on (default: 127.0.0.1)")
    parser.add_argument("--port", type=_number(0, 65535), default=8080, help="its port (default: 8080)")
    parser.add_argument("--window", type=_number(1), help="context window in tokens (default: the trained one)")
    parser.add_argument("--memory-mb", type=_number(0), help="for prefixes in memory (default: a quarter of it)")
    parser.add_argument("--disk", type=Path, help="folder for computed prefixes (default: none are kept on disk)")
    parser.add_argument("--disk-mb", type=_number(0), default=DISK_MB, help=f"its cap (default: {DISK_MB})")
    parser.add_argument("--disk-bits", type=int, choices=(4, 8, 16), help="of a number on disk (default: as computed)")
    parser.add_argument("--warm", action="store_true", help="read the prefixes on disk into memory at the start")
    parser.add_argument("--grammar", action="store_true", help="let through only tool calls that fit their schemas")
    return parser.parse_args(argv)


def main(argv: list[str] | None = None) -> None:
    """Serve until told to end. Exit code 2, after one sentence, where the model cannot be served."""
    options = arguments(argv)
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(message)s", stream=sys.stderr)
    logging.getLogger("aiohttp.access").setLevel(logging.WARNING)
    try:
        require_mlx_lm()
        blas = find_openblas()
        if blas and "LD_PRELOAD" not in os.environ:
            ctypes.CDLL(str(blas), mode=ctypes.RTLD_GLOBAL)  # before mlx: its own reference BLAS is 40 times slower
        asyncio.run(_serve(options))
    except AnyclaudeError as error:
        print(error.message, file=sys.stderr, flush=True)
        os._exit(2)  # quirk(mlx): a thread of its own that still starts would end the process with SIGABRT instead
    except OSError as error:
        print(f"{options.host}:{options.port} cannot be listened on: {error.strerror}", file=sys.stderr, flush=True)
        sys.exit(2)


def _options(given: argparse.Namespace) -> Options:
    from anyclaude_lab.engine.serve.engine import Options

    return Options(
        model=given.model,
        memory_bytes=int(psutil.virtual_memory().total * MEMORY_SHARE)
        if given.memory_mb is None
        else given.memory_mb * MB,
        window_tokens=given.window,
        disk=given.disk,
        disk_bytes=given.disk_mb * MB,
        disk_bits=given.disk_bits,
        warm=given.warm,
        grammar=given.grammar,
    )


async def _serve(options: argparse.Namespace) -> None:
    from aiohttp import web

    from anyclaude_lab.engine.serve.engine import Engine
    from anyclaude_lab.engine.serve.http import Api

    loop, ended = asyncio.get_running_loop(), asyncio.Event()
    failures: list[AnyclaudeError] = []

    def failed(error: AnyclaudeError) -> None:
        failures.append(error)
        loop.call_soon_threadsafe(ended.set)

    engine = Engine(_options(options), failed)
    runner = web.AppRunner(Api(engine).application(), handler_cancellation=True, access_log=None, shutdown_timeout=2)
    await runner.setup()
    await web.TCPSite(runner, options.host, options.port).start()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, ended.set)
    engine.start()
    await ended.wait()
    engine.stop()
    await runner.cleanup()
    if failures:
        raise SettingsError(failures[0].message)


if __name__ == "__main__":
    main()
