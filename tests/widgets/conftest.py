"""The bundled sessions, and a small run of them, read once."""

from __future__ import annotations

import pytest

import anyclaude_lab as lab
from anyclaude_lab.lab.load import Traces, load
from anyclaude_lab.lab.replay import replay
from anyclaude_lab.lab.run import Run
from tests.trace.record_sessions import BUNDLED


@pytest.fixture(scope="session")
def traces() -> Traces:
    return load(BUNDLED)


@pytest.fixture(scope="session")
def run(traces: Traces) -> Run:
    variants = [
        lab.variant("plain", backend="scripted"),
        lab.variant("stubs", backend="scripted", tier="extreme", stub_tools=True),
    ]
    return replay(traces, variants, progress=False, turns_per_session=2)
