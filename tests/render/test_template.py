"""A chat template gives the text that the model's own library gives."""

from __future__ import annotations

import json
from typing import Any

import pytest

from anyclaude_lab.errors import InvalidRequest, SettingsError
from anyclaude_lab.render.template import ChatTemplate, template_message
from tests.requirements import require_mlx

CHATML = """\
{%- if tools %}
<|im_start|>system
{{ messages[0].content if messages[0].role == 'system' else '' }}
# Tools
{%- for tool in tools %}
{{ tool | tojson }}
{%- endfor %}<|im_end|>
{%- endif %}
{% for message in messages %}
  {%- if message.role == 'assistant' and message.reasoning_content %}
<think>{{ message.reasoning_content }}</think>
  {%- endif %}
<|im_start|>{{ message.role }}
{{ message.content }}
  {%- for call in message.tool_calls or [] %}
<call>{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}</call>
  {%- endfor %}<|im_end|>
{% endfor %}
{%- if add_generation_prompt %}<|im_start|>assistant
{% if enable_thinking is defined and not enable_thinking %}<think></think>{% endif %}
{%- endif %}"""
ALTERNATING = """\
{{ bos_token }}{% for message in messages %}
{%- if (message.role == 'user') != (loop.index0 % 2 == 0) %}{{ raise_exception('roles must alternate') }}{% endif %}
{{- '[Q]' + message.content + '[/Q]' if message.role == 'user' else message.content + eos_token }}
{%- endfor %}"""
SCOPES = """\
{% set seen = namespace(tools=0) %}{% for message in messages %}
    {% if message.role == 'tool' %}{% set seen.tools = seen.tools + 1 %}{% continue %}{% endif %}
    {% generation %}{% set inner = message.content | trim %}{{ inner }}{% endgeneration %}
    {% if loop.index > 3 %}{% break %}{% endif %}
{% endfor %}{{ seen.tools }} {{ inner is defined }} {{ dict(a=1) | tojson }} {{ {'b': 'ä<&>'} | tojson(indent=2) }}"""
DATED = "{% if strftime_now is defined %}{{ strftime_now('%d %b %Y') }}{% else %}some day{% endif %}"

USER = {"role": "user", "content": [{"type": "text", "text": "Grüße <&> "}, {"type": "text", "text": "'you'"}]}
CALL = {
    "role": "assistant",
    "content": None,
    "reasoning": "Look first.",
    "tool_calls": [
        {"id": "c1", "type": "function", "function": {"name": "Bash", "arguments": '{"command": "echo ä", "n": 1.5}'}}
    ],
}
RESULT = {"role": "tool", "tool_call_id": "c1", "content": "ok"}
TOOLS = [
    {"type": "function", "function": {"name": "Bash", "description": "Runs <it>", "parameters": {"type": "object"}}}
]
TALK: list[dict[str, Any]] = [{"role": "system", "content": "Be kind."}, USER, CALL, RESULT]


def reference(source: str, messages: list[dict[str, Any]], tools: Any = None, **variables: Any) -> str:
    """What transformers makes of messages as mlx_lm.server prepares them."""
    require_mlx()
    from mlx_lm import server
    from transformers.utils import chat_template_utils as library

    prepared = json.loads(json.dumps(messages))
    server.process_message_content(prepared)
    rendered, _ = library.render_jinja_template(
        [prepared], tools=tools, chat_template=source, add_generation_prompt=True, **variables
    )
    return str(rendered[0])


@pytest.mark.engine
@pytest.mark.parametrize(
    ("source", "messages", "tools", "variables"),
    [
        (CHATML, TALK, TOOLS, {}),
        (CHATML, TALK, None, {"enable_thinking": False}),
        (
            ALTERNATING,
            [USER, {"role": "assistant", "content": "Hi."}, USER],
            None,
            {"bos_token": "<s>", "eos_token": "</s>"},
        ),
        (SCOPES, TALK * 2, None, {}),
    ],
    ids=["chatml with tools", "without thinking", "alternating", "scopes and loops"],
)
def test_the_text_is_that_of_transformers(
    source: str, messages: list[dict[str, Any]], tools: Any, variables: dict[str, Any]
) -> None:
    ours = ChatTemplate(source).render(messages, tools, **variables)
    assert ours == reference(source, messages, tools, **variables)
    assert ours.strip()


