"""A short run of the fuzzer, and that it would find something."""

from __future__ import annotations

import random
import time

import pytest

from tests.fuzz.__main__ import Defect, batch
from tests.fuzz.corpus import read
from tests.fuzz.guided import explore
from tests.fuzz.targets import TARGETS, Target, _streams
from tests.requirements import require_atheris


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_damaged_input_is_borne(target: Target) -> None:
    batch(target, random.Random(20261122), 300)


@pytest.mark.parametrize("target", [target for target in TARGETS if read(target.name)], ids=lambda target: target.name)
def test_what_is_kept_of_earlier_runs_is_borne(target: Target) -> None:
    for data in read(target.name):
        target.run(data, random.Random(1))


def test_coverage_guides_the_fuzzer_and_a_defect_ends_it() -> None:
    require_atheris()
    assert explore("openai stream", 1) == 0
    assert explore("planted", 1) != 0


def _crashes(data: bytes, chance: random.Random) -> None:
    data.decode("utf-8")


def _hangs(data: bytes, chance: random.Random) -> None:
    until = time.thread_time() + 1.2
    while len(data) > 3000 and time.thread_time() < until:
        pass


def _lies(data: bytes, chance: random.Random) -> None:
    assert not data.endswith(b"null\n\n")


@pytest.mark.parametrize("run", [_crashes, _hangs, _lies])
def test_a_defect_is_found(run: object) -> None:
    target = Target("planted", run, (*_streams(), b"data: null\n\n"))  # type: ignore[arg-type]  # parametrised
    with pytest.raises(Defect, match="planted") as found:
        batch(target, random.Random(1), 20_000)
    assert isinstance(found.value.data, bytes)
