"""What a backend says when it refuses, as an error of our tree.

Error wording is a protocol: Claude Code compacts by itself when it reads `prompt is too long: N tokens > M maximum`,
and lowers its own limit on ``input length and `max_tokens` exceed context limit: A + B > C``. Every server words an
overflow in its own way, so the numbers are taken out of it. What would fail again the same way (a chat template's
complaint, a grammar) must not look like a passing fault: the client would ask a dozen times.
"""

from __future__ import annotations

import re
from typing import Any

import orjson

from anyclaude_lab.errors import (
    AnyclaudeError,
    BackendFailed,
    BackendUnavailable,
    InvalidRequest,
    NotFound,
    PromptTooLong,
    for_status,
)
from anyclaude_lab.wire import json_text
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_dialect import OPENROUTER, Dialect

LOADING_RETRY_AFTER_S = 5
_MAX_MESSAGE_CHARS = 600
_SECRET = re.compile(r"\b(sk|key|gsk|xai|tvly|Bearer)[-_ ][A-Za-z0-9_-]{12,}")


def _worded(sentence: str) -> re.Pattern[str]:
    """A pattern from a server's sentence: `<prompt>`, `<output>` and `<window>` are counts, `...` is anything short."""
    text = re.escape(sentence).replace(re.escape("..."), ".{0,160}?")
    for name in ("prompt", "output", "window"):
        text = text.replace(f"<{name}>", rf"(?P<{name}>\d[\d,]*)")
    return re.compile(text, re.IGNORECASE | re.DOTALL)


_OVERFLOWS = tuple(
    map(
        _worded,
        (
            # llama.cpp, and Ollama on it: ggml-org/llama.cpp#15780, continuedev/continue#12735
            "request (<prompt> tokens) exceeds the available context size (<window> tokens)",
            "n_prompt_tokens...<prompt>...n_ctx...<window>",
            # vLLM through the years: vllm-project/vllm#20409, stepfun-ai/Step-Audio-R1#3
            "maximum context length is <window> tokens...(<prompt> in the messages, <output> in the completion",
            "too large: <output>...context length is <window> tokens and your request has <prompt> input tokens",
            "passed <prompt> input tokens and requested <output> output tokens...length is only <window> tokens",
            "context length is <window> tokens...requested <output> output tokens...contains...<prompt> input tokens",
            "prompt (length <prompt>) is longer than the maximum model length of <window>",
            # OpenRouter: OpenHands/OpenHands#9937, topoteretes/cognee#1061
            "maximum context length is <window> tokens...(<prompt> of text input, <output> in the output",
            "maximum context length is <window> tokens...requested about <prompt> tokens",
            # OpenAI: hwchase17/chat-your-data#10, The-Vibe-Company/quivr#505
            "maximum context length is <window> tokens...(<prompt> in your prompt; <output> for the completion",
            "maximum context length is <window> tokens...you requested <prompt> tokens",
            "maximum context length is <window> tokens...request has <prompt> input tokens",
            "maximum context length is <window> tokens...resulted in <prompt> tokens",
            "limit of <window> tokens...resulted in <prompt> tokens",
            # LM Studio: lmstudio-ai/lmstudio-bug-tracker#546, Gitlawb/openclaude#353
            "keep the first <prompt> tokens...context length of only <window> tokens",
            "n_keep: <prompt>>= n_ctx: <window>",
            # Claude and Gemini behind a router: dcdpr/jp#978
            "prompt is too long: <prompt> tokens > <window> maximum",
            "exceed context limit: <prompt> + <output> > <window>",
            "input token count (<prompt>) exceeds the maximum number of tokens allowed (<window>)",
        ),
    )
)
# Says that it was too long, but not by how much.
_TOO_LONG = re.compile(
    r"context_length_exceeded|exceed_context_size|context_exceeded|larger than the context|prompt is too long"
    r"|exceeds? the (?:available )?(?:model'?s )?context (?:length|size|window)|maximum context length"
    r"|context (?:length|window) (?:was )?exceeded",
    re.IGNORECASE,
)
# The same request fails the same way again, whatever status the server gave it.
_DETERMINISTIC = re.compile(
    r"jinja|chat.?template|roles must alternate|System message must be|TemplateError|UndefinedError|is undefined"
    r"|content type is supported|image input is not supported|does not support (?:tools|thinking|images?)"
    r"|failed to parse grammar|initialize samplers|JSON schema conversion|has no attribute"
    r"|Expecting (?:value|property name|',' delimiter)",
    re.IGNORECASE,
)
_MODEL_MISSING = re.compile(
    r"model.{0,80}(?:not found|does not exist|not loaded)|no models? loaded|Repository ?Not ?Found|Could not locate"
    r"|not a valid model identifier|cached snapshot folder|No such file or directory|no endpoints found",
    re.IGNORECASE | re.DOTALL,
)
_UNAVAILABLE = re.compile(
    r"loading model|model is (?:still )?loading|generation thread died|overloaded|no capacity", re.IGNORECASE
)
_STATUS_OF_TYPE = {
    "invalid_request_error": 400,
    "BadRequestError": 400,
    "context_length_exceeded": 400,
    "exceed_context_size_error": 400,
    "authentication_error": 401,
    "invalid_api_key": 401,
    "insufficient_quota": 402,
    "permission_error": 403,
    "not_found_error": 404,
    "model_not_found": 404,
    "NotFoundError": 404,
    "rate_limit_error": 429,
    "rate_limit_exceeded": 429,
    "overloaded_error": 529,
    "unavailable_error": 503,
    "provider_unavailable": 502,
}


