"""Random models, written and loaded once a test process."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from tests.requirements import require_mlx

if TYPE_CHECKING:
    from anyclaude_lab.engine.serve.model import LoadedModel

KINDS = ("plain", "window", "recurrent")


@pytest.fixture(scope="session")
def model_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    require_mlx()
    from benchmarks.engine.random_model import write

    root = tmp_path_factory.mktemp("models")
    return {kind: write(root / kind, kind) for kind in KINDS}


@pytest.fixture(scope="session")
def models(model_folders: dict[str, Path]) -> dict[str, LoadedModel]:
    from anyclaude_lab.engine.serve.model import load_model

    return {kind: load_model(str(folder)) for kind, folder in model_folders.items()}


@pytest.fixture
def plain(models: dict[str, LoadedModel]) -> LoadedModel:
    return models["plain"]


@pytest.fixture(params=KINDS)
def loaded(request: pytest.FixtureRequest, models: dict[str, LoadedModel]) -> LoadedModel:
    return models[request.param]
