"""Stop strings, the pace of prefill, forms of calls."""

from __future__ import annotations

import queue

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.engine.serve.call_forms import HERMES, LLAMA, MISTRAL_ARGS, QWEN_CODER, call_form
from anyclaude_lab.engine.serve.engine import Engine, Options
from anyclaude_lab.engine.serve.pace import CPU_SIZES, SIZES, Pace
from anyclaude_lab.engine.serve.stops import StopText
from anyclaude_lab.errors import AnyclaudeError
from anyclaude_lab.models.parsers import auto_parser
from anyclaude_lab.wire.tool_text import CallPiece

AB = st.text("ab", max_size=20)


@given(st.lists(AB, max_size=6), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_text_ends_before_the_first_stop_string_however_it_is_cut(pieces: list[str], stops: list[str]) -> None:
    whole = "".join(pieces)
    stop = StopText(stops)
    text = "".join(map(stop.feed, pieces))
    places = [place for each in stops if (place := whole.find(each)) >= 0]
    if stop.found is None:
        assert text + stop.close() == whole
        assert not places
    else:
        assert whole.startswith(text + stop.found)
        assert places


@given(st.lists(AB, max_size=6), st.lists(st.text("ab", min_size=1, max_size=4), max_size=3))
def test_no_more_is_held_back_than_may_become_a_stop_string(pieces: list[str], stops: list[str]) -> None:
    stop = StopText(stops)
    given_out = "".join(map(stop.feed, pieces))
    if stop.found is None:
        held = "".join(pieces)[len(given_out) :]
        assert not held or any(each.startswith(held) for each in stops)


@pytest.mark.parametrize("tokens_per_s", [90, 700, 5000, 10**6])
def test_steps_become_as_long_as_they_may_and_no_longer(tokens_per_s: float) -> None:
    pace = Pace(step_s=0.25)
    for _ in range(20):
        size = pace.step_tokens()
        pace.took(size, size / tokens_per_s)
    size = pace.step_tokens()
    assert size == SIZES[0] or size / tokens_per_s <= 0.25
    assert size == SIZES[-1] or 2 * size / tokens_per_s > 0.25 * 0.8


def test_slow_steps_make_the_next_ones_shorter_but_one_alone_does_not() -> None:
    pace = Pace(step_s=0.25)
    for _ in range(3):
        pace.took(512, 0.1)
    assert pace.step_tokens() == 1024
    pace.took(1024, 2.0)
    assert pace.step_tokens() == 1024
    for _ in range(2):
        pace.took(1024, 2.0)
    assert pace.step_tokens() == 64


@given(st.integers(0, 200_000), st.sampled_from([20, 300, 5000]))
def test_a_step_ends_in_time_behind_any_context(context: int, first_tokens_per_s: int) -> None:
    """Of a model all of whose work grows with the context, after short prompts."""

    def lasts_s(size: int, context: int) -> float:
        return size * (1 + (context + size) / 1024) / first_tokens_per_s

    pace = Pace(step_s=0.25)
    for _ in range(20):
        size = pace.step_tokens()
        pace.took(size, lasts_s(size, 0), 0)
    size = pace.step_tokens(context)
    assert size == SIZES[0] or lasts_s(size, context) <= 0.25


def test_steps_grow_again_in_a_new_conversation() -> None:
    pace = Pace(step_s=0.25)
    pace.took(64, 0.2, 100_000)
    sizes = []
    for _ in range(8):
        sizes.append(pace.step_tokens())
        pace.took(sizes[-1], sizes[-1] / 100_000)
    assert sizes[0] == 64
    assert sizes[-1] == SIZES[-1]


def test_on_a_cpu_steps_stay_small() -> None:
    pace = Pace(sizes=CPU_SIZES)
    for _ in range(5):
        pace.took(pace.step_tokens(), 0.001)
    assert pace.step_tokens() == 256


@pytest.mark.parametrize(
    ("form", "rest"),
    [
        (HERMES, ' {"a": 1}}\n</tool_call>'),
        (QWEN_CODER, "<parameter=a>\n1\n</parameter>\n</function>\n</tool_call>"),
        (MISTRAL_ARGS, '{"a": 1}'),
        (LLAMA, ' {"a": 1}}'),
    ],
)
def test_a_forced_beginning_and_its_rest_are_read_as_a_call(form: object, rest: str) -> None:
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    parser = auto_parser({"Read": schema})
    pieces = parser.feed(form.begin("Read") + rest) + parser.close()  # type: ignore[attr-defined]  # parametrised
    assert pieces == [CallPiece("Read", '{"a": 1}')] or pieces == [CallPiece("Read", '{"a":1}')]


def test_a_template_tells_its_form() -> None:
    assert call_form('<tool_call>\n{"name": <function-name>') is HERMES
    assert call_form("<tool_call>\n<function=example>") is QWEN_CODER
    assert call_form("[TOOL_CALLS]name[ARGS]{}") is MISTRAL_ARGS
    assert call_form('{"name": function name, "parameters": dictionary}') is LLAMA
    assert call_form("<|im_start|>{{ m.content }}") is None


def test_whatever_keeps_a_model_from_loading_is_told_and_not_waited_for() -> None:
    failures: queue.Queue[AnyclaudeError] = queue.Queue()
    Engine(Options("m" * 300, memory_bytes=0), failures.put).start()
    message = failures.get(timeout=20).message
    assert "too long" in message and len(message) < 400
