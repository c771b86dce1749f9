"""Widgets in a real JupyterLab: every knob turned by clicks, its figures those of the lab; both themes and widths."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest
import pytest_asyncio

import anyclaude_lab as lab
from anyclaude_lab.lab.frames import records
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.run import Run
from anyclaude_lab.lab.trial import UNTOUCHED, pair, trial
from anyclaude_lab.views.figures import whole
from anyclaude_lab.widgets.prefix_diff import PROMPT_WORK
from tests.browser.chromium import SIZES, Opened, chromium, opened
from tests.browser.jupyter import TOKEN, change_theme, jupyterlab, run_all, write_notebook
from tests.proxy.conftest import ASK
from tests.requirements import require_axe, require_mlx
from tests.trace.record_sessions import BUNDLED
from tests.widgets import conftest as shared

pytestmark = [pytest.mark.browser, pytest.mark.asyncio(loop_scope="module")]  # one server, one browser for all of them

TALL = 2600
traces, run = shared.traces, shared.run  # the same as the notebook's
OURS = ".jp-OutputArea-output"
SETUP = f"""
import anyclaude_lab as lab
traces = lab.load({str(BUNDLED)!r})
turn = traces.turn("short-fix", turn=2)
plain = lab.variant("plain", backend="scripted")
stubs = lab.variant("stubs", backend="scripted", tier="extreme", stub_tools=True)
"""
CELLS = {
    "setup": SETUP,
    "traces": "traces",
    "turn": "turn",
    "explanation": "lab.explain(turn, stubs)",
    "breaks": "lab.prefix_breaks(traces, plain)",
    "run": "run = lab.replay(traces, [plain, stubs], progress=False, turns_per_session=2); run",
    "tuner": "lab.widgets.TierTuner(turn)",
    "viewer": "lab.widgets.TraceViewer(traces, 'subagents')",
    "diff": "lab.widgets.PrefixDiff(traces.turn('broken-prefix', turn=1), traces.turn('broken-prefix', turn=2))",
    "compare": "lab.widgets.CompareRuns(run)",
    "live": "live = lab.widgets.LiveProxy(); live",
}


class Book:
    """The notebook that is open in a page; its cells by name."""

    def __init__(self, shown: Opened) -> None:
        self.shown, self.page = shown, shown.page

    def cell(self, name: str) -> str:
        """The selector of the cell's output."""
        return f".jp-Notebook .jp-Cell:nth-child({list(CELLS).index(name) + 1} of .jp-Cell) .jp-OutputArea-output"

    async def text(self, name: str) -> str:
        """What its output says."""
        return " ".join(await self.shown.texts(self.cell(name)))

    async def says(self, name: str, words: str) -> None:
        """Wait for its output to say something."""
        await self.shown.until(f"document.querySelector({self.cell(name)!r})?.innerText.includes({words!r})")

    async def choose(self, name: str, label: str, option: str) -> None:
        """Turn a knob."""
        knob = self.page.locator(self.cell(name)).get_by_label(label, exact=True)
        await knob.select_option(label=option)


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def book(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Book]:
    require_axe()
    folder = tmp_path_factory.mktemp("jupyterlab")
    (folder / "notebooks").mkdir()
    write_notebook(folder / "notebooks" / "all.ipynb", list(CELLS.values()))
    with jupyterlab(folder) as url:
        async with chromium() as browser:
            shown = await opened(browser, f"{url}/doc/tree/all.ipynb?token={TOKEN}")
            await run_all(shown, len(CELLS))
            yield Book(shown)


async def test_objects_show_themselves(book: Book, traces: Traces) -> None:
    assert "6 sessions, 75 turns" in await book.text("traces")
    turn = traces.turn("short-fix", turn=2)
    assert whole(turn.facts["prompt_tokens"]) in await book.text("turn")
    breaks = lab.prefix_breaks(traces, lab.variant("plain", backend="scripted"))
    assert f"{len(breaks)} breaks, {breaks['tokens_lost'].sum():,} tokens lost" in await book.text("breaks")
    assert "2 variants" in await book.text("run") and "stubs" in await book.text("explanation")


