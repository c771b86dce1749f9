"""OpenRouter, and Claude itself."""

from __future__ import annotations

from anyclaude_lab.settings.kinds import Integer, Key, Names, Switch, Text, Url
from anyclaude_lab.settings.rows.row import Setting
from anyclaude_lab.settings.rows.shared import every_backend, translating

OPENROUTER = (
    *every_backend("openrouter"),
    Setting(
        "backends.openrouter.baseUrl",
        Url("/v1"),
        "Address of OpenRouter's API.",
        default="https://openrouter.ai/api/v1",
        env=("OPENROUTER_BASE_URL",),
    ),
    Setting("backends.openrouter.apiKey", Key(), "Key from openrouter.ai/keys.", env=("OPENROUTER_API_KEY",)),
    Setting(
        "backends.openrouter.model",
        Text("the id of a model such as z-ai/glm-4.6"),
        "Model that answers.",
        default="z-ai/glm-4.6",
        env=("OPENROUTER_MODEL", "ANYCLAUDE_MODEL"),
        flag="--model",
        flag_value="ID",
    ),
    Setting(
        "backends.openrouter.contextLength",
        Integer(256, 100_000_000, "tokens"),
        "Context window of the model.",
        unset="what OpenRouter reports",
    ),
    Setting(
        "backends.openrouter.providers",
        Names('["deepinfra", "z-ai"]'),
        "Providers to ask, in this order.",
        unset="OpenRouter's choice",
        env=("OPENROUTER_PROVIDERS",),
    ),
    Setting(
        "backends.openrouter.allowFallbacks",
        Switch(),
        "Whether other providers may answer when those fail.",
        unset="OpenRouter's default, which is true",
    ),
    Setting(
        "backends.openrouter.siteUrl", Url(), "Site that OpenRouter counts the requests for.", unset="none is sent"
    ),
    Setting(
        "backends.openrouter.appTitle",
        Text(),
        "Name that OpenRouter shows for the requests.",
        unset="none is sent",
    ),
    *translating("openrouter", "off"),
)

CLAUDE = (
    *every_backend("claude"),
    Setting(
        "backends.claude.baseUrl",
        Url(),
        "Address of the Messages API. ANTHROPIC_BASE_URL is not read: it is what points Claude Code at this proxy.",
        default="https://api.anthropic.com",
        env=("ANYCLAUDE_CLAUDE_URL",),
    ),
    Setting(
        "backends.claude.apiKey",
        Key(),
        "Key for requests that bring none of their own. A login of Claude Code needs no key.",
        env=("ANTHROPIC_API_KEY",),
    ),
    Setting(
        "backends.claude.model",
        Text("the id or alias of a Claude model"),
        "Handed to Claude Code as its own --model.",
        unset="Claude Code's choice",
        env=("ANYCLAUDE_MODEL",),
        flag="--model",
        flag_value="ID",
    ),
)