def test_blocks_leave_no_blank_lines_and_letters_stay_letters() -> None:
    source = "  {% if true %}\n{{ messages[0] | tojson }}\n  {% endif %}\nend"
    assert ChatTemplate(source).render([{"role": "user", "content": "ä<&>'"}]) == (
        '{"role": "user", "content": "ä<&>\'"}\nend'
    )


def test_special_tokens_are_known_by_name() -> None:
    template = ChatTemplate(ALTERNATING, special_tokens={"bos_token": "<s>", "eos_token": "</s>"})
    assert template.render([{"role": "user", "content": "hi"}]) == "<s>[Q]hi[/Q]"


def test_the_date_is_handed_in() -> None:
    asked: list[str] = []

    def today(form: str) -> str:
        asked.append(form)
        return "22 Nov 2026"

    assert ChatTemplate(DATED, strftime_now=today).render([]) == "22 Nov 2026"
    assert asked == ["%d %b %Y"]
    assert ChatTemplate(DATED).render([]) == "some day"


@pytest.mark.parametrize(
    ("source", "complaint"),
    [
        (ALTERNATING.replace("(message", "(not message"), "roles must alternate"),
        ("{{ messages[0].name.first }}", "name"),
        ("{{ messages[0].content + 1 }}", "str"),
        ("{{ strftime_now('%Y') }}", "'strftime_now' is undefined"),
        ("{{ ''.__class__.__mro__ }}", "unsafe"),
        ("{% set n = namespace(__class__=1) %}", "'__class__'"),
        ("{% set n = namespace() %}{% set n._x = 1 %}", "'_x'"),
        ("{{ messages.append(1) }}", "unsafe"),
        ("{{ 1 // 0 }}", "zero"),
        ("{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}", "recursion"),
    ],
)
def test_a_refusal_names_the_complaint(source: str, complaint: str) -> None:
    with pytest.raises(InvalidRequest, match="chat template refuses this conversation") as caught:
        ChatTemplate(source).render([{"role": "user", "content": "hi"}])
    assert complaint in caught.value.message


def test_a_broken_template_names_the_line() -> None:
    with pytest.raises(SettingsError, match=r"cannot be read: line 2: .*nonsense"):
        ChatTemplate("a\n{% nonsense %}").render([])


def test_messages_are_not_changed_by_rendering() -> None:
    before = json.dumps(TALK)
    ChatTemplate(CHATML).render(TALK, TOOLS)
    assert json.dumps(TALK) == before


def test_what_cannot_be_prepared_stays() -> None:
    image: dict[str, Any] = {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:"}}]}
    assert template_message(image) == image
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "B", "arguments": "{half"}}]}
    assert template_message(call) == call


def test_a_template_is_found_in_the_tokenizer_config() -> None:
    config = {"chat_template": "{{ bos_token }}one", "bos_token": {"content": "<s>"}, "eos_token": None}
    named: dict[str, Any] = {
        "chat_template": [{"name": "default", "template": "plain"}, {"name": "tool_use", "template": "tools"}]
    }

    def rendered(config: dict[str, Any], **more: Any) -> str | None:
        template = ChatTemplate.from_tokenizer_config(config, **more)
        return None if template is None else template.render([])

    assert rendered(config) == "<s>one"
    assert rendered(config, template_file="{{ bos_token }}two") == "<s>two"
    assert rendered(named) == "tools"
    assert rendered(named, has_tools=False) == "plain"
    assert rendered({"chat_template": named["chat_template"][:1]}) == "plain"
    assert rendered({}) is None
