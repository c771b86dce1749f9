"""How servers that speak OpenAI's chat completions differ: one value per server, nothing but switches.

A switch exists only where two servers really differ; what all of them do is code in the translator. A model's chat
template has quirks of its own whatever serves it: `for_model` adds those.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache
from typing import Any, Literal

from anyclaude_lab.wire import schema_dialect
from anyclaude_lab.wire.schema_dialect import SchemaDialect
from anyclaude_lab.wire.tool_names import MAX_NAME_CHARS


@dataclass(frozen=True, slots=True)
class Dialect:
    """The switches of one server. The defaults are what every server takes."""

    name: str
    label: str  # how sentences for people call it

    # history
    mid_system: Literal["reminder", "system"] = "reminder"
    """A system message in mid-conversation: user text in a reminder tag, or a real system message.

    Most templates refuse a system message that is not the first (Qwen3.5 and later, Mistral, Gemma)."""
    alternating_roles: bool = False  # the template refuses two user or two assistant messages in a row
    one_call_per_message: bool = False  # the template refuses an assistant message with several calls
    call_content: str | None = ""  # `content` of an assistant message that only calls tools
    call_ids: Literal["openai", "nine"] = "openai"  # "nine": exactly nine letters and digits
    images: bool = False  # the model sees images
    reasoning_field: str | None = None  # where an assistant message carries its earlier thinking; None drops it
    continue_final_message: bool = False  # must be told to go on with a final assistant message

    # tools
    name_chars: int = MAX_NAME_CHARS
    schema: SchemaDialect = schema_dialect.AS_TEXT
    tool_choice: Literal["ignored", "words", "full"] = "full"  # "words": auto, none, required, but no single function
    parallel_tool_calls: bool = True  # the field is read

    # options
    max_tokens_field: str = "max_tokens"
    top_k: bool = True
    max_stops: int | None = None
    response_format: bool = True  # json_schema is enforced
    thinking: Literal["ignored", "template", "none_effort", "openrouter", "words"] = "ignored"
    """How thinking is switched off; "words": a last line of the system prompt (Qwen3)."""
    effort: Literal["ignored", "template", "field"] = "ignored"
    template_kwargs: Mapping[str, Any] = field(default_factory=dict)  # where the server hands them on
    extra: Mapping[str, Any] = field(default_factory=dict)  # fields sent with every request

    # replies
    status_is_404: bool = False  # every failure is answered with 404

    def __hash__(self) -> int:
        return hash(self.name)  # cheap: it is part of many a key


ENGINE = Dialect(
    "anyclaude",
    "the engine",
    parallel_tool_calls=False,
    response_format=False,
    thinking="template",
    effort="template",
)

MLX_LM = Dialect(
    "mlx-lm",
    "mlx-lm",
    # quirk(mlx-lm): tool_choice, parallel_tool_calls and response_format are accepted and ignored.
    tool_choice="ignored",
    parallel_tool_calls=False,
    response_format=False,
    thinking="template",
    effort="template",
    # quirk(mlx-lm): whatever goes wrong before the first token is a 404 with {"error": text}.
    status_is_404=True,
)

LLAMA_CPP = Dialect(
    "llama.cpp",
    "llama.cpp",
    schema=schema_dialect.GRAMMAR,
    tool_choice="words",
    thinking="template",
    effort="template",
    extra={"return_progress": True},  # prefill progress inside the stream
)

OLLAMA = Dialect(
    "ollama",
    "Ollama",
    schema=schema_dialect.STRUCT,
    tool_choice="ignored",
    parallel_tool_calls=False,
    # quirk(ollama): asking a model without thinking to think is a 400; only "none" is always safe.
    thinking="none_effort",
)

LM_STUDIO = Dialect(
    "lmstudio",
    "LM Studio",
    schema=schema_dialect.GRAMMAR,
    # quirk(LM Studio): tool_choice as an object is refused.
    tool_choice="words",
)

VLLM = Dialect(
    "vllm",
    "vLLM",
    schema=schema_dialect.GUIDED,
    thinking="template",
    effort="field",
    continue_final_message=True,
)

OPENROUTER = Dialect(
    "openrouter",
    "OpenRouter",
    schema=schema_dialect.ROUTED,
    # quirk(Bedrock and others behind the router): an empty text part is refused, null is not.
    call_content=None,
    max_stops=4,
    thinking="openrouter",
    extra={"usage": {"include": True}},
)

GENERIC = Dialect("generic", "the server", call_content=None, top_k=False, max_stops=4)

DIALECTS: dict[str, Dialect] = {
    d.name: d for d in (ENGINE, MLX_LM, LLAMA_CPP, OLLAMA, LM_STUDIO, VLLM, OPENROUTER, GENERIC)
}

_SEES_IMAGES = re.compile(
    r"vl(?![a-z])|vision|llava|pixtral|minicpm-v|\d\.\dv\b|gemma-?[34]|llama-?4|mistral-small-?3|ministral-3|devstral-small-2"
    r"|kimi-k2\.5|gpt-4o|gpt-4\.1|gpt-5|google/gemini|anthropic/claude"
)


@dataclass(frozen=True, slots=True)
class TemplateQuirks:
    """What the chat templates of a family refuse or change, by the names that tell the family."""

    named: re.Pattern[str]
    changes: Mapping[str, Any]


TEMPLATES: dict[str, TemplateQuirks] = {
    # quirk(Mistral templates): roles alternate, no user text straight after a tool result, ids of nine characters.
    "mistral": TemplateQuirks(
        re.compile("mistral|mixtral|ministral|devstral|codestral|magistral|pixtral|voxtral"),
        {"alternating_roles": True, "call_ids": "nine"},
    ),
    "gemma": TemplateQuirks(re.compile("gemma"), {"alternating_roles": True}),
    # quirk(Llama 3 templates): several calls in a message are refused, and today's date stands before everything else;
    # a date that is handed in is the one they fall back on. Fine-tunes with templates of their own are left out.
    "llama": TemplateQuirks(
        re.compile(r"^(?!.*(?:hermes|deepseek|dolphin)).*llama[-_ ]?3"),
        {"one_call_per_message": True, "template_kwargs": {"date_string": "26 Jul 2024"}},
    ),
}


@lru_cache(maxsize=256)
def for_model(dialect: Dialect, model: str) -> Dialect:
    """`dialect` with the quirks of this model's chat template, as far as its name tells them."""
    name = model.casefold()
    family = next((family for family, quirks in TEMPLATES.items() if quirks.named.search(name)), None)
    if family is not None:
        dialect = for_template(dialect, family)
    if _SEES_IMAGES.search(name):
        dialect = replace(dialect, images=True)
    return dialect


def for_template(dialect: Dialect, family: str) -> Dialect:
    """`dialect` with the quirks of a family's chat templates, a key of `TEMPLATES`."""
    return replace(dialect, **TEMPLATES[family].changes)
