"""Facts about model families: how each writes tool calls as text, and which control tokens it leaks.

A family is recognised by its name inside a model's id; what is not recognised is `generic`, which tries everything. A
new family is one row.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache

from anyclaude_lab.models.parsers import PARSERS, parser_of
from anyclaude_lab.wire.tool_text import ToolTextParserFactory

_CHATML = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
_LLAMA = (
    "<|begin_of_text|>",
    "<|end_of_text|>",
    "<|start_header_id|>",
    "<|end_header_id|>",
    "<|eot_id|>",
    "<|eom_id|>",
    "<|python_tag|>",
)
_MISTRAL = ("<s>", "</s>", "[INST]", "[/INST]")
_GEMMA = ("<bos>", "<eos>", "<start_of_turn>", "<end_of_turn>")


@dataclass(frozen=True, slots=True)
class Family:
    """What models of one descent have in common.

    `matches`: parts of a lower-case model id. `special_tokens`: control tokens that some servers leak into text; they
    are to be stripped from what the parser gives out as text, never from what it is fed.
    """

    name: str
    matches: tuple[str, ...]
    parser: ToolTextParserFactory
    special_tokens: tuple[str, ...]
    note: str


# The first match counts: fine-tunes carry the name of their base model too.
FAMILIES: tuple[Family, ...] = (
    Family("hermes", ("hermes",), parser_of("hermes", "fenced"), (*_CHATML, *_LLAMA), "the origin of <tool_call> JSON"),
    Family(
        "qwen",
        ("qwen", "qwq"),
        parser_of("hermes", "qwen_coder", "fenced"),
        _CHATML,
        "JSON in <tool_call>; Qwen3-Coder writes <function=...> and often forgets the tag around it",
    ),
    Family(
        "mistral",
        ("mistral", "mixtral", "ministral", "magistral", "devstral", "codestral", "pixtral"),
        parser_of("mistral", "fenced"),
        _MISTRAL,
        "an array behind [TOOL_CALLS], later name[ARGS]; templates want user and assistant to alternate",
    ),
    Family(
        "llama",
        ("llama",),
        parser_of("llama", "pythonic", "qwen_coder", "fenced"),
        _LLAMA,
        "JSON with `parameters` as the whole message, with or without <|python_tag|>; 3.2 and 4 also a Pythonic list",
    ),
    Family("gemma", ("gemma",), PARSERS["auto"], _GEMMA, "no format of its own before Gemma 4; fences and lists"),
)

GENERIC = Family(
    "generic", (), PARSERS["auto"], (*_CHATML, *_LLAMA, *_GEMMA, "</s>"), "nothing is known: try everything"
)


@lru_cache(maxsize=256)
def family_of(model_id: str | None) -> Family:
    """The family that a model id, a repository name or a path names."""
    name = (model_id or "").lower()
    return next((family for family in FAMILIES if any(part in name for part in family.matches)), GENERIC)


def parser_for(model_id: str | None) -> ToolTextParserFactory:
    """The parser of tool calls written as text for a model id."""
    return family_of(model_id).parser


def special_tokens(model_id: str | None) -> tuple[str, ...]:
    """The control tokens that a model's family may leak into text."""
    return family_of(model_id).special_tokens
