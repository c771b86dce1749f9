"""Settings and the prompt work they ask for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from anyclaude_lab.compose import composed, plan
from anyclaude_lab.prompt.pipeline import Plan
from anyclaude_lab.settings import Settings, load_settings
from anyclaude_lab.settings.model import LocalSettings
from tests.requirements import require_mlx


def planned(tmp_path: Path, **flags: Any) -> Plan:
    return plan(load_settings(flags, {}, cwd=tmp_path, home=tmp_path)[0])


@pytest.mark.parametrize(
    ("mode", "tier"), [("local", "aggressive"), ("mlx-cluster", "aggressive"), ("openrouter", "off")]
)
def test_defaults(mode: str, tier: str, tmp_path: Path) -> None:
    assert planned(tmp_path, mode=mode) == Plan(tier=tier)
    assert Plan().strip_billing and Plan().stabilise and not Plan().stub_tools


def test_what_is_asked_for(tmp_path: Path) -> None:
    (tmp_path / ".anyclauderc.json").write_text(
        '{"backends": {"local": {"toolAllowlist": ["Read"], "fullToolDescriptions": ["Bash"], "deferMcpTools": true,'
        ' "loopHint": true,'
        ' "stabilisePrefix": false, "stripBilling": false}}}'
    )
    asked = planned(tmp_path, filter_tier="extreme", stub_tools=True)
    assert asked == Plan(
        strip_billing=False,
        tool_allowlist=("Read",),
        stabilise=False,
        tier="extreme",
        stub_tools=True,
        whole_tools=frozenset({"Bash"}),
        defer_tools=True,
        loop_hints=True,
    )


def test_the_older_switch(tmp_path: Path) -> None:
    (tmp_path / ".anyclauderc.json").write_text('{"backends": {"local": {"safeSystemFilter": false}}}')
    assert planned(tmp_path).tier == "off"
    assert planned(tmp_path, filter_tier="minimal").tier == "minimal"


@pytest.mark.engine
@pytest.mark.parametrize(("engine", "kind"), [("mlx_lm.server", "mlx-lm"), ("anyclaude", "anyclaude")])
async def test_the_engine_that_was_chosen_is_started_and_answers(engine: str, kind: str, tmp_path: Path) -> None:
    require_mlx()
    settings = Settings(mode="local", local=LocalSettings(engine=engine))
    async with composed(settings, state_folder=tmp_path) as parts:
        backend = parts.variant.backend
        async with asyncio.timeout(60):
            while (complaint := await backend.health()) is not None:
                assert "still loading" in complaint
                await asyncio.sleep(0.1)
        status = backend.status()
        assert (status["server"], status["server_process"]["engine"]) == (kind, engine)
