"""How the OpenAI-compatible servers differ from each other. One class per server, one source per oddity."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .http import Exchange, HeaderList, JsonObject, Responder
from .script import Frame, Refusal, Reply, StreamError, Text, Thinking, ToolCall, pieces

STOP_REASONS = {"end": "stop", "tool": "tool_calls", "length": "length", "refusal": "content_filter"}


@dataclass(frozen=True, slots=True)
class Usage:
    """Token counts of one request: the prompt, what of it came from the cache, and the answer."""

    prompt: int
    cached: int
    output: int


@dataclass(slots=True)
class Request:
    """A chat-completions request beside the counts that its answer will report."""

    body: JsonObject
    turn: Reply
    usage: Usage
    serial: int
    id: str = field(init=False)

    def __post_init__(self) -> None:
        self.id = f"chatcmpl-{self.serial}"

    @property
    def wants_usage(self) -> bool:
        return bool((self.body.get("stream_options") or {}).get("include_usage"))


class Profile:
    """A server that does what the OpenAI reference says. Source: platform.openai.com "Chat Completions API"."""

    name: ClassVar[str] = "openai"
    http10: ClassVar[bool] = False
    reasoning_field: ClassVar[str | None] = None
    default_model: ClassVar[str] = "served-model"
    window_tokens: int | None = None

    def __init__(self, model: str | None = None, window_tokens: int | None = None) -> None:
        self.model = model or self.default_model
        if window_tokens is not None:
            self.window_tokens = window_tokens

    # -- requests ------------------------------------------------------------------------------------------------

    def refuse(self, exchange: Exchange, body: JsonObject, prompt_tokens: int) -> Refusal | None:
        """What this server itself refuses before its model is asked."""
        return None

    def complaints(self, exchange: Exchange, body: JsonObject) -> Iterator[str]:
        """Sentences about what a client of this server must not send."""
        return iter(())

    async def other(self, exchange: Exchange, responder: Responder, count: int) -> bool:
        """Answer a path beside chat completions; False when this server does not have it."""
        if (exchange.method, exchange.path) == ("GET", "/v1/models"):
            await responder.full(200, {"object": "list", "data": [self.model_entry()]})
            return True
        return False

    async def unknown(self, exchange: Exchange, responder: Responder) -> None:
        await responder.full(404, self.error(404, f"Unknown request URL: {exchange.method} {exchange.path}", None))

    def model_entry(self) -> JsonObject:
        return {"id": self.model, "object": "model", "created": 1700000000, "owned_by": "local"}

    # -- answers -------------------------------------------------------------------------------------------------

    def error(self, status: int, message: str, kind: str | None) -> bytes | JsonObject:
        return {"error": {"message": message, "type": kind or "invalid_request_error", "param": None, "code": None}}

    def stream_error(self, error: StreamError) -> bytes:
        return sse({"error": {"message": error.message, "type": error.type, "code": error.code}})

    def stream_headers(self, request: Request) -> HeaderList:
        return [("content-type", "text/event-stream"), ("cache-control", "no-cache")]

    def usage(self, usage: Usage) -> JsonObject:
        return {
            "prompt_tokens": usage.prompt,
            "completion_tokens": usage.output,
            "total_tokens": usage.prompt + usage.output,
            "prompt_tokens_details": {"cached_tokens": usage.cached},
        }

    def stop_reason(self, turn: Reply) -> str:
        return STOP_REASONS[turn.stop_kind]

    def call_id(self, part: ToolCall, request: Request, index: int) -> str:
        return part.id or f"call_{request.serial}_{index}"

    def envelope(self, request: Request, kind: str) -> JsonObject:
        return {"id": request.id, "object": kind, "created": 1700000000, "model": request.body.get("model", self.model)}

    def chunk(self, request: Request, delta: JsonObject, stop: str | None = None) -> JsonObject:
        choice = {"index": 0, "delta": delta, "finish_reason": stop}
        return {**self.envelope(request, "chat.completion.chunk"), "choices": [choice]}

    def opening(self, request: Request) -> Iterator[Frame]:
        yield Frame(sse(self.chunk(request, {"role": "assistant", "content": ""})), "start")

    def content(self, request: Request) -> Iterator[Frame]:
        calls = 0
        for part in request.turn.parts:
            if isinstance(part, Text):
                for piece in pieces(part.text):
                    yield Frame(sse(self.chunk(request, {"content": piece})), "text")
            elif isinstance(part, Thinking):
                for piece in pieces(part.text):
                    yield Frame(sse(self.chunk(request, self.reasoning(piece))), "thinking")
            else:
                yield from self.call(request, part, calls)
                calls += 1

    def reasoning(self, text: str) -> JsonObject:
        return {self.reasoning_field: text} if self.reasoning_field else {"content": f"<think>{text}</think>"}

    def call(self, request: Request, part: ToolCall, index: int) -> Iterator[Frame]:
        head = {"index": index, "id": self.call_id(part, request, index), "type": "function"}
        opening = {**head, "function": {"name": part.name, "arguments": ""}}
        yield Frame(sse(self.chunk(request, {"tool_calls": [opening]})), "tool")
        for piece in pieces(arguments(part)):
            delta = {"tool_calls": [{"index": index, "function": {"arguments": piece}}]}
            yield Frame(sse(self.chunk(request, delta)), "tool")

    def whole_call(self, request: Request, part: ToolCall, index: int) -> Frame:
        """For servers that hold a call until it is complete."""
        function = {"name": part.name, "arguments": arguments(part)}
        call = {"index": index, "id": self.call_id(part, request, index), "type": "function", "function": function}
        return Frame(sse(self.chunk(request, {"tool_calls": [call]})), "tool")

    def closing(self, request: Request) -> Iterator[Frame]:
        yield Frame(sse(self.chunk(request, {}, self.stop_reason(request.turn))), "end")
        if request.wants_usage:
            usage = {
                **self.envelope(request, "chat.completion.chunk"),
                "choices": [],
                "usage": self.usage(request.usage),
            }
            yield Frame(sse(usage), "last")
        yield Frame(b"data: [DONE]\n\n", "last")

    def frames(self, request: Request) -> list[Frame]:
        return [*self.opening(request), *self.content(request), *self.closing(request)]

    def completion(self, request: Request) -> JsonObject:
        """The whole answer as one object."""
        parts = request.turn.parts
        calls = [p for p in parts if isinstance(p, ToolCall)]
        text = "".join(p.text for p in parts if isinstance(p, Text))
        message: JsonObject = {"role": "assistant", "content": text or None}
        if thinking := "".join(p.text for p in parts if isinstance(p, Thinking)):
            message.update(self.reasoning(thinking))
        if calls:
            message["tool_calls"] = [
                {
                    "id": self.call_id(part, request, index),
                    "type": "function",
                    "function": {"name": part.name, "arguments": arguments(part)},
                }
                for index, part in enumerate(calls)
            ]
        choice = {"index": 0, "message": message, "finish_reason": self.stop_reason(request.turn)}
        return {**self.envelope(request, "chat.completion"), "choices": [choice], "usage": self.usage(request.usage)}


class MlxLm(Profile):
    """mlx_lm.server 0.32. Source of every quirk: mlx_lm/server.py of that release."""

    name = "mlx-lm"
    http10 = True  # http.server answers HTTP/1.0 and closes after each answer
    reasoning_field = "reasoning"
    default_model = "default_model"
    prefill_steps = 3
    hub_cache = False

    def refuse(self, exchange: Exchange, body: JsonObject, prompt_tokens: int) -> Refusal | None:
        if exchange.header("content-length") is None:  # do_POST: 411 without Content-Length
            return Refusal(411, "Content-Length header is required")
        model = body.get("model", "default_model")
        if model not in ("default_model", self.model):  # any other name is loaded or downloaded as a hub id
            return Refusal(404, f"404 Client Error. Repository Not Found for {model}")
        if exchange.query:  # do_POST compares the whole request target
            return Refusal(404, body=b"Not Found")
        for message in body.get("messages", ()):
            content = message.get("content")
            if isinstance(content, list) and any(part.get("type") != "text" for part in content):
                return Refusal(404, "Only 'text' content type is supported.")  # process_message_content
            for call in message.get("tool_calls") or ():
                try:
                    json.loads(call["function"]["arguments"])
                except ValueError as error:  # arguments of the history are parsed before the template runs
                    return Refusal(404, str(error))
        return None

    def complaints(self, exchange: Exchange, body: JsonObject) -> Iterator[str]:
        model = body.get("model", "default_model")
        if model not in ("default_model", self.model):
            yield f"model {model!r} would be downloaded from the hub"
        if "max_tokens" not in body and "max_completion_tokens" not in body:
            yield "without max_tokens the answer is cut at 512 tokens"
        if body.get("stream_options") == {}:
            yield "stream_options without include_usage raises KeyError after the last content chunk"

    async def other(self, exchange: Exchange, responder: Responder, count: int) -> bool:
        if (exchange.method, exchange.path) == ("GET", "/health"):
            await responder.full(200, {"status": "ok"})  # says ok while the model is still loading
        elif (exchange.method, exchange.path) == ("GET", "/v1/models"):
            # handle_models_request scans the hub cache: without that folder it dies after the headers
            entry = {"object": "list", "data": [self.model_entry()]}
            await responder.full(200, entry if self.hub_cache else b"")
        else:
            return False
        return True

    async def unknown(self, exchange: Exchange, responder: Responder) -> None:
        await responder.full(404, b"Not Found")

    def error(self, status: int, message: str, kind: str | None) -> JsonObject:
        return {"error": message}

    def stream_error(self, error: StreamError) -> bytes:
        return b""  # an exception during generation only closes the socket

    def call_id(self, part: ToolCall, request: Request, index: int) -> str:
        return part.id or str(uuid.uuid5(uuid.NAMESPACE_URL, f"{request.serial}/{index}"))

    def chunk(self, request: Request, delta: JsonObject, stop: str | None = None) -> JsonObject:
        return super().chunk(request, {"role": "assistant", **delta}, stop)  # every delta repeats the role

    def opening(self, request: Request) -> Iterator[Frame]:
        total = request.usage.prompt - request.usage.cached
        for step in range(1, self.prefill_steps + 1):  # keepalive_callback, once per prefill chunk
            yield Frame(f": keepalive {total * step // self.prefill_steps}/{total}\n\n".encode(), "start")

    def call(self, request: Request, part: ToolCall, index: int) -> Iterator[Frame]:
        if part.raw_arguments is None:  # a call that fails to parse is dropped; finish_reason stays tool_calls
            yield self.whole_call(request, part, index)


class Anyclaude(Profile):
    """The project's own engine. Source: anyclaude_lab/engine/serve/http.py."""

    name = "anyclaude"
    reasoning_field = "reasoning_content"
    default_model = "Qwen3-8B-4bit"
    window_tokens = 8192

    async def other(self, exchange: Exchange, responder: Responder, count: int) -> bool:
        route = (exchange.method, exchange.path)
        if route == ("GET", "/health"):
            await responder.full(200, {"status": "ok", "server": "anyclaude-engine"})
        elif route == ("POST", "/tokenize"):
            await responder.full(200, {"count": count})
        else:
            return await super().other(exchange, responder, count)
        return True

    def model_entry(self) -> JsonObject:
        return {**super().model_entry(), "owned_by": "anyclaude-engine", "context_length": self.window_tokens}

    def opening(self, request: Request) -> Iterator[Frame]:
        yield from super().opening(request)
        for done in (request.usage.cached, request.usage.prompt):
            yield Frame(f": keepalive {done}/{request.usage.prompt}\n\n".encode(), "start")

    def call(self, request: Request, part: ToolCall, index: int) -> Iterator[Frame]:
        yield self.whole_call(request, part, index)


