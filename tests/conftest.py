"""What every test shares: nothing of the user's own set-up may reach it."""

from __future__ import annotations

import os
import signal
from typing import Any

import pytest
from hypothesis import HealthCheck, settings

FOREIGN_PREFIXES = ("ANTHROPIC_", "CLAUDE_", "ANYCLAUDE_", "LOCAL_", "LMSTUDIO_", "OPENROUTER_", "MLX_")
FOREIGN_NAMES = ("PROXY_ONLY", "SEARXNG_URL", "TAVILY_API_KEY", "BRAVE_API_KEY", "CLAUDECODE", "MODEL_CONTEXT_WINDOW")
PROXY_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
OURS = ("ANYCLAUDE_TEST_CLIENTS",)

# Modules whose tests share something dear; they stay on one worker, where a run is divided with --dist loadgroup.
TOGETHER = ("tests/browser/test_widgets.py", "tests/house/test_wheel.py")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as a shell's background jobs have it, and hand on to children
    signal.signal(signal.SIGINT, signal.default_int_handler)

# A busy machine is no failure; and where everything is required, the same is tried each time: what is new is found
# by a developer's run and by `make fuzz`, not by the check before a change lands.
settings.register_profile(
    "untimed",
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow],
    derandomize=os.environ.get("REQUIRE_ALL") == "1",
)
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take out of the environment what would change the product, its backends or the client."""
    for name in list(os.environ):
        foreign = name.startswith(FOREIGN_PREFIXES) or name in FOREIGN_NAMES or name.upper() in PROXY_NAMES
        if foreign and name not in OURS:
            monkeypatch.delenv(name)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> Any:
    # quirk(pytest-xdist 3.8 on pytest 9.2): it hands `xdist_group` on in an attribute that pytest no longer reads.
    if config.getvalue("dist") != "loadgroup":
        return None
    from xdist.scheduler import LoadScopeScheduling

    def scope(nodeid: str) -> str:
        module = nodeid.partition("::")[0]
        return module if module in TOGETHER else nodeid

    scheduler = LoadScopeScheduling(config, log)
    scheduler._split_scope = scope
    return scheduler
