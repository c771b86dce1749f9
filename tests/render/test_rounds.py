"""A template whose loops are remembered writes what it writes without: whatever was rendered before."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from anyclaude_lab.engine import embedded
from anyclaude_lab.errors import InvalidRequest
from anyclaude_lab.render.template import ChatTemplate
from tests.prompt.shapes import SHAPES
from tests.render.test_template import ALTERNATING, CALL, CHATML, RESULT, SCOPES, TOOLS

# What real templates do inside their loop over the messages, each as small as it can be.
REMEMBERED = {
    "the tools of a run of results in one turn": """\
{% for message in messages %}{% if message.role == 'tool' %}
{%- if loop.index0 == 0 or messages[loop.index0 - 1].role != 'tool' %}<user>{% endif %}({{ message.content }})
{%- if loop.last or messages[loop.index0 + 1].role != 'tool' %}</user>{% endif %}
{%- else %}<{{ message.role }}>{{ message.content }}</>{% endif %}{% endfor %}{{ messages[0].content }}""",
    "the one before and the one behind": """\
{% for m in messages %}{{ loop.index }}{{ loop.first }}{{ m.content }}{{ (loop.previtem or {}).role }}
{{- loop.nextitem.role if loop.nextitem is defined }}{% endfor %}""",
    "thinking behind the last question": """\
{% set ns = namespace(last=-1, more=true) %}
{% for m in messages[::-1] %}{% set at = messages|length - 1 - loop.index0 %}
{%- if ns.more and m.role == 'user' %}{% set ns.more = false %}{% set ns.last = at %}{% endif %}{% endfor %}
{%- for m in messages %}{% if loop.index0 > ns.last and m.reasoning_content %}
<t>{{ m.reasoning_content }}</t>{% endif %}
{{- m.content }}{% endfor %}""",
    "numbers that go on from round to round": """\
{% set at = namespace(turn=0, seen='') %}
{% for m in messages %}{% if m.role == 'user' %}{% set at.turn = at.turn + 1 %}{% endif %}
{%- for c in m.content %}{% set at.seen = c %}{% if loop.last %}{{ c }}{{ loop.index }}{% endif %}{% endfor %}
{{- at.turn }} {{ at.seen }}{% endfor %}{{ at.turn }}""",
    "a macro that counts": """\
{% set at = namespace(n=0) %}{% set mark = messages[0].role %}
{% macro told(m, space) %}{% set space.n = space.n + 1 %}{{ mark }}{{ m.content | trim }}{{ at.n }}{% endmacro %}
{% for m in messages %}{{ told(m, at) }}{% endfor %}{{ at.n }}""",
    "two names of one namespace, at times": """\
{% set a = namespace(n=0) %}{% if tools %}{% set b = a %}{% else %}{% set b = namespace(n=0) %}
{%- endif %}{% for m in messages %}{% set a.n = a.n + 1 %}{{ b.n }} {{ m.role }}{% endfor %}""",
    "names of its own beside those around it": """\
{% set x = messages[0].role %}{% set first = messages[0] %}
{% for m in messages %}{{ x }}{% set x = m.role %}{{ x }} {{ m == first }}{{ unheard_of }}{{ thinking_on is defined }}
{%- if loop.first %}{% set y = 1 %}{% endif %}{{ y is defined }}{% endfor %}{{ x }}""",
    "a loop inside that finds nothing": """\
{% for m in messages %}{{ m.content }}{% for c in [] %}{% else %}{{ loop.index }}{% endfor %}{% endfor %}""",
    "a loop in one branch": """\
{% if tools %}{% for t in tools %}{{ t | tojson }}{% endfor %}{% for m in messages %}{{ m.content }}{% endfor %}
{%- elif messages %}{% for m in messages %}[{{ m.content }}]{% endfor %}{% else %}none{% endif %}""",
    "a refusal in the middle": """\
{% for m in messages %}{% if m.content == 'no' %}{{ raise_exception('I refuse ' ~ loop.index) }}{% endif %}
{{- m.content }}{%- endfor %}""",
    "a message called as another name": """\
{% for message in messages %}{% set said = message.content %}{% generation %}{{ said }}{% endgeneration %}
{%- set message = 'gone' %}{{ message }}{% endfor %}{{ message is defined }}""",
}
# What a round depends on cannot be told, or is not the same each time.
LEFT_ALONE = {
    "the whole history in every round": "{% for m in messages %}{{ messages | length }}{{ m.content }}{% endfor %}",
    "how much follows": "{% for m in messages %}{{ loop.revindex }}{{ loop.length }}{{ m.content }}{% endfor %}",
    "a cycle": "{% set c = cycler('a', 'b') %}{% for m in messages %}{{ c.next() }}{{ m.content }}{% endfor %}",
    "what changed": """\
{% for m in messages %}{{ loop.changed(m.role) }}{{ loop.cycle(1, 2) }}{{ m.content }}{% endfor %}""",
    "only some": "{% for m in messages if m.role == 'user' %}{{ m.content }}{% else %}nobody{% endfor %}",
    "a break": "{% for m in messages %}{% if m.content == 'no' %}{% break %}{% endif %}{{ m.content }}{% endfor %}",
    "within itself": "{% for m in messages recursive %}{{ m.content }}{{ loop.depth }}{% endfor %}",
    "a function by another name": """\
{% set f = range %}{% for m in messages %}{{ f(loop.index) | list }}{{ m.content }}{% endfor %}""",
    "two macros of one name": """\
{% macro a() %}1{% endmacro %}{% if tools %}{% macro a() %}2{% endmacro %}{% endif %}
{%- for m in messages %}{{ a() }}{{ m.content }}{% endfor %}""",
    "a macro that reads the name of the message": """\
{% set m = messages[-1].content %}{% macro a() %}{{ m }}{% endmacro %}
{%- for m in messages %}{{ a() }}{{ m.content }}{% endfor %}""",
    "the very object": "{% set o = messages[0] %}{% for m in messages %}{{ m is sameas o }}{{ m.content }}{% endfor %}",
    "what a round leaves to be used up": """\
{% set ns = namespace(rest=['-']) %}
{% for m in messages %}{{ ns.rest | first }}{{ m.content }}{% set ns.rest = ['a', 'b'] | map('upper') %}
{%- if m.role == 'assistant' %}{% set ns.rest = ['x'] %}{% endif %}{% endfor %}""",
    "a built-in function that is another one": """\
{% set range = cycler(1, 2, 3).next %}{% for m in messages %}{{ range() }}{{ m.content }}{% endfor %}""",
    "what is used up": """\
{% set ns = namespace(rest=messages | map(attribute='role')) %}
{% for m in messages %}{{ ns.rest | first }}{{ m.content }}{% endfor %}""",
}
DEMONSTRATION = json.loads((embedded.folder() / "tokenizer_config.json").read_bytes())["chat_template"]
SOURCES = {
    **REMEMBERED,
    **LEFT_ALONE,
    **{shape.name: shape.source for shape in SHAPES},
    "the demonstration model's": json.loads((embedded.folder() / "tokenizer_config.json").read_bytes())[
        "chat_template"
    ],
    "chatml": CHATML,
    "alternating": ALTERNATING,
    "scopes": SCOPES,
}
Message = dict[str, Any]


def plainly(source: str) -> ChatTemplate:
    """The template without the work that is tested here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("anyclaude_lab.render.jinja.remember", lambda tree, rounds: None)
        template = ChatTemplate(source)
        template._template()
    return template