def read_error(
    status: int,
    body: bytes,
    dialect: Dialect,
    *,
    prompt_tokens: int | None = None,
    window_tokens: int | None = None,
    retry_after_s: int | None = None,
) -> AnyclaudeError:
    """The error for a refusal: `status` and `body` as they came, our own counts where the backend gives no numbers."""
    value = _json(body)
    text = body.decode("utf-8", "replace") if value is None else message_of(value)
    if status == 404 and (value is None or not text):
        hint = f"Is the base URL right? It usually ends in /v1. {dialect.label} said: {_short(text) or 'nothing'}"
        return NotFound(f"{dialect.label} has no chat completions at this address.", hint=hint)
    searched = body.decode("utf-8", "replace")
    overflow = _overflow(searched, prompt_tokens, window_tokens)
    if overflow is not None and status not in (401, 402, 403, 429):
        return overflow
    return _classified(status, text or searched, dialect, retry_after_s)


def error_in(chunk: JsonObject, dialect: Dialect, *, window_tokens: int | None = None) -> AnyclaudeError | None:
    """The error that a chunk or a body with status 200 carries, in any of its shapes; None if there is none."""
    if "choices" in chunk and not chunk.get("error"):
        return None
    text = message_of(chunk)
    if not text and not chunk.get("error"):
        return None
    raw = orjson.dumps({key: value for key, value in chunk.items() if key != "choices"}).decode()
    overflow = _overflow(raw, None, window_tokens)
    return overflow or _classified(_status_in(chunk), text or _short(raw), dialect, None)


def message_of(value: Any) -> str:
    """The sentence in an error body: `{"error": {"message"}}`, `{"error": text}`, `{"message"}`, also nested."""
    if isinstance(value, str):
        inner = _json(value.encode("utf-8", "replace")) if value.lstrip().startswith("{") else None
        return (message_of(inner) or value) if inner is not None else value  # quirk(Ollama): JSON inside the string
    if isinstance(value, list):
        return message_of(value[0]) if value else ""
    if not isinstance(value, dict):
        return ""
    for field in ("error", "message", "error_message", "detail", "msg"):
        if value.get(field) and (text := message_of(value[field])):
            return _with_provider(text, value) if field == "message" else text
    return ""


