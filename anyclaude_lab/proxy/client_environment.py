"""The environment in which Claude Code works behind this proxy. Pure: reads nothing, sets nothing.

What each variable does was tried with releases 2.1.330, 2.0.30 and 1.0.100; unknown ones do no harm to older releases.
A value the user set wins, with these exceptions: the base URL is ours in every mode, for there is no other way to us;
in translating modes the credential is a dummy, because a real one has no business there, and whatever would send the
client past the base URL is taken out.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from dataclasses import dataclass

from anyclaude_lab.settings import Settings

LOOPBACK = ("127.0.0.1", "localhost", "::1")
DUMMY_TOKEN = "local"  # noqa: S105  any text is enough for "logged in"; it is never checked
TOKEN_HEADER = "x-anyclaude-token"  # noqa: S105  for clients whose other credential is meant for the API behind us

# Credentials, and headers that may hold one, of the user's own account or gateway.
CREDENTIALS = (
    "ANTHROPIC_API_KEY",
    "ANTHROPIC_AUTH_TOKEN",
    "ANTHROPIC_CUSTOM_HEADERS",
    "ANTHROPIC_IDENTITY_TOKEN",
    "ANTHROPIC_IDENTITY_TOKEN_FILE",
    "CLAUDE_CODE_API_KEY_FILE_DESCRIPTOR",
    "CLAUDE_CODE_OAUTH_REFRESH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN",
    "CLAUDE_CODE_OAUTH_TOKEN_FILE_DESCRIPTOR",
    "CLAUDE_CODE_SESSION_ACCESS_TOKEN",
)
# With one of these the client does not ask the base URL at all (tried: it asks AWS, Google, Azure or a socket).
DETOURS = (
    "ANTHROPIC_UNIX_SOCKET",
    "CLAUDE_CODE_USE_ANTHROPIC_AWS",
    "CLAUDE_CODE_USE_ANTHROPIC_GOOGLE_CLOUD",
    "CLAUDE_CODE_USE_BEDROCK",
    "CLAUDE_CODE_USE_FOUNDRY",
    "CLAUDE_CODE_USE_MANTLE",
    "CLAUDE_CODE_USE_VERTEX",
)

MODEL_PREFIX = "anthropic-local/"
# Every place where some release takes a model's name from; the small ones last.
MAIN_MODELS = (
    "ANTHROPIC_MODEL",
    "ANTHROPIC_DEFAULT_FABLE_MODEL",
    "ANTHROPIC_DEFAULT_OPUS_MODEL",
    "ANTHROPIC_DEFAULT_SONNET_MODEL",
    "CLAUDE_CODE_SUBAGENT_MODEL",
)
SMALL_MODELS = ("ANTHROPIC_DEFAULT_HAIKU_MODEL", "ANTHROPIC_SMALL_FAST_MODEL")

WINDOW = "CLAUDE_CODE_MAX_CONTEXT_TOKENS"
OUTPUT_CAP_TOKENS = 8192
# 2.1.330 compacts when the prompt reaches window - output cap - 13,000 tokens.
COMPACTION_RESERVE_TOKENS = 13_000
OUR_RESERVE_TOKENS = 3_000
# Its own prompt and tools take about 12,000 tokens before the user says a word.
LEAST_WINDOW_TOKENS = 24_000

SLACK_S = 60.0  # the proxy gives up first, and says why
LEAST_IDLE_S, MOST_BYTE_IDLE_S = 300.0, 1800.0  # the client's own bounds


@dataclass(frozen=True, slots=True)
class ClientEnvironment:
    """What to change in the user's environment. `notes` are sentences for the user; they hold no values."""

    set: Mapping[str, str]
    unset: frozenset[str]
    notes: tuple[str, ...] = ()

    def applied_to(self, user_env: Mapping[str, str]) -> dict[str, str]:
        """The whole environment for the client."""
        kept = {name: value for name, value in user_env.items() if name not in self.unset}
        return {**kept, **self.set}


