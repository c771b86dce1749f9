"""The report of a replay in a real browser: readable by everybody, at any width, with nothing loaded."""

from __future__ import annotations

from pathlib import Path

import pytest

import anyclaude_lab as lab
from anyclaude_lab.lab import report
from tests.browser.chromium import chromium, opened
from tests.trace.record_sessions import BUNDLED

VARIANTS = [lab.variant("plain", backend="scripted"), lab.variant("with stubs", backend="scripted", stub_tools=True)]


@pytest.mark.browser
async def test_a_report_is_whole_wide_and_narrow_light_and_dark(tmp_path: Path) -> None:
    run = await lab.replay_async(lab.load(BUNDLED / "short-fix.jsonl"), VARIANTS, progress=False)
    file = tmp_path / "report.html"
    file.write_text(report.html(run), encoding="utf-8")
    async with chromium() as browser:
        for theme, width in (("light", 1280), ("dark", 390)):
            shown = await opened(browser, file.as_uri(), theme=theme, width=width)
            await shown.picture(f"report-{theme}-{width}")
            assert await shown.overflow() <= 0
            assert await shown.accessibility() == []
            assert (shown.errors, shown.console) == ([], [])
            groups = await shown.texts(".chart .group")
            assert "fidelity, 0 to 1" in groups and "first turn" in groups
