"""What every test shares: nothing of the user's own set-up may reach it."""

from __future__ import annotations

import os

import pytest
from hypothesis import settings

FOREIGN_PREFIXES = ("ANTHROPIC_", "CLAUDE_", "ANYCLAUDE_", "LOCAL_", "LMSTUDIO_", "OPENROUTER_", "MLX_")
FOREIGN_NAMES = ("PROXY_ONLY", "SEARXNG_URL", "TAVILY_API_KEY", "BRAVE_API_KEY", "CLAUDECODE", "MODEL_CONTEXT_WINDOW")
PROXY_NAMES = ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY")
OURS = ("ANYCLAUDE_TEST_CLIENTS",)

settings.register_profile("untimed", deadline=None)  # a busy machine is no failure
settings.load_profile("untimed")


@pytest.fixture(autouse=True)
def _no_foreign_settings(monkeypatch: pytest.MonkeyPatch) -> None:
    """Take out of the environment what would change the product, its backends or the client."""
    for name in list(os.environ):
        foreign = name.startswith(FOREIGN_PREFIXES) or name in FOREIGN_NAMES or name.upper() in PROXY_NAMES
        if foreign and name not in OURS:
            monkeypatch.delenv(name)
