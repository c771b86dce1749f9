"""Fixtures of the end-to-end tests: a place for the client, and the proxy of each mode in front of a stand-in."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack
from pathlib import Path

import pytest

from tests.e2e.claude_code import Place
from tests.e2e.proxy_process import Proxy, proxy_process
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.profiles import OpenRouter

StartProxy = Callable[..., Proxy]


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.e2e)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    return Place.fresh(tmp_path)


@pytest.fixture
def start_proxy(tmp_path: Path) -> Iterator[StartProxy]:
    """Start a proxy in front of a stand-in, or, with none, with these arguments and this environment alone."""
    with ExitStack() as stack:

        def start(
            *standins: OpenAIStandIn | AnthropicStandIn,
            mode: str | None = None,
            args: Sequence[str] = (),
            env: Mapping[str, str] | None = None,
        ) -> Proxy:
            mode = mode or mode_of(*standins)
            home = tmp_path / f"proxy-{mode}"
            variables = {**settings_for(mode, *standins), **(env or {})}
            process: AbstractContextManager[Proxy] = proxy_process(home, ["--mode", mode, *args], variables)
            return stack.enter_context(process)

        yield start


def mode_of(*standins: OpenAIStandIn | AnthropicStandIn) -> str:
    """The mode in which a proxy speaks to these."""
    first = standins[0]
    if isinstance(first, AnthropicStandIn):
        return "claude"
    if isinstance(first.profile, OpenRouter):
        return "openrouter"
    return "local" if len(standins) == 1 else "mlx-cluster"


def settings_for(mode: str, *standins: OpenAIStandIn | AnthropicStandIn) -> dict[str, str]:
    """The variables that point a proxy of this mode at the stand-ins."""
    if not standins:
        return {}
    url = standins[0].url
    if mode == "claude":
        return {"ANYCLAUDE_CLAUDE_URL": url, "ANYCLAUDE_RECORD": "false"}
    if mode == "openrouter":
        key, model = OpenRouter.key, OpenRouter.default_model
        return {
            "OPENROUTER_BASE_URL": f"{url}/v1",
            "OPENROUTER_API_KEY": key,
            "OPENROUTER_MODEL": model,
            "ANYCLAUDE_RECORD": "false",
        }
    if mode == "mlx-cluster":
        nodes = [{"id": f"node-{i}", "url": f"{standin.url}/v1"} for i, standin in enumerate(standins)]
        return {"MLX_CLUSTER_NODES": json.dumps(nodes), "MLX_CLUSTER_STRATEGY": "round-robin"}
    return {"LOCAL_URL": f"{url}/v1", "ANYCLAUDE_PROBE": "no"}  # the stand-in's script is for the client alone
