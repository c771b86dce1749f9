"""A model's chat template over chat-completions messages: the very text the model reads."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from anyclaude_lab.errors import InvalidRequest, SettingsError
from anyclaude_lab.wire.events import JsonObject

if TYPE_CHECKING:
    import jinja2

# What templates may write by name; found in tokenizer_config.json or special_tokens_map.json.
SPECIAL_TOKENS = ("bos_token", "eos_token", "unk_token", "sep_token", "pad_token", "cls_token", "mask_token")
# Names under which a message's reasoning is sent; templates read the first, gpt-oss's the second.
_OPEN_WRITES = 8  # of a template whose loops are not remembered: an opening of the answer is written in fewer
_REASONING = ("reasoning_content", "thinking", "reasoning")


class ChatTemplate:
    """One template, compiled at first use. Rendering depends on nothing but what is handed in.

    `strftime_now(format)` tells templates the date; without it the name is undefined and they fall back or refuse.
    """

    def __init__(
        self,
        source: str,
        *,
        special_tokens: Mapping[str, str] | None = None,
        strftime_now: Callable[[str], str] | None = None,
    ) -> None:
        self._source = source
        self._special_tokens = dict(special_tokens or {})
        self._strftime_now = strftime_now
        self._compiled: jinja2.Template | None = None

    @classmethod
    def from_tokenizer_config(
        cls,
        config: JsonObject,
        *,
        template_file: str | None = None,
        has_tools: bool = True,
        strftime_now: Callable[[str], str] | None = None,
    ) -> ChatTemplate | None:
        """From a parsed tokenizer_config.json, or the text of the chat_template.jinja beside it, which wins.

        A folder may name several templates; the one for tools is taken with `has_tools`. None if there is no template.
        """
        source = template_file if template_file is not None else _chosen(config.get("chat_template"), has_tools)
        if source is None:
            return None
        tokens = {name: text for name in SPECIAL_TOKENS if (text := _token_text(config.get(name))) is not None}
        return cls(source, special_tokens=tokens, strftime_now=strftime_now)

    def render(
        self,
        messages: Sequence[JsonObject],
        tools: Sequence[JsonObject] | None = None,
        *,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> str:
        """The prompt for messages and tools as a chat-completions body spells them; `variables` are template kwargs.

        Raises `InvalidRequest` with the template's own complaint.
        """
        return "".join(self.pieces(messages, tools, add_generation_prompt=add_generation_prompt, **variables))

    def pieces(
        self,
        messages: Sequence[JsonObject],
        tools: Sequence[JsonObject] | None = None,
        *,
        add_generation_prompt: bool = True,
        **variables: Any,
    ) -> list[str]:
        """The same text in pieces. The last is what may well be another one when the conversation goes on.

        Of a message that was rendered before, the piece is the very string of that time, where the template allows it.
        """
        import jinja2

        template = self._template()
        try:
            written = list(
                template.generate(
                    **self._special_tokens,
                    **variables,
                    messages=[template_message(message) for message in messages],
                    tools=list(tools) if tools else None,
                    documents=None,
                    add_generation_prompt=add_generation_prompt,
                )
            )
        except (jinja2.TemplateError, TypeError, ValueError, KeyError, ArithmeticError, RecursionError) as error:
            raise InvalidRequest(f"The model's chat template refuses this conversation: {error}") from None
        return _pieces(written)

    def _template(self) -> jinja2.Template:
        if self._compiled is None:
            import jinja2

            from anyclaude_lab.render.jinja import compiled

            try:
                self._compiled = compiled(self._source, self._strftime_now)
            except jinja2.TemplateSyntaxError as error:
                raise SettingsError(
                    f"The model's chat template cannot be read: line {error.lineno}: {error.message}. "
                    "Repair chat_template in the model's folder, or use another model."
                ) from None
        return self._compiled


def _pieces(written: Sequence[str | list[str]]) -> list[str]:
    """What a template wrote, loops it remembers as lists: behind the last of these all is one piece, the open end."""
    end = max((n for n, part in enumerate(written, start=1) if isinstance(part, list)), default=-_OPEN_WRITES)
    settled = [piece for part in written[:end] for piece in ([part] if isinstance(part, str) else part)]
    return [*settled, "".join(written[end:])]  # type: ignore[arg-type]  # no list stands behind the last


def template_message(message: JsonObject) -> JsonObject:
    """A message as servers hand it to a template: text as one string, arguments as objects, reasoning by every name."""
    if _is_plain(message):
        return message
    changed = dict(message)
    content = message.get("content")
    if content is None:
        changed["content"] = ""
    elif isinstance(content, list) and all(part.get("type") == "text" for part in content):
        changed["content"] = "".join(part["text"] for part in content)
    if message.get("tool_calls"):
        changed["tool_calls"] = [_template_call(call) for call in message["tool_calls"]]
    reasoning = next((message[name] for name in _REASONING if message.get(name) is not None), None)
    if reasoning is not None:
        changed = {"thinking": reasoning} | changed | {"reasoning_content": reasoning}
    return changed


def _is_plain(message: JsonObject) -> bool:
    said = isinstance(message.get("content"), str) and not message.get("tool_calls")
    return said and all(message.get(name) is None for name in _REASONING)


def _template_call(call: JsonObject) -> JsonObject:
    function = call.get("function") or {}
    arguments = function.get("arguments")
    if isinstance(arguments, str) and arguments:
        try:
            arguments = json.loads(arguments)
        except ValueError:
            return call
    return call | {"function": function | {"arguments": arguments}}


def _chosen(template: Any, has_tools: bool) -> str | None:
    """The template itself, or one out of `[{"name", "template"}, ...]`."""
    if not isinstance(template, list):
        return template if isinstance(template, str) else None
    named = {entry.get("name"): entry.get("template") for entry in template if isinstance(entry, dict)}
    wanted = (has_tools and named.get("tool_use")) or named.get("default")
    return wanted if isinstance(wanted, str) else None


def _token_text(token: Any) -> str | None:
    text = token.get("content") if isinstance(token, dict) else token
    return text if isinstance(text, str) else None
