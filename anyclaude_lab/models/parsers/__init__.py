"""Parsers of tool calls that a model wrote as text: one module per format, one row per parser.

A parser recognises only tools that the request offers; whatever is not a call comes out as the text it was.
"""

from __future__ import annotations

from functools import partial

from anyclaude_lab.models.parsers import fenced, hermes, llama, mistral, pythonic, qwen_coder
from anyclaude_lab.models.parsers.format import Format
from anyclaude_lab.models.parsers.scanner import Scanner
from anyclaude_lab.wire.tool_text import OfferedTools, ToolTextParser, ToolTextParserFactory

# A format may be written in several places of a message. Formats with the same opening are tried in this order.
FORMATS: dict[str, tuple[Format, ...]] = {
    "hermes": (hermes.FORMAT,),
    "qwen_coder": (qwen_coder.FORMAT,),
    "mistral": (mistral.FORMAT,),
    "llama": (llama.TAGGED_JSON, llama.TAGGED_PYTHON, llama.MESSAGE),
    "pythonic": (pythonic.MARKED, pythonic.MESSAGE),
    "fenced": fenced.FORMATS,
}


def parser_of(*names: str) -> ToolTextParserFactory:
    """A parser of these formats at once, tried in this order."""
    return partial(Scanner, tuple(format_ for name in names for format_ in FORMATS[name]))


PARSERS: dict[str, ToolTextParserFactory] = {name: parser_of(name) for name in FORMATS} | {"auto": parser_of(*FORMATS)}


def auto_parser(offered: OfferedTools) -> ToolTextParser:
    """A parser of every format at once, for a model whose family is not known."""
    return PARSERS["auto"](offered)
