"""One contract for every parser of tool calls written as text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.models.families import FAMILIES
from anyclaude_lab.models.parsers import PARSERS, auto_parser, scanner
from anyclaude_lab.models.parsers.tape import HELD_LIMIT_CHARS, Reading, Tape
from anyclaude_lab.wire.tool_text import CallPiece, OfferedTools, Piece, TextPiece, ToolTextParserFactory
from tests.models.corpus import CASES, LS_JSON, OFFERED, Case, hermes, parse, qwen, summary

EVERY_PARSER = PARSERS | {f"{family.name} family": family.parser for family in FAMILIES}
every_parser = pytest.mark.parametrize("factory", EVERY_PARSER.values(), ids=EVERY_PARSER.keys())
TEXTS = [case.text for case in CASES["auto"]]


@pytest.mark.parametrize(
    ("parser", "case"),
    [pytest.param(name, case, id=f"{name}: {case.name}") for name, cases in CASES.items() for case in cases],
)
def test_corpus(parser: str, case: Case) -> None:
    assert summary(parse(PARSERS[parser], [case.text])) == case.expected
    assert summary(parse(PARSERS[parser], list(case.text))) == case.expected


# Messages that look like the corpus, and worse: pieces of it, cut and glued at random.
FRAGMENTS = [
    *"<>{}[]()\"'`\\,:;=\n. aB1",
    *("<tool_call>", "</tool_call>", "<tools>", "<function=Bash>", "<function=", "<parameter=command>", "</parameter>"),
    *("</function>", "[TOOL_CALLS]", "[ARGS]", "<|python_tag|>", "Bash", "Bash.call(", "command=", "```", "```json\n"),
    *('{"name": "Bash", "arguments": {', '"command": "', '"name"', "<|tool_call_start|>", "<|eot_id|>", "Nope"),
]
messages = st.lists(st.one_of(st.sampled_from(FRAGMENTS), st.sampled_from(TEXTS), st.text(max_size=5)), max_size=8).map(
    "".join
)


@st.composite
def cut_messages(draw: st.DrawFn) -> list[str]:
    text = draw(messages)
    at = sorted(draw(st.lists(st.integers(0, len(text)), max_size=8)))
    return [text[start:end] for start, end in zip([0, *at], [*at, len(text)], strict=True)]


@every_parser
@given(parts=cut_messages())
def test_cuts_do_not_matter(factory: ToolTextParserFactory, parts: list[str]) -> None:
    assert summary(parse(factory, parts)) == summary(parse(factory, ["".join(parts)]))


def source(pieces: list[Piece]) -> re.Pattern[str]:
    """What the message must have looked like: texts as they are, and around each call anything that holds its name."""
    parts = [
        re.escape(piece.text) if isinstance(piece, TextPiece) else f"[\\s\\S]*?{re.escape(piece.name)}[\\s\\S]*?"
        for piece in pieces
    ]
    return re.compile("".join(parts) or r"\s*")


@every_parser
@given(text=messages)
def test_no_text_is_lost_and_every_call_is_offered(factory: ToolTextParserFactory, text: str) -> None:
    pieces = parse(factory, [text])
    assert source(pieces).fullmatch(text)
    for piece in pieces:
        if isinstance(piece, CallPiece):
            assert piece.name in OFFERED
            assert isinstance(orjson.loads(piece.arguments_json), dict)


@every_parser
@given(text=messages)
def test_unknown_names_are_text(factory: ToolTextParserFactory, text: str) -> None:
    other: OfferedTools = {"Other": {}}
    for offered in (other, {}):
        assert summary(parse(factory, [text], offered)) == ((text,) if text else ())


@pytest.mark.parametrize("case", CASES["auto"], ids=lambda case: case.name)
def test_half_a_call_is_no_call(case: Case) -> None:
    whole = calls(parse(auto_parser, [case.text]))
    for end in range(len(case.text)):
        pieces = parse(auto_parser, [case.text[:end]])
        assert source(pieces).fullmatch(case.text[:end])
        if whole:  # else a beginning may well be a call: what makes it text comes later
            assert calls(pieces) == whole[: len(calls(pieces))]


def calls(pieces: list[Piece]) -> list[Any]:
    return [piece for piece in pieces if isinstance(piece, CallPiece)]


def test_every_parser_has_cases_of_both_kinds() -> None:
    for name in PARSERS:
        assert {case.expected == (case.text,) for case in CASES[name]} == {True, False}


class TestPromptness:
    def test_plain_text_is_not_held(self) -> None:
        parser = auto_parser(OFFERED)
        for part in ("Hello", ", world.", "\n\nTwo", " < three"):
            assert parser.feed(part) == [TextPiece(part)]

    def test_only_what_may_become_an_opening_is_held(self) -> None:
        parser = auto_parser(OFFERED)
        assert parser.feed("Look: <tool") == [TextPiece("Look: ")]
        assert parser.feed("s are") == [TextPiece("<tools are")]

    def test_a_call_comes_with_its_last_character(self) -> None:
        parser = auto_parser(OFFERED)
        text = hermes(LS_JSON)
        assert [piece for character in text[:-1] for piece in parser.feed(character)] == []
        assert [type(piece) for piece in parser.feed(text[-1])] == [CallPiece]

    def test_a_json_answer_is_released_at_its_first_key(self) -> None:
        parser = auto_parser(OFFERED)
        assert parser.feed('{"answer"') == [TextPiece('{"answer"')]
        assert parser.feed(": 42, ") == [TextPiece(": 42, ")]

    def test_other_json_that_begins_with_a_name_is_released_at_the_name(self) -> None:
        parser = auto_parser(OFFERED)
        assert parser.feed('```json\n{"name": "my-package", ') == [TextPiece('```json\n{"name": "my-package", ')]

    def test_without_tools_nothing_is_held(self) -> None:
        assert auto_parser({}).feed('<tool_call>{"name": "') == [TextPiece('<tool_call>{"name": "')]

    def test_a_code_block_is_released_at_its_language(self) -> None:
        parser = auto_parser(OFFERED)
        assert parser.feed("```python\n") == [TextPiece("```python\n")]
        assert parser.feed("import os\n") == [TextPiece("import os\n")]


# Texts that invite a parser to begin again and again.
TRAPS = {
    **{f"many {unit!r}": unit for unit in ("<", "[", "{", "`", "```\n", '"', "'", "\\", " ", "\n", "<tool_call>")},
    **{
        f"many {unit!r}": unit
        for unit in ("<tool_call>{", '<tool_call>{"name": "', "<tool_call>{'name': ", "[TOOL_CALLS]")
    },
    **{
        f"many {unit!r}": unit
        for unit in ("<function=Bash>", "<function=Bash><parameter=a>", '{"name": [', "[List(), ")
    },
    "parameters": "<parameter=a></parameter> ",
    "closing tags": "</parameter> \n",
    "escapes": '\\"',
    "nested": '[{"a":',
    "calls": hermes(LS_JSON),
    "fences": f"```json\n{LS_JSON}\n```\n",
    "unknown calls": hermes('{"name": "Nope"}') + qwen("Nope", a="b"),
}
OPENERS = ("", "<function=Bash>\n<parameter=a>", '<tool_call>{"name": "', '[List(), Bash(command="', "[TOOL_CALLS][")


class CountingTape(Tape):
    """Counts the characters that each operation has to touch."""

    work = 0

    def append(self, text: str) -> None:
        super().append(text)
        CountingTape.work += len(self._window) + 1

    def rewind(self) -> int:
        joined = bool(self._earlier)
        read = super().rewind()
        CountingTape.work += len(self._window) + 1 if joined else 1
        return read

    def since(self, position: int) -> str:
        text = super().since(position)
        CountingTape.work += len(text) + 1
        return text

    def peek(self, count: int) -> Reading[str]:
        CountingTape.work += count
        return (yield from super().peek(count))

    def take_run(self, run: re.Pattern[str]) -> Reading[str]:
        text = yield from super().take_run(run)
        CountingTape.work += len(text) + 1
        return text

    def take_text(self, openings: re.Pattern[str], prefixes: frozenset[str] = frozenset(), longest: int = 1) -> str:
        text = super().take_text(openings, prefixes, longest)
        CountingTape.work += len(text) + longest
        return text


def work_on(parts: Iterator[str]) -> int:
    CountingTape.work = 0
    parse(auto_parser, list(parts))
    return CountingTape.work


@pytest.mark.parametrize("opener", OPENERS)
@pytest.mark.parametrize("unit", TRAPS.values(), ids=TRAPS.keys())
def test_work_is_linear(monkeypatch: pytest.MonkeyPatch, unit: str, opener: str) -> None:
    monkeypatch.setattr(scanner, "Tape", CountingTape)
    text = opener + unit * (6_000 // len(unit))
    for cut in (3, len(text)):
        work = work_on(text[at : at + cut] for at in range(0, len(text), cut))
        assert work < 40 * len(text)  # about 30 at the most, whatever the length; hundreds here if it were quadratic


@pytest.mark.timeout(240)
@pytest.mark.parametrize("unit", TRAPS.values(), ids=TRAPS.keys())
def test_nothing_but_traps(unit: str) -> None:
    assert parse(auto_parser, [unit * ((1 << 18) // len(unit))])


@pytest.mark.parametrize(
    "opener", ['<tool_call>{"name": "', "<function=Bash><parameter=command>", "[TOOL_CALLS][{'id': '"]
)
def test_what_is_held_is_bounded(opener: str) -> None:
    parser = auto_parser(OFFERED)
    text = opener + "x" * HELD_LIMIT_CHARS
    held = [text[at : at + 1000] for at in range(0, len(text), 1000)]
    pieces = [piece for part in held for piece in parser.feed(part)]
    assert summary(pieces) == (text,)
    assert summary([*parser.feed(hermes(LS_JSON)), *parser.close()]) == (("Bash", {"command": "ls -la"}),)


def test_a_large_call_is_a_call() -> None:
    content = "line\n" * 100_000
    text = qwen("Write", file_path="/a", content=content)
    [piece] = parse(auto_parser, [text[at : at + 7] for at in range(0, len(text), 7)])
    assert isinstance(piece, CallPiece)
    assert orjson.loads(piece.arguments_json)["content"] == content