class LlamaCpp(Profile):
    """llama-server. Source: ggml-org/llama.cpp tools/server/README.md."""

    name = "llama.cpp"
    reasoning_field = "reasoning_content"  # README, --reasoning-format
    window_tokens = 8192
    loading = False

    def refuse(self, exchange: Exchange, body: JsonObject, prompt_tokens: int) -> Refusal | None:
        if self.loading:  # README, GET /health: 503 while loading, the same for every other endpoint
            return Refusal(503, "Loading model", "unavailable_error")
        if self.window_tokens is not None and prompt_tokens > self.window_tokens:
            # tools/server/server-context.cpp: the sentence, with both counts beside it
            message = (
                f"request ({prompt_tokens} tokens) exceeds the available context size ({self.window_tokens} tokens), "
                "try increasing it"
            )
            counts = {"n_prompt_tokens": prompt_tokens, "n_ctx": self.window_tokens}
            error = {"code": 400, "message": message, "type": "exceed_context_size_error", **counts}
            return Refusal(400, body=json.dumps({"error": error}).encode())
        return None

    build = "b7000"

    async def other(self, exchange: Exchange, responder: Responder, count: int) -> bool:
        route = (exchange.method, exchange.path)
        if self.loading:
            await responder.full(503, self.error(503, "Loading model", "unavailable_error"))
        elif route == ("GET", "/health"):
            await responder.full(200, {"status": "ok"})
        elif route == ("GET", "/props"):  # README, GET /props
            settings = {"n_ctx": self.window_tokens}
            props = {"total_slots": 1, "model_path": self.model, "build_info": self.build}
            await responder.full(200, {"default_generation_settings": settings, **props})
        elif route == ("POST", "/v1/chat/completions/input_tokens"):  # README, token counting on chat bodies
            await responder.full(200, {"object": "response.input_tokens", "input_tokens": count})
        elif route == ("POST", "/v1/messages/count_tokens"):
            await responder.full(200, {"input_tokens": count})
        else:
            return await super().other(exchange, responder, count)
        return True

    def model_entry(self) -> JsonObject:
        return {**super().model_entry(), "owned_by": "llamacpp", "meta": {"n_ctx_train": 32768}}

    def error(self, status: int, message: str, kind: str | None) -> JsonObject:
        return {"error": {"code": status, "message": message, "type": kind or "invalid_request_error"}}

    def stream_error(self, error: StreamError) -> bytes:
        return (
            b"error: "
            + json.dumps({"code": error.code, "message": error.message, "type": "server_error"}).encode()
            + b"\n\n"
        )

    def timings(self, usage: Usage) -> JsonObject:
        """README, "timings": cache_n is reused, prompt_n newly processed."""
        return {
            "cache_n": usage.cached,
            "prompt_n": usage.prompt - usage.cached,
            "prompt_ms": 12.5,
            "predicted_n": usage.output,
            "predicted_ms": 40.0,
        }

    def closing(self, request: Request) -> Iterator[Frame]:
        final = {**self.chunk(request, {}, self.stop_reason(request.turn)), "timings": self.timings(request.usage)}
        yield Frame(sse(final), "end")
        yield from list(super().closing(request))[1:]

    def completion(self, request: Request) -> JsonObject:
        return {**super().completion(request), "timings": self.timings(request.usage)}


