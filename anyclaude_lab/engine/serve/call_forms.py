"""How a model's own template spells tool calls, as far as a forced or forbidden call needs it. PURE.

Without a grammar a call is forced by its beginning: the model goes on from there. Where the form is not known, or the
beginning of a call is no token of its own, words have to do.
"""

from __future__ import annotations

import json
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class CallForm:
    """`opening` begins any call; `named` a call of one tool, with `{name}` for its name as it stands in the form."""

    marker: str
    opening: str
    named: str

    def begin(self, name: str | None) -> str:
        """The text that forces a call, of `name` or of any tool."""
        return self.opening if name is None else self.named.replace("{name}", json.dumps(name)[1:-1])


HERMES = CallForm("<tool_call>", '<tool_call>\n{"name": "', '<tool_call>\n{"name": "{name}", "arguments":')
QWEN_CODER = CallForm("<tool_call>", "<tool_call>\n<function=", "<tool_call>\n<function={name}>\n")
MISTRAL = CallForm("[TOOL_CALLS]", '[TOOL_CALLS][{"name": "', '[TOOL_CALLS][{"name": "{name}", "arguments":')
MISTRAL_ARGS = CallForm("[TOOL_CALLS]", "[TOOL_CALLS]", "[TOOL_CALLS]{name}[ARGS]")
LLAMA = CallForm('{"name"', '{"name": "', '{"name": "{name}", "parameters":')


def call_form(template: str) -> CallForm | None:
    """The form that a chat template teaches; None where it shows none of those known here."""
    if "[TOOL_CALLS]" in template:
        return MISTRAL_ARGS if "[ARGS]" in template else MISTRAL
    if "<tool_call>" in template:
        return QWEN_CODER if "<function=" in template else HERMES
    return LLAMA if '"parameters":' in template else None


def in_words(name: str | None, *, forbidden: bool) -> str:
    """The same, said to the model."""
    if forbidden:
        return "Answer in text now, without calling a tool."
    return f"Your answer must be a call of {f'the tool {name}' if name else 'one of the tools'}."
