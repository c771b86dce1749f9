"""How a family of models wants to be talked to, beyond what its chat template enforces: one row per family.

`none` changes nothing; what a template refuses outright is always kept from it by `openai_dialect.for_model`.
"""

from __future__ import annotations

import re

from anyclaude_lab.models.adapters.adapter import Adapter
from anyclaude_lab.models.families import family_of

__all__ = ["ADAPTERS", "AUTO", "Adapter", "adapter_for", "adapter_named"]

AUTO = "auto"  # the row that the model's id names

ADAPTERS: dict[str, Adapter] = {
    adapter.name: adapter
    for adapter in (
        Adapter(
            "qwen",
            "thinking switched off in words where the server takes no switch",
            hint="Put every tool call into <tool_call> tags, with the exact names of its parameters.",
            # Later ones (Qwen3-2507, Qwen3-Coder, Qwen3.5) think always or never, and read the words as text.
            thinking_in_words=re.compile(r"qwen-?3(?!\.\d|.*(?:2507|coder|instruct|next|-vl))"),
        ),
        Adapter("mistral", "user and assistant in turn, ids of nine characters", template="mistral"),
        Adapter(
            "llama",
            "one call in a message, a fixed date, parameters without objects inside",
            template="llama",
            hint="Answer either with one tool call and nothing else, or with text.",
            flattens=True,
        ),
        Adapter(
            "generic", "a word about calls", hint="Call tools by their exact names, with their own parameters only."
        ),
        Adapter("none", "nothing"),
    )
}


def adapter_for(model_id: str | None) -> Adapter:
    """The adapter of the family that a model's id names; `generic` where it names none of ours."""
    return ADAPTERS.get(family_of(model_id).name, ADAPTERS["generic"])


def adapter_named(name: str, model_id: str | None = None) -> Adapter:
    """The adapter a setting names; with `auto` the one for `model_id`. Raises KeyError for a name that is no row."""
    return adapter_for(model_id) if name == AUTO else ADAPTERS[name]