async def test_every_knob_of_the_tuner(book: Book, traces: Traces) -> None:
    require_mlx()
    turn = traces.turn("short-fix", turn=2)
    knobs: dict[str, Any] = {"tier": "aggressive"}

    async def shows(**changed: object) -> None:
        knobs.update(changed)
        told = trial(turn, lab.variant("x", backend="embedded", **knobs))
        await book.says("tuner", f"{whole(told.plain_tokens)} → {whole(told.prompt_tokens)} tokens")
        await book.says("tuner", f"{whole(told.reused_tokens)} (")

    await book.says("tuner", "tier aggressive:")
    await shows()
    await book.choose("tuner", "Tier", "extreme")
    await book.says("tuner", "tier extreme:")
    await shows(tier="extreme")
    tuner = book.page.locator(book.cell("tuner"))
    await tuner.get_by_label("Tools in a line each").click()
    await book.says("tuner", "tier extreme, stubs:")
    await shows(stub_tools=True)
    await book.choose("tuner", "Adapter", "qwen")
    await book.says("tuner", "adapter qwen:")
    await shows(adapter="qwen")
    await tuner.get_by_label("Session's own text behind the head").click()
    await book.says("tuner", "not stabilised:")
    await shows(stabilise=False)
    await tuner.get_by_role("button", name="Replay").click()
    await book.says("tuner", "Replay on the demonstration model")
    text = await book.text("tuner")
    assert "Cached tokens" in text and "Time to first token" in text and "Calls" in text


async def test_a_turn_is_chosen_by_click_and_by_keys(book: Book, traces: Traces) -> None:
    turns = traces.session_turns("subagents")
    viewer = book.page.locator(book.cell("viewer"))
    await viewer.locator("button[data-turn='4']").click()
    await book.says("viewer", f"Turn {turns[4].facts['turn']} of {turns[4].facts['lane']}")
    await book.page.keyboard.press("ArrowDown")
    await book.page.keyboard.press("Enter")
    await book.says("viewer", f"Turn {turns[5].facts['turn']} of {turns[5].facts['lane']}")
    assert turns[5].answer.calls[0].arguments in await book.text("viewer")
    assert await viewer.locator("button[aria-pressed=true]").get_attribute("data-turn") == "5"
    assert await book.page.evaluate("document.activeElement.dataset.turn") == "5"
    await viewer.locator("g[data-turn='1'] .frame").click()
    await book.says("viewer", f"Turn {turns[1].facts['turn']} of {turns[1].facts['lane']}")
    session = traces.turn("short-fix").recorded.session
    await book.choose("viewer", "Session", f"short-fix {session[:8]}")
    await book.says("viewer", f"Session {session}")


async def test_a_break_is_shown_as_recorded_and_after_prompt_work(book: Book, traces: Traces) -> None:
    turns = traces.turn("broken-prefix", turn=1), traces.turn("broken-prefix", turn=2)
    for label, variant in (("as recorded", UNTOUCHED), (f"after {PROMPT_WORK.name}", PROMPT_WORK)):
        await book.choose("diff", "Prompts", label)
        told = pair(*turns, variant)
        assert told.broken is not None
        await book.says("diff", f"The prefix breaks at token {whole(told.shared_tokens)}: {told.broken['cause']}")
        text = await book.text("diff")
        assert whole(told.lost_tokens) in text and str(told.broken["fixed_by"]) in text
        marks = await book.page.locator(f"{book.cell('diff')} mark").all_inner_texts()
        assert marks == [window.tokens[window.at] for window in (told.before, told.after)]


async def test_runs_are_compared(book: Book, run: Run) -> None:
    for baseline in ("stubs", "plain"):
        await book.choose("compare", "Baseline", baseline)
        await book.says("compare", f"2 variants against {baseline}")
        other = next(row for row in records(run.summary(baseline)) if row["variant"] != baseline)
        assert f"{other['ttft_low']:.2f} to {other['ttft_high']:.2f}" in await book.text("compare")
    await book.choose("compare", "Fidelity over", "time to first token")
    await book.says("compare", "speed and fidelity")


async def test_a_proxy_is_started_watched_and_stopped(book: Book) -> None:
    require_mlx()
    live = book.page.locator(book.cell("live"))
    await book.says("live", "not running")
    await live.get_by_role("button", name="Start").click()
    await book.says("live", "http://127.0.0.1:")
    url = (await live.locator("p.where").inner_text()).split()[-1]
    async with httpx.AsyncClient(trust_env=False, timeout=60) as client:
        assert (await client.post(f"{url}/v1/messages", json=ASK | {"max_tokens": 8})).status_code == 200
        assert (await client.post(f"{url}/v1/messages", json={"no": "request"})).status_code == 400
    await book.shown.until(f"document.querySelectorAll({(book.cell('live') + ' td.when')!r}).length === 2")
    await book.shown.picture("widget-live")
    await live.get_by_role("button", name="Stop").click()
    await book.says("live", "not running")


@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("width", SIZES)
async def test_it_can_be_read_by_everybody(book: Book, theme: str, width: int) -> None:
    await book.page.set_viewport_size({"width": width, "height": TALL})  # so that a whole output is in the picture
    await change_theme(book.shown, theme == "dark")
    for name in list(CELLS)[1:]:
        await book.page.locator(book.cell(name)).first.scroll_into_view_if_needed()
        await book.shown.picture_of(book.cell(name), f"widget-{name}-{theme}-{width}")
    assert await book.shown.accessibility(OURS) == []
    assert (book.shown.errors, book.shown.console) == ([], [])
