"""The Jinja environment in which chat templates are written: that of `transformers`, sandbox and all.

Chat templates come from model folders of strangers, hence the sandbox. Source: transformers, chat templating
(huggingface.co/docs/transformers/chat_templating_writing).
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, NoReturn

import jinja2
import jinja2.ext
from jinja2 import nodes
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

from anyclaude_lab.render.loops import remember
from anyclaude_lab.render.rounds import Rounds

StrftimeNow = Callable[[str], str]


class _Generation(jinja2.ext.Extension):
    """`{% generation %}...{% endgeneration %}` marks what the model wrote; for rendering it is a scope of its own."""

    tags = {"generation"}  # noqa: RUF012 - the shape jinja2 asks for

    def parse(self, parser: Parser) -> nodes.Node:
        line = next(parser.stream).lineno
        return nodes.Scope(parser.parse_statements(("name:endgeneration",), drop_needle=True), lineno=line)


class _Dict:
    """`dict` of the templates: makes dictionaries and nothing else."""

    def __call__(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict(*args, **kwargs)

    def fromkeys(self, *args: Any, **kwargs: Any) -> dict[Any, Any]:
        return dict.fromkeys(*args, **kwargs)


class _Namespace(Namespace):
    """`namespace` of the templates: without a way to underscored attributes."""

    def __init__(*args: Any, **kwargs: Any) -> None:  # so that a template may set `self`
        self, *rest = args
        for name in dict(*rest, **kwargs):
            _refuse_underscored(name)
        Namespace.__init__(self, *rest, **kwargs)

    def __setitem__(self, name: str, value: Any) -> None:
        _refuse_underscored(name)
        super().__setitem__(name, value)


def compiled(source: str, strftime_now: StrftimeNow | None) -> jinja2.Template:
    """The template ready to render. `strftime_now` is undefined where none is given, as templates expect to test."""
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_Generation, jinja2.ext.loopcontrols]
    )
    environment.filters["tojson"] = _tojson
    environment.globals |= {"raise_exception": _raise_exception, "dict": _Dict(), "namespace": _Namespace}
    if strftime_now is not None:
        environment.globals["strftime_now"] = strftime_now
    tree = environment.parse(source)
    environment.rounds = rounds = Rounds()  # type: ignore[attr-defined]  # how the changed tree finds it
    remember(tree, rounds)
    return jinja2.Template.from_code(environment, environment.compile(tree), environment.make_globals(None))


def _tojson(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """JSON as models were trained on: no escapes of HTML, nor of letters beyond ASCII."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _raise_exception(message: str) -> NoReturn:
    raise jinja2.TemplateError(message)


def _refuse_underscored(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise jinja2.exceptions.SecurityError(f"a template may not set the attribute {name!r}")
