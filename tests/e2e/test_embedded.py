"""The real client on the model that comes with the package: nothing configured, nothing scripted."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.claude_code import LATEST, Place, Result, headless
from tests.e2e.conftest import StartProxy
from tests.requirements import require_mlx

PREFILL_S = 200  # the client's 18,000 tokens on two busy cores
MODEL = "anthropic-local/embedded"


def tool_calls(result: Result) -> list[tuple[str, dict[str, object]]]:
    """Name and input of every call the client ran, from its `stream-json` output."""
    messages = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    blocks = [b for m in messages if m.get("type") == "assistant" for b in m["message"]["content"]]
    return [(b["name"], b["input"]) for b in blocks if b["type"] == "tool_use"]


@pytest.fixture
def short_place() -> Iterator[Place]:
    """A project at a short path: the model loses its way in one that repeats itself, as pytest's own folders do."""
    for name in ("harbor", "lantern", "meadow", "walnut"):
        folder = Path(tempfile.gettempdir(), name)
        with suppress(FileExistsError):  # another run is using it
            folder.mkdir()
            break
    else:
        pytest.fail(f"every folder for this test exists in {tempfile.gettempdir()}: remove {name} there")
    yield Place.fresh(folder)
    shutil.rmtree(folder)


@pytest.mark.engine
@pytest.mark.timeout(4 * PREFILL_S)
def test_a_session_of_bash_read_and_edit(short_place: Place, start_proxy: StartProxy) -> None:
    require_mlx()
    notes = short_place.project / "notes.txt"
    notes.write_text("alpha\nbravo\ncharlie\n", encoding="utf-8")
    proxy = start_proxy(mode="local")
    asked = {
        "Bash": "Run the command `touch made.txt`",
        "Read": f"Read the file `{notes}`",
        "Edit": f"In `{notes}` replace `bravo` with `delta`",
    }
    for turn, (tool, prompt) in enumerate(asked.items()):
        going_on = ("--continue",) if turn else ()
        result = headless(
            LATEST,
            prompt,
            place=short_place,
            base_url=proxy.url,
            args=(
                "--model",
                MODEL,
                "--output-format",
                "stream-json",
                "--verbose",
                "--dangerously-skip-permissions",
                *going_on,
            ),
            timeout=PREFILL_S,
        )
        assert result.rc == 0, result
        calls = tool_calls(result)
        assert [name for name, _ in calls] == [tool], result
    assert (short_place.project / "made.txt").exists()
    assert notes.read_text(encoding="utf-8") == "alpha\ndelta\ncharlie\n", calls