def _with_provider(text: str, error: JsonObject) -> str:
    """quirk(OpenRouter): "Provider returned error" says nothing; the provider's own words are in metadata.raw."""
    metadata = error.get("metadata")
    if not isinstance(metadata, dict):
        return text
    raw = message_of(metadata.get("raw")) if metadata.get("raw") else ""
    who = f" ({metadata['provider_name']})" if metadata.get("provider_name") else ""
    return f"{text}{who}: {raw}" if raw and raw != text else text + who


def _overflow(text: str, prompt_tokens: int | None, window_tokens: int | None) -> AnyclaudeError | None:
    for overflow in _OVERFLOWS:
        if match := overflow.search(text):
            found = {name: int(number.replace(",", "")) for name, number in match.groupdict().items()}
            prompt, window = found["prompt"], found["window"]
            output = found.get("output", 0)
            if prompt <= window and output and prompt + output > window:
                return InvalidRequest(
                    f"input length and `max_tokens` exceed context limit: {prompt} + {output} > {window}, "
                    "decrease input length or `max_tokens` and try again"
                )
            return PromptTooLong(max(prompt, window + 1), window)
    if not _TOO_LONG.search(text):
        return None
    if window_tokens is None:
        return InvalidRequest("prompt is too long: the backend says that it exceeds its context window")
    return PromptTooLong(max(prompt_tokens or 0, window_tokens + 1), window_tokens)


def _classified(status: int, text: str, dialect: Dialect, retry_after_s: int | None) -> AnyclaudeError:
    sentence = f"{dialect.label} refused the request: {_short(text)}"
    if _UNAVAILABLE.search(text) and status not in (400, 401, 402, 403, 429):
        return BackendUnavailable(
            f"{dialect.label} is not ready: {_short(text)}", retry_after_s=retry_after_s or LOADING_RETRY_AFTER_S
        )
    if _DETERMINISTIC.search(text) and status not in (401, 402, 403, 413, 429):
        return InvalidRequest(sentence)
    if status in (400, 404, 500) and _MODEL_MISSING.search(text):
        return NotFound(sentence, hint="Name a model that the server has: --model ID, or the mode's model setting.")
    if status == 404 and dialect.status_is_404:
        return BackendFailed(f"{dialect.label} failed: {_short(text)}", retry_after_s=retry_after_s)
    if status == 401:
        # Claude Code adds "Please run /login" to it, which is about another account.
        key = "OPENROUTER_API_KEY" if dialect is OPENROUTER else "LOCAL_API_KEY"
        sentence = f"{dialect.label} refused the key: {_short(text)} (check {key})"
    if status >= 500:
        sentence = f"{dialect.label} failed: {_short(text)}"
    return for_status(status, sentence, retry_after_s=retry_after_s)


def _status_in(chunk: JsonObject) -> int:
    """The status an error inside a stream stands for: its code as a number, or its type's usual one."""
    error = chunk.get("error")
    fields = error if isinstance(error, dict) else chunk
    candidates = [fields.get("code"), fields.get("status"), fields.get("type"), fields.get("error_type")]
    metadata = fields.get("metadata")
    if isinstance(metadata, dict):
        candidates.append(metadata.get("error_type"))
    for candidate in candidates:
        if isinstance(candidate, str) and candidate.isdigit():
            candidate = int(candidate)
        if isinstance(candidate, int) and 400 <= candidate < 600:
            return candidate
        if isinstance(candidate, str) and candidate in _STATUS_OF_TYPE:
            return _STATUS_OF_TYPE[candidate]
    return 500


def _short(text: str) -> str:
    text = _SECRET.sub("***", " ".join(text.split()))
    return text if len(text) <= _MAX_MESSAGE_CHARS else text[: _MAX_MESSAGE_CHARS - 3] + "..."


def _json(body: bytes) -> Any:
    try:
        return json_text.loads(body)
    except ValueError:
        return None