TEMPLATES = {name: (ChatTemplate(source), plainly(source)) for name, source in SOURCES.items()}


def said(template: ChatTemplate, messages: list[Message], **more: Any) -> str:
    try:
        return template.render(messages, **more)
    except InvalidRequest as refusal:
        return str(refusal)


contents = st.sampled_from(["", "no", "one", " two\n", "<system-reminder>x</system-reminder>", "ä😀", "\ud800"])
plain = st.fixed_dictionaries({"role": st.sampled_from(["user", "assistant"]), "content": contents})
messages_ = st.one_of(
    plain,
    st.sampled_from([CALL, RESULT, {"role": "system", "content": "Be kind."}, {"role": "tool", "content": 1}]),
    st.sampled_from([{"role": "tool", "content": 1.0}, {"role": "tool", "content": True}, {"role": "user"}]),
)
conversations = st.lists(st.tuples(st.booleans(), st.lists(messages_, min_size=1, max_size=4)), min_size=2, max_size=4)
asked_for = st.fixed_dictionaries(
    {"tools": st.sampled_from([None, TOOLS]), "add_generation_prompt": st.booleans()},
    optional={"thinking_on": st.booleans(), "date_string": st.just("22 Nov 2026")},
)


@pytest.mark.parametrize("name", SOURCES)
@settings(max_examples=50)
@given(turns=conversations, asked=asked_for)
def test_what_was_rendered_before_changes_nothing(
    name: str, turns: list[tuple[bool, list[Message]]], asked: dict[str, Any]
) -> None:
    remembering, plainly_ = TEMPLATES[name]
    messages: list[Message] = []
    for goes_on, added in turns:
        messages = (messages if goes_on else messages[: len(messages) // 2]) + added
        assert said(remembering, messages, **asked) == said(plainly_, messages, **asked)


TALK: list[Message] = [{"role": role, "content": f"{role} {n}"} for n in range(4) for role in ("user", "assistant")]
ASIDE = ("scopes", "alternating")  # the one leaves its loop early, the other refuses what goes on here


def same(template: ChatTemplate, before: list[Message], after: list[Message]) -> int:
    """How many pieces with something that was said are the very same object in both."""
    earlier, later = template.pieces(before), template.pieces(after)
    return sum(any(piece is known for known in earlier) for piece in later if " " in piece)


@pytest.mark.parametrize("name", [name for name in SOURCES if name not in LEFT_ALONE and name not in ASIDE])
def test_a_conversation_that_goes_on_is_rendered_from_where_it_went_on(name: str) -> None:
    template = ChatTemplate(SOURCES[name])
    result = {"role": "tool", "content": "a result"}  # which begins no turn of the user
    more = [*TALK, {"role": "assistant", "content": "x"}, result]
    copied = json.loads(json.dumps(more))
    assert same(template, TALK, copied) >= len(TALK) - 2  # first and last may be told so, or look around them


@pytest.mark.parametrize("name", LEFT_ALONE)
def test_a_loop_of_which_it_cannot_be_told_stays_a_loop(name: str) -> None:
    assert same(ChatTemplate(LEFT_ALONE[name]), TALK, json.loads(json.dumps(TALK))) == 0


def test_the_date_is_asked_for_each_time() -> None:
    days = iter(["1 May", "2 May"])
    source = "{% for m in messages %}{{ strftime_now('%d %b') }}{% endfor %}"
    template = ChatTemplate(source, strftime_now=lambda form: next(days))
    assert [template.render(TALK[:1]) for _ in range(2)] == ["1 May", "2 May"]


def test_what_is_remembered_is_bounded_and_the_newest_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyclaude_lab.render.rounds.KEPT_BYTES", 16_000)
    template = ChatTemplate("{% for m in messages %}{{ m.content }}!{% endfor %}")
    many = [{"role": "user", "content": f"{n} " * 100} for n in range(50)]
    first = template.pieces(many[:1])[0]
    newest = template.pieces(many)[-2]
    assert template.pieces(many[-1:])[0] is newest
    assert template.pieces(many[:1])[0] is not first