def client_model_id(model: str | None) -> str:
    """The name under which Claude Code knows a backend's model, for example `anthropic-local/qwen3-coder-30b`.

    It is no `claude-…` name, so that the declared window is believed and the short system prompt is used; it begins
    with `anthropic`, which model discovery asks for. Lower case, since 2.0.30 and 1.0.100 lower `ANTHROPIC_MODEL`
    but no other name. Of a path the last part; a suffix like `[1m]` would claim a window of a million tokens.
    """
    name = re.sub(r"\[.*?\]", "", model or "").strip().replace("\\", "/").rstrip("/")
    if name.startswith(("/", "~", ".")):
        name = name.rsplit("/", 1)[-1]
    name = re.sub(r"[^a-z0-9._:/@+-]+", "-", name.lower()).strip("-/")
    return MODEL_PREFIX + (name or "default")


def start_line(
    settings: Settings, base_url: str, model_id: str, token: str | None = None, window_tokens: int | None = None
) -> str:
    """The one line that starts Claude Code behind a proxy that runs. `token`: what that proxy asks for, if anything."""
    told = {"ANTHROPIC_BASE_URL": base_url, **_credential(settings, token)}
    if settings.translating and WINDOW in (room := _room(window_tokens)):
        told[WINDOW] = room[WINDOW]  # without it, a window of a million tokens is assumed
    named = f" --model {model_id}" if settings.translating else ""
    return f"{' '.join(f'{name}={shlex.quote(value)}' for name, value in told.items())} claude{named}"


def declared_window_tokens(window_tokens: int, output_cap_tokens: int) -> int:
    """The window to tell the client, so that it compacts late enough.

    The client keeps 13,000 tokens and the output cap free, which leaves 11,600 of a 32K window: less than its own
    prompt, so that it would compact on every turn. Where this reserve takes more than half, a larger window is told,
    so that compaction starts 3,000 tokens and the output cap before the real end.
    """
    if window_tokens - output_cap_tokens - COMPACTION_RESERVE_TOKENS >= window_tokens / 2:
        return window_tokens
    return window_tokens + COMPACTION_RESERVE_TOKENS - OUR_RESERVE_TOKENS


def client_environment(
    settings: Settings,
    base_url: str,
    *,
    window_tokens: int | None,
    model_id: str,
    user_env: Mapping[str, str],
    token: str | None = None,
) -> ClientEnvironment:
    """What Claude Code needs to work through `base_url` in the mode of `settings`.

    `window_tokens` is the backend model's real window (None: unknown), `model_id` its name for the client
    (`client_model_id`), `token` what the proxy asks for at that address (None: nothing).
    """
    wanted = _patience(settings.request_timeout_s) | {"CLAUDE_CODE_GATEWAY_HINT_HEADERS": "1"}
    unset: frozenset[str] = frozenset()
    if settings.translating:
        wanted |= _models(settings, model_id) | _room(window_tokens) | _manners()
        unset = frozenset((*CREDENTIALS, *DETOURS))
    ours = {"ANTHROPIC_BASE_URL": base_url, **_no_proxy(user_env)}
    ours |= _credential(settings, token, user_env.get("ANTHROPIC_CUSTOM_HEADERS"))
    kept_by_user = {name: user_env[name] for name in wanted if user_env.get(name)}
    return ClientEnvironment(
        set={**wanted, **kept_by_user, **ours},
        unset=unset - ours.keys(),
        notes=_notes(settings, user_env, unset, kept_by_user, window_tokens),
    )


def _credential(settings: Settings, token: str | None, headers: str | None = None) -> dict[str, str]:
    """What lets the client in. Where its own login is meant for the API, ours goes beside it, behind its `headers`."""
    if settings.translating:
        return {"ANTHROPIC_AUTH_TOKEN": token or DUMMY_TOKEN}
    if token is None:
        return {}
    return {"ANTHROPIC_CUSTOM_HEADERS": "\n".join([*filter(None, [headers]), f"{TOKEN_HEADER}: {token}"])}