class Ollama(Profile):
    """Ollama's OpenAI-compatible face. Sources: ollama/ollama docs/api.md and openai/openai.go."""

    name = "ollama"
    reasoning_field = "reasoning"  # openai.go, Message.Reasoning
    default_model = "qwen3:8b"
    window_tokens = 4096
    trained_window_tokens = 40960

    async def other(self, exchange: Exchange, responder: Responder, count: int) -> bool:
        route = (exchange.method, exchange.path)
        listed = {"name": self.model, "model": self.model, "size": 5_200_000_000, "details": {"family": "qwen3"}}
        if route == ("GET", "/"):
            await responder.full(200, b"Ollama is running", [("content-type", "text/plain; charset=utf-8")])
        elif route == ("GET", "/api/version"):  # docs/api.md, Version
            await responder.full(200, {"version": "0.12.6"})
        elif route == ("GET", "/api/tags"):  # docs/api.md, List Local Models
            await responder.full(200, {"models": [listed]})
        elif route == ("GET", "/api/ps"):  # docs/api.md, List Running Models: the window it was loaded with
            await responder.full(200, {"models": [{**listed, "context_length": self.window_tokens}]})
        elif route == ("POST", "/api/show"):  # docs/api.md, Show Model Information: the window it was trained with
            info = {"general.architecture": "qwen3", "qwen3.context_length": self.trained_window_tokens}
            await responder.full(200, {"model_info": info, "capabilities": ["completion", "tools", "thinking"]})
        else:
            return await super().other(exchange, responder, count)
        return True

    def refuse(self, exchange: Exchange, body: JsonObject, prompt_tokens: int) -> Refusal | None:
        if body.get("model") != self.model:  # openai.go maps a missing model to 404 not_found_error
            return Refusal(404, f"model '{body.get('model')}' not found", "not_found_error")
        return None

    def complaints(self, exchange: Exchange, body: JsonObject) -> Iterator[str]:
        # docs/faq.md, context window: a prompt over the window loses its beginning without a word
        if self.window_tokens is not None and len(exchange.body) // 4 > self.window_tokens:
            yield f"the prompt is longer than the window of {self.window_tokens} tokens and would be cut silently"

    def error(self, status: int, message: str, kind: str | None) -> JsonObject:
        return {"error": {"message": message, "type": kind or "api_error", "param": None, "code": None}}

    def stop_reason(self, turn: Reply) -> str:
        # ollama/ollama#7963: streamed calls ended with "stop"; still so behind older releases and wrappers
        return "stop" if turn.stop_kind == "tool" else super().stop_reason(turn)

    def usage(self, usage: Usage) -> JsonObject:
        plain = super().usage(usage)
        del plain["prompt_tokens_details"]  # openai.go, Usage has no details
        return plain

    def call(self, request: Request, part: ToolCall, index: int) -> Iterator[Frame]:
        yield self.whole_call(request, part, index)


