"""Chat templates of our own in the four shapes that decide what a prefix is, and requests rendered through them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

from anyclaude_lab.models.adapters import adapter_for
from anyclaude_lab.render.template import ChatTemplate
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_dialect import MLX_LM, Dialect
from anyclaude_lab.wire.openai_request import to_openai
from anyclaude_lab.wire.request import Request
from anyclaude_lab.wire.tool_names import ToolNames

_CALLS = """{% if message.tool_calls %}{% for call in message.tool_calls %}
<tool_call>{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}</tool_call>
{%- endfor %}{% endif %}"""

# Tools at the end of the system turn: Qwen2.5, Hermes, most others.
CHATML = (
    """{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set rest = messages[1:] %}
{%- else %}{% set system = '' %}{% set rest = messages %}{% endif -%}
<|im_start|>system
{{ system }}{% if tools %}

# Tools
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}{% endif %}<|im_end|>
{% for message in rest %}<|im_start|>{{ message.role }}
{{ message.content }}"""
    + _CALLS
    + """<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
)

# Earlier thinking is dropped up to the user's last words: Qwen3, DeepSeek, GLM.
THINKING = (
    """{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set rest = messages[1:] %}
{%- else %}{% set system = '' %}{% set rest = messages %}{% endif -%}
{% set ns = namespace(last=0) %}
{%- for message in rest %}{% if message.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor -%}
<|im_start|>system
{{ system }}{% if tools %}

# Tools
{% for tool in tools %}{{ tool | tojson }}
{% endfor %}{% endif %}<|im_end|>
{% for message in rest %}<|im_start|>{{ message.role }}
{% if message.reasoning_content and loop.index0 > ns.last %}<think>
{{ message.reasoning_content }}
</think>

{% endif %}{{ message.content }}"""
    + _CALLS
    + """<|im_end|>
{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant
{% endif %}"""
)

# Tools in the first user turn, the date in the system turn: Llama 3.1.
LLAMA = (
    """{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set rest = messages[1:] %}
{%- else %}{% set system = '' %}{% set rest = messages %}{% endif -%}
<|start_header_id|>system<|end_header_id|>

Today is {{ date_string }}.

{{ system }}<|eot_id|>
{%- for message in rest %}<|start_header_id|>{{ message.role }}<|end_header_id|>

{% if loop.first and tools %}You can call these functions:
{% for tool in tools %}{{ tool | tojson(indent=4) }}

{% endfor %}{% endif %}{{ message.content }}"""
    + _CALLS
    + """<|eot_id|>
{%- endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>

{% endif %}"""
)

# Tools before the user's last words: Mistral.
MISTRAL = """{% if messages[0].role == 'system' %}{% set system = messages[0].content %}{% set rest = messages[1:] %}
{%- else %}{% set system = '' %}{% set rest = messages %}{% endif -%}
{% set ns = namespace(last=0) %}
{%- for message in rest %}{% if message.role == 'user' %}{% set ns.last = loop.index0 %}{% endif %}{% endfor -%}
<s>{% if system %}[SYSTEM_PROMPT]{{ system }}[/SYSTEM_PROMPT]{% endif -%}
{% for message in rest -%}
{% if message.role == 'user' -%}
{% if tools and loop.index0 == ns.last %}[AVAILABLE_TOOLS]{{ tools | tojson }}[/AVAILABLE_TOOLS]{% endif -%}
[INST]{{ message.content }}[/INST]
{%- elif message.role == 'tool' -%}
[TOOL_RESULTS]{{ message.content }}[/TOOL_RESULTS]
{%- else -%}
{{ message.content }}{% if message.tool_calls %}[TOOL_CALLS]{% for call in message.tool_calls -%}
{"name": "{{ call.function.name }}", "arguments": {{ call.function.arguments | tojson }}}{% endfor %}{% endif %}</s>
{%- endif %}{% endfor %}"""


@dataclass(frozen=True)
class Shape:
    """One way in which models read a conversation."""

    name: str
    source: str
    model: str
    dialect: Dialect = MLX_LM
    tools_move: bool = False  # with the user's last words, so that each of them costs the history

    @cached_property
    def template(self) -> ChatTemplate:
        return ChatTemplate(self.source)

    def body(self, request: Request) -> JsonObject:
        """The chat-completions body that a server of such a model gets, adapted to its family."""
        adapter, names = adapter_for(self.model), ToolNames.for_tools(request.offered_tools())
        dialect = adapter.dialect(self.dialect, self.model)
        return to_openai(adapter.adapt(request), dialect, model=self.model, names=names)[0]

    def rendered(self, request: Request) -> str:
        """What the model reads, without the opening of its answer."""
        body = self.body(request)
        variables = {"date_string": "22 Nov 2026"} | (body.get("chat_template_kwargs") or {})
        return self.template.render(body["messages"], body.get("tools"), add_generation_prompt=False, **variables)

    def keeps(self, older: Request, newer: Request) -> bool:
        """Whether the template itself lets the prompt of `older` stand in that of `newer`."""
        return not self.tools_move or _user_turns(self.body(older)) == _user_turns(self.body(newer))


def _user_turns(body: JsonObject) -> int:
    return sum(message["role"] == "user" for message in body["messages"])


SHAPES = (
    Shape("tools in the system turn", CHATML, "qwen2.5-coder"),
    Shape("tools in the first user turn", LLAMA, "llama-3.1"),
    Shape("earlier thinking dropped", THINKING, "qwen3", replace(MLX_LM, reasoning_field="reasoning_content")),
    Shape("tools before the last user turn", MISTRAL, "mistral-small", tools_move=True),
)
