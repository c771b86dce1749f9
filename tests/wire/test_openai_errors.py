"""Rules 27, 28: the refusals of real servers, in the words that Claude Code understands."""

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

# Each body as the server sent it; the comment says where it was seen.
OVERFLOWS = {
    # ggml-org/llama.cpp#15780; continuedev/continue#12735
    "llama.cpp": ("llama.cpp", 400, '{"error":{"code":400,"message":"request (42947 tokens) exceeds the available context size (8192 tokens), try increasing it","type":"exceed_context_size_error","n_prompt_tokens":42947,"n_ctx":8192}}', 42947, 8192),
    # oobabooga/textgen#7257
    "llama.cpp, before": ("llama.cpp", 400, '{"error":{"code":400,"message":"the request exceeds the available context size. try increasing the context size or enable context shift","type":"exceed_context_size_error","n_prompt_tokens":14429,"n_ctx":8192}}', 14429, 8192),
    # ollama/ollama#17889: the runner's body as a string
    "Ollama": ("ollama", 400, '{"error":{"message":"{\\"error\\":{\\"code\\":400,\\"message\\":\\"request (42947 tokens) exceeds the available context size (8192 tokens), try increasing it\\",\\"type\\":\\"exceed_context_size_error\\",\\"n_prompt_tokens\\":42947,\\"n_ctx\\":8192}}","type":"invalid_request_error","param":null,"code":null}}', 42947, 8192),
    # vllm-project/vllm#20409
    "vLLM, prompt over": ("vllm", 400, '{"object":"error","message":"This model\'s maximum context length is 16384 tokens. However, you requested 122946 tokens (112946 in the messages, 10000 in the completion). Please reduce the length of the messages or completion.","type":"BadRequestError","param":null,"code":400}', 112946, 16384),
    "vLLM 2026": ("vllm", 400, '{"error":{"message":"You passed 32769 input tokens and requested 0 output tokens. However, the model\'s context length is only 32768 tokens, resulting in a maximum input length of 32768 tokens. Please reduce the length of the input prompt. (parameter=input_tokens, value=32769)","type":"BadRequestError","param":"input_tokens","code":400}}', 32769, 32768),
    "vLLM, decoder prompt": ("vllm", 400, '{"error":{"message":"The decoder prompt (length 12324) is longer than the maximum model length of 8192. Make sure that `max_model_len` is no smaller than the number of text tokens.","type":"BadRequestError","code":400}}', 12324, 8192),
    # Aider-AI/aider#3721, topoteretes/cognee#1061
    "OpenRouter": ("openrouter", 400, '{"error":{"message":"This endpoint\'s maximum context length is 16384 tokens. However, you requested about 94307 tokens (94307 of text input). Please reduce the length of either one, or use the \\"middle-out\\" transform to compress your prompt automatically.","code":400,"metadata":{"provider_name":null}}}', 94307, 16384),
    # dcdpr/jp#978
    "OpenRouter, Claude behind": ("openrouter", 400, '{"error":{"message":"Provider returned error","code":400,"metadata":{"raw":"{\\"type\\":\\"error\\",\\"error\\":{\\"type\\":\\"invalid_request_error\\",\\"message\\":\\"prompt is too long: 1284668 tokens > 1000000 maximum\\"}}","provider_name":"Anthropic"}}}', 1284668, 1000000),
    # hwchase17/chat-your-data#10
    "OpenAI": ("generic", 400, '{"error":{"message":"This model\'s maximum context length is 8192 tokens. However, your messages resulted in 10231 tokens. Please reduce the length of the messages.","type":"invalid_request_error","param":"messages","code":"context_length_exceeded"}}', 10231, 8192),
    # lmstudio-ai/lmstudio-bug-tracker#546
    "LM Studio": ("lmstudio", 400, '{"error":"Trying to keep the first 111490 tokens when context the overflows. However, the model is loaded with context length of only 32768 tokens, which is not enough. Try to load the model with a larger context length, or provide a shorter input."}', 111490, 32768),
    # Gitlawb/openclaude#353
    "LM Studio, n_keep": ("lmstudio", 400, '{"error":"The number of tokens to keep from the initial prompt is greater than the context length (n_keep: 13055>= n_ctx: 4096). Try to load the model with a larger context length, or provide a shorter input."}', 13055, 4096),
    "Gemini": ("openrouter", 400, '{"error":{"code":400,"message":"The input token count (1200000) exceeds the maximum number of tokens allowed (1048576).","status":"INVALID_ARGUMENT"}}', 1200000, 1048576),
}  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(("server", "status", "body", "prompt", "window"), OVERFLOWS.values(), ids=OVERFLOWS)
def test_an_overflow_is_said_in_the_words_that_make_the_client_compact(
    server: str, status: int, body: str, prompt: int, window: int
) -> None:
    for seen_status in (status, 500):  # llama.cpp answered 500 before ggml-org/llama.cpp#15780
        error = read_error(seen_status, body.encode(), DIALECTS[server])
        assert isinstance(error, PromptTooLong)
        assert error.message == f"prompt is too long: {prompt} tokens > {window} maximum"
        assert error.status == 400


