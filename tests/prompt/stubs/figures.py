"""How many tokens the tools of each release take: as they come, as stubs, and the floor below which nothing can go.

`python -m tests.prompt.stubs.figures RECORDINGS [TOKENIZER.JSON]` prints the table; RECORDINGS is a folder that
`tests.prompt.live` fills. The tokenizer is the embedded model's unless one is given.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyclaude_lab.engine import embedded
from anyclaude_lab.prompt.stubs import stub_tools
from anyclaude_lab.render.tokens import from_tokenizer_json
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_content import json_text
from anyclaude_lab.wire.openai_dialect import MLX_LM
from anyclaude_lab.wire.openai_request import in_head, to_openai
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.tool_names import ToolNames

TEXT_TOKENS = 12  # of text that the floor grants a tool
# Names, types, enumerations, required parameters, bounds and references: what a call cannot be made without.
STRUCTURE = frozenset(
    {"type", "properties", "required", "enum", "const", "items", "prefixItems", "anyOf", "oneOf", "allOf", "not"}
    | {"$ref", "$defs", "definitions", "minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
    | {"minLength", "maxLength", "minItems", "maxItems"}
)
_NAMED = ("properties", "$defs", "definitions")
_DATA = ("enum", "const", "required", "type")


@dataclass(frozen=True, slots=True)
class Figures:
    """Tokens of the tools in the head of one request."""

    tools: int
    raw: int
    stubs: int
    floor: int

    @property
    def removed(self) -> float:
        """The share of what can be removed that was."""
        return (self.raw - self.stubs) / (self.raw - self.floor)


def figures(request: Request, count: Callable[[str], int]) -> Figures:
    """`count` gives the tokens of a text."""
    head = [tool for tool in request.tools if in_head(tool)]
    bare = [{**tool, "description": "", "input_schema": structure(tool.get("input_schema"))} for tool in head]
    return Figures(
        tools=len(head),
        raw=_tokens(head, count),
        stubs=_tokens(stub_tools(request.with_(tools=head)).tools, count),
        floor=_tokens(bare, count) + TEXT_TOKENS * len(bare),
    )


def structure(schema: Any, *, named: bool = False) -> Any:
    """A schema, or with `named` the schemas by name, without anything that a call can be made without."""
    if isinstance(schema, list):
        return [structure(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    if named:
        return {name: structure(each) for name, each in schema.items()}
    return {
        key: value if key in _DATA else structure(value, named=key in _NAMED)
        for key, value in schema.items()
        if key in STRUCTURE
    }


def _tokens(tools: Sequence[JsonObject], count: Callable[[str], int]) -> int:
    """As chat templates write them: one JSON line for each."""
    request = Request({"model": "m", "max_tokens": 1, "messages": [], "tools": [*tools]})
    body, _ = to_openai(request, MLX_LM, model="", names=ToolNames.for_tools(request.offered_tools()))
    return sum(count(json_text(tool)) for tool in body.get("tools", []))


def main(recordings: Path, tokenizer: Path) -> None:
    from tests.prompt.live import RECORDED, recording

    count = from_tokenizer_json(tokenizer.read_bytes()).count
    print(f"tokens of the tools by {tokenizer}, one session of each release")
    print(f"{'release':9}{'model':9}{'tools':>6}{'raw':>8}{'stubs':>8}{'floor':>8}{'of removable':>14}{'of all':>8}")
    for release in RECORDED:
        for session in ("work", "known"):
            found = figures(recording(release, recordings).first(session), count)
            share = 1 - found.stubs / found.raw
            print(
                f"{release:9}{'foreign' if session == 'work' else session:9}{found.tools:6}{found.raw:8}{found.stubs:8}"
                f"{found.floor:8}{found.removed:14.1%}{share:8.1%}"
            )


if __name__ == "__main__":
    given = Path(sys.argv[2]) if len(sys.argv) > 2 else embedded.folder() / "tokenizer.json"
    main(Path(sys.argv[1]), given)