class LmStudio(Profile):
    """LM Studio's server. Sources: lmstudio.ai/docs "REST API v0", "Tool use"; lmstudio-bug-tracker as named."""

    name = "lmstudio"
    reasoning_field = "reasoning_content"
    default_model = "qwen2.5-7b-instruct"
    window_tokens = 4096
    max_window_tokens = 131072
    loaded = True

    async def other(self, exchange: Exchange, responder: Responder, count: int) -> bool:
        if (exchange.method, exchange.path) == ("GET", "/api/v0/models"):
            entry = {
                "id": self.model,
                "object": "model",
                "type": "llm",
                "arch": "qwen2",
                "max_context_length": self.max_window_tokens,
            }
            state = (
                {"state": "loaded", "loaded_context_length": self.window_tokens}
                if self.loaded
                else {"state": "not-loaded"}
            )
            await responder.full(200, {"object": "list", "data": [{**entry, **state}]})
            return True
        return await super().other(exchange, responder, count)

    async def unknown(self, exchange: Exchange, responder: Responder) -> None:
        # lmstudio-bug-tracker#2085: an unknown path is logged as an error and answered with 200
        await responder.full(200, {"error": f"Unexpected endpoint or method. ({exchange.method} {exchange.path})"})

    def refuse(self, exchange: Exchange, body: JsonObject, prompt_tokens: int) -> Refusal | None:
        if self.window_tokens is not None and prompt_tokens > self.window_tokens:
            # lmstudio-bug-tracker#546, the sentence with its misplaced article
            return Refusal(
                400,
                f"Trying to keep the first {prompt_tokens} tokens when context the overflows. However, the model is "
                f"loaded with context length of only {self.window_tokens} tokens, which is not enough.",
            )
        return None

    def error(self, status: int, message: str, kind: str | None) -> JsonObject:
        return {"error": message}  # lmstudio-bug-tracker#237: the error is a bare string

    def stream_error(self, error: StreamError) -> bytes:
        return b"event: error\ndata: " + json.dumps({"error": {"message": error.message}}).encode() + b"\n\n"