TOO_MUCH_ASKED = {
    # OpenHands/OpenHands#9937
    "OpenRouter": ("this endpoint's maximum context length is 131072 tokens. however, you requested about 138956 tokens (7884 of text input, 131072 in the output). please reduce the length of either one", (7884, 131072, 131072)),
    # stepfun-ai/Step-Audio-R1#3
    "vLLM": ("'max_tokens' or 'max_completion_tokens' is too large: 32000. This model's maximum context length is 32768 tokens and your request has 16000 input tokens (32000 > 32768 - 16000).", (16000, 32000, 32768)),
    "vLLM 2026": ("You passed 98305 input tokens and requested 32768 output tokens. However, the model's context length is only 131072 tokens, resulting in a maximum input length of 98304 tokens.", (98305, 32768, 131072)),
    # meta-llama/llama-verifications#58
    "vLLM 2024": ("This model's maximum context length is 6048 tokens. However, you requested 6616 tokens (568 in the messages, 6048 in the completion).", (568, 6048, 6048)),
}  # fmt: skip  # noqa: E501


@pytest.mark.parametrize(("message", "numbers"), TOO_MUCH_ASKED.values(), ids=TOO_MUCH_ASKED)
def test_too_much_output_asked_is_said_in_the_words_that_make_the_client_ask_for_less(
    message: str, numbers: tuple[int, int, int]
) -> None:
    import orjson

    error = read_error(400, orjson.dumps({"error": {"message": message, "code": 400}}), DIALECTS["vllm"])
    assert not isinstance(error, PromptTooLong)
    prompt, output, window = numbers
    start = f"input length and `max_tokens` exceed context limit: {prompt} + {output} > {window}"
    assert error.message.startswith(start)


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
        "mlx-lm", 404, b'{"error": "Expecting \',\' delimiter: line 1 column 9 (char 8)"}', InvalidRequest),
    "mlx-lm, dead thread": ("mlx-lm", 404, b'{"error": "generation thread died"}', BackendUnavailable),
    "mlx-lm, unknown model": (
        "mlx-lm", 404, b'{"error": "404 Client Error. Repository Not Found for url: https://huggingface.co/api"}', NotFound),
    "mlx-lm, anything else": ("mlx-lm", 404, b'{"error": "[metal::malloc] Attempting to allocate"}', BackendFailed),
    "mlx-lm, wrong path": ("mlx-lm", 404, b"Not Found", NotFound),
    # ggml-org/llama.cpp tools/server/README.md: /health and every endpoint while the model is loading
    "llama.cpp, loading": (
        "llama.cpp", 503, b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}', BackendUnavailable),
    # mistralai/mistral-vibe#1006
    "llama.cpp, template": (
        "llama.cpp", 500,
        b'{"error":{"code":500,"message":"Error: Jinja Exception: After the optional system message, conversation roles'
        b' must alternate user and assistant roles except for tool calls and results.","type":"server_error"}}',
        InvalidRequest),
    # lmstudio-ai/lmstudio-bug-tracker#2230
    "LM Studio, grammar": (
        "lmstudio", 400, b'{"error":"Failed to initialize samplers: failed to parse grammar"}', InvalidRequest),
    "LM Studio, no model": (
        "lmstudio", 404,
        b'{"error":{"message":"No models loaded. Please load a model in the developer page.","code":"model_not_found"}}',
        NotFound),
    "Ollama, no model": (
        "ollama", 404, b'{"error":{"message":"model \\"qwen\\" not found, try pulling it first","type":"api_error"}}', NotFound),
    "Ollama, no tools": (
        "ollama", 400, b'{"error":{"message":"registry.ollama.ai/library/x does not support tools"}}', InvalidRequest),
    "vLLM, unknown model": (
        "vllm", 404, b'{"object":"error","message":"The model `x` does not exist.","type":"NotFoundError","code":404}', NotFound),
    "OpenRouter, key": (
        "openrouter", 401, b'{"error":{"message":"No auth credentials found","code":401}}', Unauthenticated),
    "OpenRouter, credits": (
        "openrouter", 402, b'{"error":{"message":"Insufficient credits","code":402}}', Forbidden),
    "OpenRouter, moderation": (
        "openrouter", 403, b'{"error":{"message":"flagged","code":403,"metadata":{"reasons":["x"]}}}', Forbidden),
    "OpenRouter, limit": ("openrouter", 429, b'{"error":{"message":"Rate limit exceeded","code":429}}', RateLimited),
    "OpenRouter, timeout": ("openrouter", 408, b'{"error":{"message":"timed out","code":408}}', BackendTimeout),
    "FastAPI": ("generic", 422, b'{"detail":[{"loc":["body"],"msg":"field required"}]}', InvalidRequest),
    "too large": ("generic", 413, b"Request Entity Too Large", RequestTooLarge),
    "gateway": ("generic", 502, b"<html>Bad Gateway</html>", BackendUnavailable),
    "nothing said": ("generic", 500, b"", BackendFailed),
}  # fmt: skip


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
