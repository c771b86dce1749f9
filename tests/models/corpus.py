"""Texts that models write, and what they come to.

`expected` lists texts and calls in order, a call as (name, arguments). The slips named after mlx-lm are those that its
server drops or garbles without a word (mlx_lm/server.py and mlx_lm/tool_parsers, 0.32.2).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import orjson

from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.tool_text import OfferedTools, Piece, TextPiece, ToolTextParserFactory

OFFERED: OfferedTools = {
    "Bash": {
        "type": "object",
        "properties": {
            "command": {"type": "string"},
            "timeout": {"type": "number"},
            "background": {"type": "boolean"},
        },
        "required": ["command"],
    },
    "Write": {"type": "object", "properties": {"file_path": {"type": "string"}, "content": {"type": "string"}}},
    "mcp__notes-app__add_note": {
        "type": "object",
        "properties": {
            "title": {"type": ["string", "null"]},
            "tags": {"type": "array", "items": {"type": "string"}},
            "stars": {"type": "integer"},
            "place": {"anyOf": [{"type": "object"}, {"type": "null"}]},
        },
    },
    "List": {"type": "object", "properties": {}},
}

NOTE = "mcp__notes-app__add_note"
LS = ("Bash", {"command": "ls -la"})
Expected = str | tuple[str, JsonObject]


@dataclass(frozen=True)
class Case:
    name: str
    text: str
    expected: tuple[Expected, ...]


def calls(name: str, text: str, *expected: Expected) -> Case:
    """A text with calls in it."""
    return Case(name, text, expected)


def text(name: str, text: str) -> Case:
    """A text that is not a call, though it looks like one."""
    return Case(name, text, (text,))


def hermes(*objects: str, tag: str = "tool_call") -> str:
    return f"<{tag}>\n" + "\n".join(objects) + f"\n</{tag}>"


def qwen(name: str, **parameters: str) -> str:
    body = "".join(f"<parameter={key}>\n{value}\n</parameter>\n" for key, value in parameters.items())
    return f"<tool_call>\n<function={name}>\n{body}</function>\n</tool_call>"


LS_JSON = '{"name": "Bash", "arguments": {"command": "ls -la"}}'
LS_LLAMA = '{"name": "Bash", "parameters": {"command": "ls -la"}}'
WRITE_JSON = '{"name": "Write", "arguments": {"file_path": "/a", "content": "x"}}'
WRITE = ("Write", {"file_path": "/a", "content": "x"})

_QUOTED = f"<tool_call>{LS_JSON}</tool_call>".replace('"', '\\"')
NOPE_QUOTING = f'{{"name": "Nope", "arguments": {{"x": "{_QUOTED}"}}}}'

HERMES = [
    calls("one call", hermes(LS_JSON), LS),
    calls("on one line", f"<tool_call>{LS_JSON}</tool_call>", LS),
    calls("text before", f"I look.\n\n{hermes(LS_JSON)}", "I look.\n\n", LS),
    calls("text behind", f"{hermes(LS_JSON)}\nDone.", LS, "\nDone."),
    calls("two blocks", f"\n{hermes(LS_JSON)}\n{hermes(WRITE_JSON)}\n", LS, WRITE),
    calls("mlx-lm: two objects in one block", hermes(LS_JSON, WRITE_JSON), LS, WRITE),
    calls("an array in one block", hermes(f"[{LS_JSON},\n {WRITE_JSON}]"), LS, WRITE),
    calls(
        "mlx-lm: closing marker inside a string",
        hermes('{"name": "Bash", "arguments": {"command": "echo \'</tool_call>\'"}}'),
        ("Bash", {"command": "echo '</tool_call>'"}),
    ),
    calls("mlx-lm: trailing comma", hermes('{"name": "Bash", "arguments": {"command": "ls -la",},}'), LS),
    calls(
        "mlx-lm: raw newline in a string",
        hermes('{"name": "Bash", "arguments": {"command": "a\n\tb"}}'),
        ("Bash", {"command": "a\n\tb"}),
    ),
    calls("mlx-lm: no arguments", hermes('{"name": "List"}'), ("List", {})),
    calls(
        "mlx-lm: arguments as a string", hermes('{"name": "Bash", "arguments": "{\\"command\\": \\"ls -la\\"}"}'), LS
    ),
    text("mlx-lm: truncated", '<tool_call>\n{"name": "Bash", "arguments": {"comm'),
    text("mlx-lm: unknown name", hermes('{"name": "Nope", "arguments": {}}')),
    calls("no closing tag", f"<tool_call>\n{LS_JSON}", LS),
    calls("no closing tag, text behind", f"<tool_call>{LS_JSON}\nSo be it.", LS, "So be it."),
    calls("a bracket too many", f"<tool_call>{LS_JSON}}}</tool_call>", LS),
    calls("a bracket too few", f"<tool_call>{LS_JSON[:-1]}\n</tool_call>", LS),
    text("two brackets too few", f"<tool_call>{LS_JSON[:-2]}</tool_call>"),
    calls(
        "single quotes",
        hermes("{'name': 'Bash', 'arguments': {'command': 'say \"hi\"', 'background': True}}"),
        ("Bash", {"command": 'say "hi"', "background": True}),
    ),
    calls(
        "an escape that JSON does not know",
        hermes(r'{"name": "Bash", "arguments": {"command": "grep \d+ \'x\'"}}'),
        ("Bash", {"command": r"grep \d+ 'x'"}),
    ),
    calls("<tools>", hermes(LS_JSON, tag="tools"), LS),
    calls("<function_call>", hermes(LS_JSON, tag="function_call"), LS),
    calls("the shape of OpenAI", hermes(f'{{"type": "function", "function": {LS_JSON}}}'), LS),
    calls("parameters for arguments", hermes(LS_LLAMA), LS),
    calls(
        "key order and text",
        hermes('{"arguments": {"content": "ä😀\\u00e4", "file_path": "/a"}, "name": "Write"}'),
        ("Write", {"content": "ä😀ä", "file_path": "/a"}),
    ),
    calls(
        "half a surrogate pair",
        hermes('{"name": "Bash", "arguments": {"command": "\\ud83d"}}'),
        ("Bash", {"command": "\ufffd"}),
    ),
    text("not a number", hermes('{"name": "Bash", "arguments": {"timeout": NaN}}')),
    text("arguments that are a list", hermes('{"name": "Bash", "arguments": ["ls"]}')),
    text("one of two is unknown", hermes(LS_JSON, '{"name": "Nope"}')),
    text("the tag in prose", "A <tool_call> tag opens, </tool_call> closes."),
    calls("the tag twice", f"<tool_call>\n{hermes(LS_JSON)}", "<tool_call>\n", LS),
    text("quoted in backticks", f"Write `<tool_call>{LS_JSON}</tool_call>` there."),
    text("quoted in a fence", f"So:\n```xml\n{hermes(LS_JSON)}\n```\nThat is all."),
    text("quoted in a longer fence", f"````\n```\n{hermes(LS_JSON)}\n```\n{hermes(LS_JSON)}\n````\n"),
    calls("behind a fence closed on the same line", f"```py\nx\n```{hermes(LS_JSON)}", "```py\nx\n```", LS),
    calls("behind code within a line", f"```ls``` lists.\n{hermes(LS_JSON)}", "```ls``` lists.\n", LS),
    calls("behind a fence in a list", f"- ```sh\n  ls\n  ```\n{hermes(LS_JSON)}", "- ```sh\n  ls\n  ```\n", LS),
    calls("behind a fence opened in a line", f"So: ```sh\nls\n```\n{hermes(LS_JSON)}", "So: ```sh\nls\n```\n", LS),
    text("quoted in a fence opened in a line", f"So: ```xml\n{hermes(LS_JSON)}\n```\n"),
    calls("behind a closed fence", f"```py\nx\n```\n{hermes(LS_JSON)}", "```py\nx\n```\n", LS),
    calls("backticks inside a line open nothing", f"a ``` b\n{hermes(LS_JSON)}", "a ``` b\n", LS),
    text("a call in the arguments of an unknown one", hermes(NOPE_QUOTING)),
    text(
        "a call of another format in the arguments of an unknown one",
        hermes('{"name": "Nope", "arguments": {"x": "<function=List></function>"}}'),
    ),
    text("no closing tag, a bracket too many", f"<tool_call>{LS_JSON}}} and so on."),
    text("no closing tag, a comma", f"<tool_call>{LS_JSON}, and so on."),
    text("nothing but space", " \n\n "),
]

QWEN_CODER = [
    calls("one call", qwen("Bash", command="ls -la"), LS),
    calls("tight", "<tool_call><function=Bash><parameter=command>ls -la</parameter></function></tool_call>", LS),
    calls("no outer tag", "<function=Bash>\n<parameter=command>\nls -la\n</parameter>\n</function>", LS),
    calls(
        "only the closing outer tag",
        "<function=Bash>\n<parameter=command>\nls -la\n</parameter>\n</function>\n</tool_call>",
        LS,
    ),
    calls(
        "two calls and text",
        f"First.\n{qwen('Bash', command='ls -la')}\n{qwen('List')}\nThen.",
        "First.\n",
        LS,
        ("List", {}),
        "\nThen.",
    ),
    calls(
        "only one line break on either side is the format's",
        qwen("Write", file_path="/a", content="\n  x\n\n"),
        ("Write", {"file_path": "/a", "content": "\n  x\n\n"}),
    ),
    calls("mlx-lm: null for a string", qwen("Bash", command="null"), ("Bash", {"command": "null"})),
    calls(
        "mlx-lm: a value that holds the closing tag",
        qwen("Write", file_path="/a", content="a </parameter>\n</ parameter> b"),
        ("Write", {"file_path": "/a", "content": "a </parameter>\n</ parameter> b"}),
    ),
    calls(
        "mlx-lm: no number for a number",
        qwen("Bash", command="x", timeout="soon"),
        ("Bash", {"command": "x", "timeout": "soon"}),
    ),
    calls(
        "types",
        qwen("Bash", command="5", timeout="5000", background="true"),
        ("Bash", {"command": "5", "timeout": 5000, "background": True}),
    ),
    calls(
        "Python's constants",
        qwen("Bash", command="True", background="False"),
        ("Bash", {"command": "True", "background": False}),
    ),
    calls(
        "more types",
        qwen(NOTE, title="null", tags='["a", "b"]', stars="3.0", place='{"x": 1}'),
        (NOTE, {"title": None, "tags": ["a", "b"], "stars": 3, "place": {"x": 1}}),
    ),
    calls(
        "a key that the schema does not know",
        qwen("Bash", note="12", more="[1]"),
        ("Bash", {"note": "12", "more": [1]}),
    ),
    calls("a call quoted in a value", qwen("Write", content=hermes(LS_JSON)), ("Write", {"content": hermes(LS_JSON)})),
    calls("JSON arguments, Llama 3.1", '<function=Bash>{"command": "ls -la"}</function>', LS),
    text("unknown name", qwen("Nope", command="ls")),
    text("a call quoted in an unknown one", qwen("Nope", x=qwen("Bash", command="ls"))),
    text("truncated", "<tool_call>\n<function=Bash>\n<parameter=command>\nls"),
    text("in prose", "Write <function=NAME> and </function>."),
]

MISTRAL = [
    calls("array", f"[TOOL_CALLS] [{LS_JSON}]", LS),
    calls("array of two", f"[TOOL_CALLS][{LS_JSON}, {WRITE_JSON}]", LS, WRITE),
    calls("with ids", '[TOOL_CALLS] [{"name": "List", "arguments": {}, "id": "Ab3dE6gH9"}]', ("List", {})),
    calls("text before", f"I look.[TOOL_CALLS][{LS_JSON}]", "I look.", LS),
    calls("named", '[TOOL_CALLS]Bash[ARGS]{"command": "ls -la"}', LS),
    calls("named, two", '[TOOL_CALLS]Bash[ARGS]{"command": "ls -la"}[TOOL_CALLS]List[ARGS]{}', LS, ("List", {})),
    calls("named, with id", '[TOOL_CALLS]Bash[CALL_ID]Ab3dE6gH9[ARGS]{"command": "ls -la"}', LS),
    calls("named, [ARGS] dropped by the server", f'[TOOL_CALLS]{NOTE}{{"stars": 2}}', (NOTE, {"stars": 2})),
    calls("brackets in strings", '[TOOL_CALLS]Bash[ARGS]{"command": "a}]["}', ("Bash", {"command": "a}]["})),
    text("unknown name", "[TOOL_CALLS]Nope[ARGS]{}"),
    text("truncated", '[TOOL_CALLS]Bash[ARGS]{"command": "ls'),
    text("in prose", "The [TOOL_CALLS] token."),
]

LLAMA = [
    calls("whole message", LS_LLAMA, LS),
    calls("space around, end token", f"\n {LS_LLAMA}<|eot_id|>\n", LS),
    calls("two, parted by ;", f'{LS_LLAMA}; {{"name": "List", "parameters": {{}}}}', LS, ("List", {})),
    calls("array", f"[{LS_LLAMA}, {LS_JSON}]", LS, LS),
    calls("type function", '{"type": "function", "name": "List", "parameters": {}}', ("List", {})),
    calls("behind the tag", f"<|python_tag|>{LS_LLAMA}<|eom_id|>", LS, "<|eom_id|>"),
    calls("behind the tag, in mid-message", f"Well.<|python_tag|>{LS_LLAMA}", "Well.", LS),
    calls(
        "name.call",
        '<|python_tag|>Bash.call(command="ls -la", timeout=5)',
        ("Bash", {"command": "ls -la", "timeout": 5}),
    ),
    calls("list behind the tag", '<|python_tag|>[Bash(command="ls -la")]', LS),
    text("the interpreter's code", "<|python_tag|>import os\nprint(os)"),
    text("JSON with more in it", '{"name": "Bash", "parameters": {}, "why": "no call"}'),
    text("JSON without arguments", '{"name": "Bash"}'),
    text("text behind", f"{LS_LLAMA} is how it looks."),
    text("text before", f"See: {LS_LLAMA}"),
    text("other JSON", '{"answer": [1, 2], "name": "Bash"}'),
    text("unknown name", '{"name": "Nope", "parameters": {}}'),
]

PYTHONIC = [
    calls("one", '[Bash(command="ls -la")]', LS),
    calls("two", "[Bash(command='ls -la'), List()]", LS, ("List", {})),
    calls(
        "values",
        f"[{NOTE}(title=None, tags=['a', \"b\",], stars=-3, place={{'x': True, 'y': [1.5]}})]",
        (NOTE, {"title": None, "tags": ["a", "b"], "stars": -3, "place": {"x": True, "y": [1.5]}}),
    ),
    calls("escapes", r"[Bash(command='a\'b\n\x41\u00e4\\')]", ("Bash", {"command": "a'b\nAä\\"})),
    calls("brackets in strings", '[Bash(command="a)]b", timeout=1)]', ("Bash", {"command": "a)]b", "timeout": 1})),
    calls("between markers", "<|tool_call_start|>[List()]<|tool_call_end|>Now.", ("List", {}), "Now."),
    text("positional", '[Bash("ls")]'),
    text("not literal", "[Bash(command=open(x))]"),
    text("unknown name", "[Nope()]"),
    text("one of two unknown", "[List(), Nope()]"),
    text("a link", "[Bash](https://example.org) and [List()]."),
    text("text behind", "[List()] is a list."),
]

FENCED = [
    calls("json", f"```json\n{LS_JSON}\n```", LS),
    calls("text before", f"I will look.\n\n```json\n{LS_JSON}\n```\n", "I will look.\n\n", LS),
    calls("no language, end token", f"```\n{LS_JSON}\n```<|im_end|>", LS),
    calls("two fences", f"```json\n{LS_JSON}\n```\n\n```json\n{WRITE_JSON}\n```", LS, WRITE),
    calls("array", f"```json\n[\n{LS_JSON},\n{WRITE_JSON}\n]\n```", LS, WRITE),
    calls("tagged", f"```xml\n{hermes(LS_JSON, tag='tools')}\n```", LS),
    calls("tagged, Qwen3-Coder", f"```xml\n{qwen('Bash', command='ls -la')}\n```", LS),
    text("in the middle of an explanation", f"So:\n```json\n{LS_JSON}\n```\nThat is how."),
    text("a second fence that is none", f"```json\n{LS_JSON}\n```\n`{LS_JSON}`"),
    text("not closed", f"```json\n{LS_JSON}\n"),
    text("another language", f"```python\n{LS_JSON}\n```"),
    text("another JSON", '```json\n{"name": "Bash", "version": 1}\n```'),
    text("no arguments", '```json\n{"name": "Bash"}\n```'),
    text("two fences, text behind", f"```json\n{LS_JSON}\n```\n```json\n{LS_JSON}\n```\n."),
    text("an example in an open fence", f"```\nx\n```json\n{LS_JSON}\n```"),
    text("unknown name", '```json\n{"name": "Nope", "arguments": {}}\n```'),
]

# Each format's own cases; a parser of every format must come to the same.
CASES: dict[str, list[Case]] = {
    "hermes": HERMES,
    "qwen_coder": QWEN_CODER,
    "mistral": MISTRAL,
    "llama": LLAMA,
    "pythonic": PYTHONIC,
    "fenced": FENCED,
    "auto": [*HERMES, *QWEN_CODER, *MISTRAL, *LLAMA, *PYTHONIC, *FENCED],
}


def parse(factory: ToolTextParserFactory, parts: list[str], offered: OfferedTools = OFFERED) -> list[Piece]:
    """The pieces of a text that arrives in parts."""
    parser = factory(offered)
    return [piece for part in parts for piece in parser.feed(part)] + parser.close()


def summary(pieces: list[Piece]) -> tuple[Any, ...]:
    """Pieces as `Case.expected` spells them: neighbouring texts joined, arguments read."""
    rows: list[Any] = []
    for piece in pieces:
        if isinstance(piece, TextPiece):
            rows.append(rows.pop() + piece.text if rows and isinstance(rows[-1], str) else piece.text)
        else:
            rows.append((piece.name, orjson.loads(piece.arguments_json)))
    return tuple(rows)