class Vllm(Profile):
    """vLLM's server. Sources: vllm/entrypoints/openai/protocol.py, docs "OpenAI-Compatible Server"."""

    name = "vllm"
    reasoning_field = "reasoning_content"
    default_model = "Qwen/Qwen3-8B"
    window_tokens = 8192

    def refuse(self, exchange: Exchange, body: JsonObject, prompt_tokens: int) -> Refusal | None:
        asked = body.get("max_completion_tokens") or body.get("max_tokens") or 0
        if body.get("model") != self.model:  # serving_models.py, check_model
            return Refusal(404, f"The model `{body.get('model')}` does not exist.", "NotFoundError")
        if self.window_tokens is not None and prompt_tokens + asked > self.window_tokens:
            # vllm-project/vllm#20409, #33418: prompt and completion are added up, and the sentence is the only hint
            return Refusal(
                400,
                f"This model's maximum context length is {self.window_tokens} tokens. However, you requested "
                f"{prompt_tokens + asked} tokens ({prompt_tokens} in the messages, {asked} in the completion). "
                "Please reduce the length of the messages or completion.",
            )
        return None

    async def other(self, exchange: Exchange, responder: Responder, count: int) -> bool:
        route = (exchange.method, exchange.path)
        if route == ("GET", "/health"):
            await responder.full(200, b"")  # docs: 200 with an empty body
        elif route == ("GET", "/version"):
            await responder.full(200, {"version": "0.15.0"})
        elif route == ("POST", "/tokenize"):  # entrypoints/serve/tokenize/protocol.py: takes messages and tools as well
            answer: JsonObject = {"count": count, "max_model_len": self.window_tokens, "tokens": list(range(count))}
            await responder.full(200, answer)
        else:
            return await super().other(exchange, responder, count)
        return True

    def model_entry(self) -> JsonObject:
        return {**super().model_entry(), "owned_by": "vllm", "max_model_len": self.window_tokens}

    def error(self, status: int, message: str, kind: str | None) -> JsonObject:
        return {"error": {"message": message, "type": kind or "BadRequestError", "param": None, "code": status}}


