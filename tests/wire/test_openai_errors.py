"""Rules 27, 28: the refusals of real servers, in the words that Claude Code understands."""

import json
from pathlib import Path
from typing import Any

import pytest

from anyclaude_lab.errors import (
    AnyclaudeError,
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    Forbidden,
    InvalidRequest,
    NotFound,
    PromptTooLong,
    RateLimited,
    RequestTooLarge,
    Unauthenticated,
)
from anyclaude_lab.wire.openai_dialect import DIALECTS
from anyclaude_lab.wire.openai_errors import message_of, read_error

# Each body as the server sent it, with the place where it was seen.
SEEN = json.loads((Path(__file__).parent / "overflows.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("seen", SEEN["overflow"], ids=lambda seen: seen["case"])
def test_an_overflow_is_said_in_the_words_that_make_the_client_compact(seen: dict[str, Any]) -> None:
    for status in (seen["status"], 500):  # llama.cpp answered 500 before ggml-org/llama.cpp#15780
        error = read_error(status, seen["body"].encode(), DIALECTS[seen["server"]])
        assert isinstance(error, PromptTooLong)
        assert error.message == f"prompt is too long: {seen['prompt_tokens']} tokens > {seen['window_tokens']} maximum"
        assert error.status == 400


@pytest.mark.parametrize("seen", SEEN["too_much_asked"], ids=lambda seen: seen["case"])
def test_too_much_output_asked_is_said_in_the_words_that_make_the_client_ask_for_less(seen: dict[str, Any]) -> None:
    body = json.dumps({"error": {"message": seen["message"], "code": 400}}).encode()
    error = read_error(400, body, DIALECTS["vllm"])
    assert not isinstance(error, PromptTooLong)
    numbers = f"{seen['prompt_tokens']} + {seen['max_tokens']} > {seen['window_tokens']}"
    assert error.message.startswith(f"input length and `max_tokens` exceed context limit: {numbers}")


def test_an_overflow_without_numbers_takes_ours() -> None:
    body = b'{"error":{"message":"the input length exceeds the context length","type":"invalid_request_error"}}'
    dialect = DIALECTS["ollama"]
    known = read_error(400, body, dialect, prompt_tokens=9000, window_tokens=8192)
    assert known.message == "prompt is too long: 9000 tokens > 8192 maximum"
    low_estimate = read_error(400, body, dialect, prompt_tokens=8000, window_tokens=8192)
    assert low_estimate.message == "prompt is too long: 8193 tokens > 8192 maximum"
    unknown = read_error(400, body, dialect)
    assert isinstance(unknown, InvalidRequest)
    assert unknown.message.startswith("prompt is too long")


REFUSALS: dict[str, tuple[str, int, bytes, type[AnyclaudeError]]] = {
    # mlx_lm/server.py: any exception before generation is a 404 with {"error": str(e)}
    "mlx-lm, images": ("mlx-lm", 404, b'{"error": "Only \'text\' content type is supported."}', InvalidRequest),
    "mlx-lm, template": ("mlx-lm", 404, b'{"error": "System message must be at the beginning."}', InvalidRequest),
    "mlx-lm, arguments": (
        "mlx-lm",
        404,
        b'{"error": "Expecting \',\' delimiter: line 1 column 9 (char 8)"}',
        InvalidRequest,
    ),
    "mlx-lm, dead thread": ("mlx-lm", 404, b'{"error": "generation thread died"}', BackendUnavailable),
    "mlx-lm, unknown model": (
        "mlx-lm",
        404,
        b'{"error": "404 Client Error. Repository Not Found for url: https://huggingface.co/api"}',
        NotFound,
    ),
    "mlx-lm, unknown model, offline": (
        "mlx-lm",
        404,
        b'{"error": "Cannot find an appropriate cached snapshot folder for the specified revision on the local disk"}',
        NotFound,
    ),
    "mlx-lm, anything else": ("mlx-lm", 404, b'{"error": "[metal::malloc] Attempting to allocate"}', BackendFailed),
    "mlx-lm, wrong path": ("mlx-lm", 404, b"Not Found", NotFound),
    # ggml-org/llama.cpp tools/server/README.md: /health and every endpoint while the model is loading
    "llama.cpp, loading": (
        "llama.cpp",
        503,
        b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
        BackendUnavailable,
    ),
    # mistralai/mistral-vibe#1006
    "llama.cpp, template": (
        "llama.cpp",
        500,
        b'{"error":{"code":500,"message":"Error: Jinja Exception: After the optional system message, conversation roles'
        b' must alternate user and assistant roles except for tool calls and results.","type":"server_error"}}',
        InvalidRequest,
    ),
    # lmstudio-ai/lmstudio-bug-tracker#2230
    "LM Studio, grammar": (
        "lmstudio",
        400,
        b'{"error":"Failed to initialize samplers: failed to parse grammar"}',
        InvalidRequest,
    ),
    "LM Studio, no model": (
        "lmstudio",
        404,
        b'{"error":{"message":"No models loaded. Please load a model first.","code":"model_not_found"}}',
        NotFound,
    ),
    "Ollama, no model": (
        "ollama",
        404,
        b'{"error":{"message":"model \\"qwen\\" not found, try pulling it first","type":"api_error"}}',
        NotFound,
    ),
    "Ollama, no tools": (
        "ollama",
        400,
        b'{"error":{"message":"registry.ollama.ai/library/x does not support tools"}}',
        InvalidRequest,
    ),
    "vLLM, unknown model": (
        "vllm",
        404,
        b'{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","code":404}',
        NotFound,
    ),
    "OpenRouter, key": (
        "openrouter",
        401,
        b'{"error":{"message":"No auth credentials found","code":401}}',
        Unauthenticated,
    ),
    "OpenRouter, credits": ("openrouter", 402, b'{"error":{"message":"Insufficient credits","code":402}}', Forbidden),
    "OpenRouter, moderation": (
        "openrouter",
        403,
        b'{"error":{"message":"flagged","code":403,"metadata":{"reasons":["x"]}}}',
        Forbidden,
    ),
    "OpenRouter, limit": ("openrouter", 429, b'{"error":{"message":"Rate limit exceeded","code":429}}', RateLimited),
    "OpenRouter, timeout": ("openrouter", 408, b'{"error":{"message":"timed out","code":408}}', BackendTimeout),
    "FastAPI": ("generic", 422, b'{"detail":[{"loc":["body"],"msg":"field required"}]}', InvalidRequest),
    "too large": ("generic", 413, b"Request Entity Too Large", RequestTooLarge),
    "gateway": ("generic", 502, b"<html>Bad Gateway</html>", BackendUnavailable),
    "nothing said": ("generic", 500, b"", BackendFailed),
}


@pytest.mark.parametrize(("server", "status", "body", "kind"), REFUSALS.values(), ids=REFUSALS)
def test_refusals_become_errors_of_the_tree(server: str, status: int, body: bytes, kind: type[AnyclaudeError]) -> None:
    error = read_error(status, body, DIALECTS[server])
    assert type(error) is kind
    assert DIALECTS[server].label in error.message


def test_what_would_fail_again_is_not_asked_again() -> None:
    body = b'{"error": "System message must be at the beginning."}'
    assert read_error(404, body, DIALECTS["mlx-lm"]).headers() == {"x-should-retry": "false"}


def test_a_loading_server_says_when_to_come_back() -> None:
    body = b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}'
    assert read_error(503, body, DIALECTS["llama.cpp"]).status == 529
    assert read_error(503, body, DIALECTS["llama.cpp"]).retry_after_s is not None
    assert read_error(503, body, DIALECTS["llama.cpp"], retry_after_s=17).retry_after_s == 17


def test_a_rate_limit_keeps_its_retry_after() -> None:
    error = read_error(429, b'{"error":{"message":"slow down"}}', DIALECTS["openrouter"], retry_after_s=9)
    assert error.headers() == {"retry-after": "9"}


def test_a_rate_limit_that_speaks_of_context_is_still_a_rate_limit() -> None:
    body = b'{"error":{"message":"Too many tokens per minute; the maximum context length is not the reason"}}'
    assert type(read_error(429, body, DIALECTS["openrouter"])) is RateLimited


def test_the_providers_own_words_are_found() -> None:
    # openrouter.ai/docs/api-reference/errors: metadata.raw
    body = {
        "message": "Provider returned error",
        "metadata": {"raw": '{"detail":"tool names must be unique"}', "provider_name": "Chutes"},
    }
    assert message_of({"error": body}) == "Provider returned error (Chutes): tool names must be unique"


def test_keys_in_an_error_are_hidden_and_long_pages_cut() -> None:
    key = "sk-or-v1-0123456789abcdef0123"
    body = b'{"error":{"message":"Incorrect API key provided: ' + key.encode() + b'"}}'
    assert key not in read_error(401, body, DIALECTS["openrouter"]).message
    assert len(read_error(500, b"<html>" + b"x" * 100_000, DIALECTS["generic"]).message) < 1000


def test_a_wrong_address_is_named_as_such() -> None:
    error = read_error(404, b"Not Found", DIALECTS["mlx-lm"])
    assert error.hint is not None
    assert "/v1" in error.hint


@pytest.mark.parametrize(("name", "variable"), [("openrouter", "OPENROUTER_API_KEY"), ("vllm", "LOCAL_API_KEY")])
def test_a_refused_key_says_which_one_to_look_at(name: str, variable: str) -> None:
    failure = read_error(401, b'{"error":{"message":"No auth credentials found"}}', DIALECTS[name])
    assert "No auth credentials found" in failure.message and variable in failure.message
