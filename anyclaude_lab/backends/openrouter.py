"""OpenRouter: many providers behind one chat-completions API, with routing and attribution of its own.

Source: openrouter.ai/docs, "Provider Selection", "App Attribution", "API Keys".
"""

from __future__ import annotations

from anyclaude_lab.backends.capabilities import CapabilityFile
from anyclaude_lab.backends.http import Budgets
from anyclaude_lab.backends.openai_http import OpenAIBackend
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.wire.events import JsonObject

OPENROUTER_URL = "https://openrouter.ai/api/v1"


class OpenRouterBackend(OpenAIBackend):
    """`providers` are tried in this order; `allow_fallbacks` None leaves what comes after them to OpenRouter."""

    def __init__(
        self,
        *,
        api_key: str,
        model: str,
        base_url: str = OPENROUTER_URL,
        small_model: str | None = None,
        providers: tuple[str, ...] = (),
        allow_fallbacks: bool | None = None,
        site_url: str | None = None,
        app_title: str | None = None,
        adapter: str = "none",
        budgets: Budgets | None = None,
        remembered: CapabilityFile | None = None,
    ) -> None:
        if not api_key:
            raise SettingsError("OpenRouter needs a key; set OPENROUTER_API_KEY, or openrouter.apiKey in the settings.")
        routing: JsonObject = {}
        if providers:
            routing["order"] = list(providers)
        if allow_fallbacks is not None:
            routing["allow_fallbacks"] = allow_fallbacks
        # The title's header was renamed; mirrors of the API may still read the old name.
        named = [("HTTP-Referer", site_url), ("X-OpenRouter-Title", app_title), ("X-Title", app_title)]
        super().__init__(
            "openrouter",
            base_url,
            server="openrouter",
            model=model,
            small_model=small_model,
            api_key=api_key,
            adapter=adapter,
            budgets=budgets,
            remembered=remembered,
            extra_headers=[(name, value) for name, value in named if value],
            extra_body={"provider": routing} if routing else None,
        )