def _models(settings: Settings, model_id: str) -> dict[str, str]:
    small_id = client_model_id(settings.small_model) if settings.small_model else model_id
    return dict.fromkeys(MAIN_MODELS, model_id) | dict.fromkeys(SMALL_MODELS, small_id)


def _room(window_tokens: int | None) -> dict[str, str]:
    if window_tokens is None:
        return {"CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(OUTPUT_CAP_TOKENS)}
    cap_tokens = min(OUTPUT_CAP_TOKENS, window_tokens // 4)
    return {
        "CLAUDE_CODE_MAX_OUTPUT_TOKENS": str(cap_tokens),
        WINDOW: str(declared_window_tokens(window_tokens, cap_tokens)),
        # The model menu would offer our name with a window of a million tokens.
        "CLAUDE_CODE_DISABLE_1M_CONTEXT": "1",
    }


def _patience(request_timeout_s: float) -> dict[str, str]:
    """The client's watchdogs. By default it gives up a stream silent for five minutes; a long prefill takes longer."""
    idle_s = max(LEAST_IDLE_S, request_timeout_s + SLACK_S)
    return {
        "API_TIMEOUT_MS": _ms(idle_s),
        "CLAUDE_STREAM_IDLE_TIMEOUT_MS": _ms(idle_s),
        "CLAUDE_BYTE_STREAM_IDLE_TIMEOUT_MS": _ms(min(idle_s, MOST_BYTE_IDLE_S)),
    }


def _manners() -> dict[str, str]:
    return {
        # A cut stream is asked for again as a stream; the other way tools may run twice.
        "CLAUDE_CODE_DISABLE_NONSTREAMING_FALLBACK": "1",
        # A block that differs from session to session, at the very start of the prompt.
        "CLAUDE_CODE_ATTRIBUTION_HEADER": "0",
    }


def _no_proxy(user_env: Mapping[str, str]) -> dict[str, str]:
    """Both spellings, with what the user had in either: the client sends even loopback through a proxy otherwise."""
    theirs = [name.strip() for key in ("NO_PROXY", "no_proxy") for name in user_env.get(key, "").split(",")]
    merged = ",".join(dict.fromkeys(name for name in (*theirs, *LOOPBACK) if name))
    return {"NO_PROXY": merged, "no_proxy": merged}


def _notes(
    settings: Settings,
    user_env: Mapping[str, str],
    unset: frozenset[str],
    kept_by_user: Mapping[str, str],
    window_tokens: int | None,
) -> tuple[str, ...]:
    notes = []
    if taken_out := sorted(name for name in unset if user_env.get(name)):
        notes.append(f"Taken out of Claude Code's environment for this run: {', '.join(taken_out)}.")
    if not settings.translating and (detours := [name for name in DETOURS if user_env.get(name)]):
        notes.append(f"{', '.join(detours)} is set: Claude Code will go past this proxy.")
    if models := sorted(kept_by_user.keys() & {*MAIN_MODELS, *SMALL_MODELS}):
        notes.append(
            f"{', '.join(models)} is yours and stays: the backend's model answers, but a claude-... name gets the long "
            "system prompt and a window that is not the model's."
        )
    if settings.translating and window_tokens is None and not user_env.get(WINDOW):
        notes.append(
            "The backend does not tell its model's context window, so Claude Code assumes a million tokens: set "
            f"backends.{settings.mode}.contextLength in .anyclauderc.json."
        )
    if settings.translating and window_tokens is not None and window_tokens < LEAST_WINDOW_TOKENS:
        notes.append(
            f"The model's window of {window_tokens} tokens is too small for Claude Code, whose own prompt takes about "
            "12,000: load the model with 32768 or more."
        )
    return tuple(notes)


def _ms(seconds: float) -> str:
    return str(round(seconds * 1000))
