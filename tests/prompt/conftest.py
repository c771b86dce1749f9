"""The recorded sessions, once for all workers of a test run."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path

import pytest

from tests.prompt.live import Recording, recording


@pytest.fixture(scope="session")
def recorded(tmp_path_factory: pytest.TempPathFactory, worker_id: str) -> Callable[[str], Recording]:
    """`recorded(release)`: its sessions. Skips where that release cannot be had."""
    base = tmp_path_factory.getbasetemp()
    folder: Path = (base if worker_id == "master" else base.parent) / "live"
    return cache(lambda release: recording(release, folder))
