"""The real client on the model that comes with the package: nothing configured, nothing scripted."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.e2e.claude_code import LATEST, RELEASES, Place, Result, headless
from tests.e2e.proxy_process import Proxy, proxy_process
from tests.processes import until
from tests.requirements import require_mlx
from tests.standins.http import JsonObject

PREFILL_S = 600  # the client's 18,000 tokens on two busy cores
DONE = "Done. I took the steps you named."
CLIENT = ("--model", "anthropic-local/embedded", "--output-format", "stream-json", "--verbose")

pytestmark = [pytest.mark.engine, pytest.mark.timeout(6 * PREFILL_S)]


@pytest.fixture(scope="module")
def proxy(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Proxy]:
    """One proxy and one model server for all of these tests, started with nothing configured."""
    require_mlx()
    with proxy_process(tmp_path_factory.mktemp("proxy"), ["--mode", "local"], {}) as proxy:
        yield proxy


@pytest.fixture
def place() -> Iterator[Place]:
    """A project at a short path: the model loses its way in long ones, as pytest's own folders are."""
    for name in ("harbor", "lantern", "meadow", "walnut", "orchard", "pebble", "saddle", "thimble"):
        folder = Path(tempfile.gettempdir(), name)
        with suppress(FileExistsError):  # another run is using it
            folder.mkdir()
            break
    else:
        pytest.fail(f"every folder for this test exists in {tempfile.gettempdir()}: remove {name} there")
    yield Place.fresh(folder)

    def removed() -> bool:
        shutil.rmtree(folder, ignore_errors=True)  # the client's last processes may still be writing
        return not folder.exists()

    until(removed, "the folder of the test is gone")


def ask(version: str, prompt: str, place: Place, proxy: Proxy, *args: str) -> Result:
    line = (*CLIENT, "--dangerously-skip-permissions", *args)
    result = headless(version, prompt, place=place, base_url=proxy.url, args=line, timeout=PREFILL_S)
    assert result.rc == 0, result
    return result


def blocks(result: Result, role: str, kind: str) -> list[JsonObject]:
    """The content blocks of one kind that passed in the client's session, from its `stream-json` output."""
    events = [json.loads(line) for line in result.stdout.splitlines() if line.startswith("{")]
    messages = [event["message"] for event in events if event.get("type") == role]
    return [b for m in messages if isinstance(m["content"], list) for b in m["content"] if b["type"] == kind]


def calls(result: Result) -> list[tuple[str, JsonObject]]:
    return [(block["name"], block["input"]) for block in blocks(result, "assistant", "tool_use")]


def follows(result: Result, wanted: list[tuple[str, JsonObject]]) -> bool:
    """Whether these calls were made, one after the other; the client adds what has a default."""
    found = calls(result)
    return [name for name, _ in found] == [name for name, _ in wanted] and all(
        given | asked == given for (_, given), (_, asked) in zip(found, wanted, strict=True)
    )


# The model follows most orders of these kinds, not all, as its card says; which ones hangs on every word of a prompt,
# today's date among them. Of each kind one has to be carried out to its end.
CHANGES = (
    ("touch made.txt", "notes.txt", "bravo", "delta"),
    ("touch new.txt", "list.txt", "charlie", "echo"),
    ("mkdir things", "words.md", "alpha", "zulu"),
)
FETCHES = (
    ("http://localhost:9/menu", "what is for lunch"),
    ("http://127.0.0.1:9/harbor", "which ship came in"),
    ("http://localhost:9/trees/old", "how many of them are there today"),
)


@pytest.mark.parametrize("version", RELEASES)
def test_several_orders_in_one_text_are_carried_out_one_after_the_other(
    version: str, place: Place, proxy: Proxy
) -> None:
    for command, name, old, new in CHANGES:
        file = place.project / name
        file.write_text("alpha\nbravo\ncharlie\n", encoding="utf-8")
        edit = f"in `{file}` replace `{old}` with `{new}`"
        result = ask(version, f"Run the command `{command}`, then read the file {file}. Then {edit}", place, proxy)
        changed = {"file_path": str(file), "old_string": old, "new_string": new}
        wanted = [("Bash", {"command": command}), ("Read", {"file_path": str(file)}), ("Edit", changed)]
        if follows(result, wanted):
            break
    assert follows(result, wanted), calls(result)
    assert blocks(result, "assistant", "text")[-1]["text"] == DONE
    assert (place.project / command.split()[1]).exists()
    assert file.read_text(encoding="utf-8") == "alpha\nbravo\ncharlie\n".replace(old, new)


def test_a_session_goes_on_and_a_deferred_tool_is_loaded_and_called(place: Place, proxy: Proxy) -> None:
    for url, question in FETCHES:
        ask(LATEST, "Run the command `touch made.txt`", place, proxy)
        prompt = f"Load the tool WebFetch with ToolSearch, then fetch `{url}` and answer `{question}`"
        result = ask(LATEST, prompt, place, proxy, "--continue")
        search: JsonObject = {"query": "select:WebFetch", "max_results": 5}
        wanted = [("ToolSearch", search), ("WebFetch", {"url": url, "prompt": question})]
        if follows(result, wanted):
            break
    assert follows(result, wanted), calls(result)
    answers = [json.dumps(block) for block in blocks(result, "user", "tool_result")]
    assert len(answers) == 2
    assert "InputValidationError" not in answers[1]  # what the client says of a tool that was not loaded
    assert blocks(result, "assistant", "text")[-1]["text"] == DONE


@pytest.mark.parametrize(("tier", "stubs"), [("extreme", True), ("minimal", False)])
def test_a_shortened_prompt_is_answered_as_well(
    tier: str, stubs: bool, place: Place, tmp_path_factory: pytest.TempPathFactory
) -> None:
    require_mlx()
    flags = ["--filter-tier", tier, "--stub-tools" if stubs else "--no-stub-tools"]
    with proxy_process(tmp_path_factory.mktemp("short"), ["--mode", "local", *flags], {}) as proxy:
        for command, name, *_ in CHANGES:
            result = ask(LATEST, f"Run the command `{command}`, then read `{name}`", place, proxy)
            wanted = [("Bash", {"command": command}), ("Read", {"file_path": name})]
            if follows(result, wanted):
                break
    assert follows(result, wanted), calls(result)
    assert (place.project / command.split()[1]).exists()