class OpenRouter(Profile):
    """OpenRouter. Sources: openrouter.ai/docs "Streaming", "Errors and Debugging", "Usage Accounting"."""

    name = "openrouter"
    reasoning_field = "reasoning"
    default_model = "z-ai/glm-4.6"
    provider = "Stand-in"
    key = "sk-or-test"

    def refuse(self, exchange: Exchange, body: JsonObject, prompt_tokens: int) -> Refusal | None:
        if exchange.header("authorization") != f"Bearer {self.key}":  # Errors: 401 invalid credentials
            return Refusal(401, "No auth credentials found")
        return None

    def model_entry(self) -> JsonObject:
        # docs "Models": what of the request's parameters the model takes
        parameters = ["include_reasoning", "max_tokens", "reasoning", "temperature", "tool_choice", "tools"]
        return {**super().model_entry(), "supported_parameters": parameters}

    def error(self, status: int, message: str, kind: str | None) -> JsonObject:
        return {"error": {"code": status, "message": message, "metadata": {"provider_name": self.provider}}}

    async def other(self, exchange: Exchange, responder: Responder, count: int) -> bool:
        if (exchange.method, exchange.path) != ("GET", "/v1/key"):  # docs "API Keys", get current key
            return await super().other(exchange, responder, count)
        if refusal := self.refuse(exchange, {}, 0):
            await responder.full(refusal.status, self.error(refusal.status, refusal.message, None))
        else:
            await responder.full(200, {"data": {"label": "sk-or-t...est", "limit": None, "usage": 0.0}})
        return True

    def stream_error(self, error: StreamError) -> bytes:
        # "Handling errors during streaming": an error beside a choice that finishes with "error", then [DONE]
        failed = {"index": 0, "delta": {"content": ""}, "finish_reason": "error", "native_finish_reason": "error"}
        detail = {"code": error.code, "message": error.message, "metadata": {"provider_name": self.provider}}
        head = {"id": "gen-1", "object": "chat.completion.chunk", "created": 1700000000, "model": self.model}
        return sse({**head, "provider": self.provider, "error": detail, "choices": [failed]}) + b"data: [DONE]\n\n"

    def stream_headers(self, request: Request) -> HeaderList:
        return [*super().stream_headers(request), ("x-generation-id", f"gen-{request.serial}")]  # docs "Streaming"

    def envelope(self, request: Request, kind: str) -> JsonObject:
        return {**super().envelope(request, kind), "id": f"gen-{request.serial}", "provider": self.provider}

    def opening(self, request: Request) -> Iterator[Frame]:
        yield Frame(b": OPENROUTER PROCESSING\n\n", "start")  # docs "Streaming", additional information
        yield from super().opening(request)

    def usage(self, usage: Usage) -> JsonObject:
        return {
            **super().usage(usage),
            "cost": round(usage.prompt * 6e-7 + usage.output * 2.2e-6, 9),
        }  # docs "Usage Accounting"

    def closing(self, request: Request) -> Iterator[Frame]:
        # usage stands in the last chunk whether asked for or not (docs "Usage Accounting")
        yield Frame(sse(self.chunk(request, {}, self.stop_reason(request.turn))), "end")
        yield Frame(
            sse({**self.chunk(request, {"role": "assistant", "content": ""}), "usage": self.usage(request.usage)}),
            "last",
        )
        yield Frame(b"data: [DONE]\n\n", "last")


PROFILES: dict[str, type[Profile]] = {
    profile.name: profile for profile in (Profile, Anyclaude, MlxLm, LlamaCpp, Ollama, LmStudio, Vllm, OpenRouter)
}


def sse(data: Any) -> bytes:
    """One `data:` line of a chat-completions stream."""
    return b"data: " + json.dumps(data, ensure_ascii=False).encode() + b"\n\n"


def arguments(part: ToolCall) -> str:
    return json.dumps(part.input, ensure_ascii=False) if part.raw_arguments is None else part.raw_arguments
