"""The live page while the real Claude Code works behind the proxy, in both themes and at both widths."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest

from tests.browser.chromium import SIZES, Opened, chromium, opened
from tests.e2e.claude_code import LATEST, Place, Result, headless
from tests.e2e.proxy_process import proxy_process
from tests.e2e.session import PROMPT, EditSession
from tests.requirements import require_axe, require_claude
from tests.standins.http import running
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import Reply, Turn

pytestmark = [pytest.mark.browser, pytest.mark.e2e]

LOOKS = [(theme, width) for theme in ("light", "dark") for width in SIZES]


async def test_a_session_is_followed_from_its_first_request_to_its_last(tmp_path: Path) -> None:
    require_claude(LATEST)
    require_axe()
    place = Place.fresh(tmp_path)
    session = EditSession(place.project)
    seen = threading.Event()
    backend = OpenAIStandIn(lambda body: held(session.turn(body), seen.is_set), profile="mlx-lm")
    traces = ["--record", str(tmp_path / "traces")]
    with running(backend), proxy_process(tmp_path / "proxy", traces, {"LOCAL_URL": f"{backend.url}/v1"}) as proxy:
        async with chromium() as browser:
            pages = [await opened(browser, proxy.direct_url, theme=theme, width=width) for theme, width in LOOKS]
            work = asyncio.create_task(asyncio.to_thread(headless, LATEST, PROMPT, place=place, base_url=proxy.url))
            await pages[0].until("!!document.querySelector('#running .answering, #running svg')")
            await check(pages[0], "busy")
            seen.set()
            result: Result = await work
            session.check(result)
            asked = len(backend.chats)
            for page, (theme, width) in zip(pages, LOOKS, strict=True):
                await page.until(f"document.querySelectorAll('#requests tbody tr').length === {asked}")
                await check(page, f"{theme}-{width}")
            rows = await pages[0].texts("#requests tbody tr")
            assert sum("tool_use" in row for row in rows) == len(session.steps())
            assert "Bash" in " ".join(rows) and "Edit" in " ".join(rows)
            lanes = await pages[0].texts("#lanes tr")
            assert any(f" {asked_in_main(session)} " in lane for lane in lanes)
            assert str(tmp_path / "traces") in (await pages[0].texts("#recording"))[0]


def held(turn: Turn, until: Callable[[], bool]) -> Turn:
    """The same turn, still at its prompt until something is so."""
    return replace(turn, until=until) if isinstance(turn, Reply) else turn


def asked_in_main(session: EditSession) -> int:
    return len(session.talks)


async def check(shown: Opened, name: str) -> None:
    """No error, nothing cut off, nothing that some cannot use."""
    await shown.picture(f"dashboard-{name}")
    assert (shown.errors, shown.console) == ([], [])
    assert await shown.overflow() <= 0
    assert await shown.accessibility() == []


async def test_the_judge_of_accessibility_sees_what_is_wrong() -> None:
    require_axe()
    async with chromium() as browser:
        shown = await opened(browser, "about:blank")
        await shown.page.set_content("<html lang=en><title>x</title><main><button></button><p style='color:#aaa'>pale")
        found = " ".join(await shown.accessibility())
        assert "button-name" in found and "color-contrast" in found
