"""Settings and the prompt work they ask for."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from anyclaude_lab.backends.http import Budgets
from anyclaude_lab.compose import breaker, budgets, composed, plan
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
        async with asyncio.timeout(300):
            while (complaint := await backend.health()) is not None:
                assert "still loading" in complaint
                await asyncio.sleep(0.1)
        status = backend.status()
        assert (status["server"], status["server_process"]["engine"]) == (kind, engine)


def test_time_limits_and_the_breaker_are_those_of_the_settings(tmp_path: Path) -> None:
    (tmp_path / ".anyclauderc.json").write_text(
        '{"connectTimeout": 2000, "requestTimeout": 60000, "gapTimeout": 30000, "circuitBreaker":'
        ' {"failureThreshold": 7, "latencyThresholdMs": 8000, "latencyConsecutiveChecks": 4, "latencyWindowMs": 90000}}'
    )
    settings = load_settings({}, {}, cwd=tmp_path, home=tmp_path)[0]
    assert budgets(settings) == Budgets(connect_s=2, silence_s=60, gap_s=30)
    chosen = breaker(settings)
    assert chosen is not None
    assert (chosen.failure_threshold, chosen.latency_threshold_s) == (7, 8)
    assert (chosen.latency_checks, chosen.latency_window_s) == (4, 90)


def test_slow_answers_are_borne_unless_a_threshold_is_set_and_checked(tmp_path: Path) -> None:
    file = tmp_path / ".anyclauderc.json"
    for written in ("{}", '{"latencyThresholdMs": 0}', '{"latencyThresholdMs": 9, "autoCheckLatency": false}'):
        file.write_text(f'{{"circuitBreaker": {written}}}')
        chosen = breaker(load_settings({}, {}, cwd=tmp_path, home=tmp_path)[0])
        assert chosen is not None and chosen.latency_threshold_s is None
