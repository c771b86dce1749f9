"""Which loops of a chat template can be remembered round by round, as its code tells.

A round over one message is a function of what the loop's body reads. Where all of that is plain from the syntax tree
(the message, what is asked of `loop`, neighbours at a fixed distance, the variables and namespaces around the loop),
the loop is handed to `Rounds`, and a conversation that goes on is rendered from where it went on. A loop of which it
is not plain stays as it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

from jinja2 import nodes

from anyclaude_lab.render.rounds import Rounds

_PLAIN = (
    *(nodes.Output, nodes.TemplateData, nodes.Const, nodes.Name, nodes.NSRef, nodes.Getattr, nodes.Getitem),
    *(nodes.Slice, nodes.Call, nodes.Keyword, nodes.Filter, nodes.Test, nodes.If, nodes.For, nodes.Assign),
    *(nodes.Compare, nodes.Operand, nodes.BinExpr, nodes.UnaryExpr, nodes.Concat, nodes.CondExpr, nodes.List),
    *(nodes.Tuple, nodes.Dict, nodes.Pair, nodes.Scope),
)
_OF_LOOP = frozenset({"index", "index0", "first", "last", "previtem", "nextitem"})  # what lies behind changes it little
_PURE_CALLS = frozenset({"raise_exception", "namespace", "dict", "range"})
# What is not the same each time, or has to do with how code is called.
_UNTOLD = frozenset({"cycler", "joiner", "lipsum", "strftime_now", "caller", "varargs", "kwargs", "self", "super"})
_ASIDE = ("loop", "messages")  # read by themselves, never as variables around a loop


@dataclass(slots=True)
class _Read:
    """What a piece of code reads."""

    names: set[str]
    of_loop: set[str]
    offsets: set[int]


class _Untold(Exception):
    """What this code depends on cannot be told."""


def remember(template: nodes.Template, rounds: Rounds) -> None:
    """Every loop of the outermost level whose rounds can be remembered is handed to `rounds`; the tree is changed."""
    macros: dict[str, nodes.Macro] = {}
    stored = {name.name for name in template.find_all(nodes.Name) if name.ctx != "load"}
    if stored & _PURE_CALLS:
        return
    for macro in template.find_all(nodes.Macro):
        if macro.name in macros or macro.name in stored or macro not in template.body:
            return
        macros[macro.name] = macro
    try:
        inside = [(_read_of([*macro.body, *macro.defaults], macros), _names(macro.args)) for macro in macros.values()]
    except _Untold:
        return
    read = _Read(set(), set(), set())
    for each, own in inside:
        if each.of_loop or each.offsets:
            return
        read.names |= each.names - own
    template.body = list(_handed_over(template.body, macros, read.names, rounds))


def _handed_over(
    body: Sequence[nodes.Node], macros: dict[str, nodes.Macro], behind: set[str], rounds: Rounds
) -> Iterator[nodes.Node]:
    """`body` with its loops changed; `behind`: the names that the macros read."""
    for node in body:
        if isinstance(node, nodes.If):
            node.body = list(_handed_over(node.body, macros, behind, rounds))
            node.else_ = list(_handed_over(node.else_, macros, behind, rounds))
            for each in node.elif_:
                each.body = list(_handed_over(each.body, macros, behind, rounds))
        yield _call_of(node, macros, behind, rounds) or node


def _call_of(
    node: nodes.Node, macros: dict[str, nodes.Macro], behind: set[str], rounds: Rounds
) -> nodes.CallBlock | None:
    """The loop as a call of `rounds`, whose block is the loop's body; None where it has to stay a loop."""
    if not isinstance(node, nodes.For) or node.recursive or node.test or node.else_:
        return None
    if not isinstance(node.target, nodes.Name) or node.target.name in behind or not node.find(nodes.Output):
        return None
    try:
        read = _read_of(node.body, macros)
    except _Untold:
        return None
    target, environment = node.target.name, node.environment
    assert environment is not None, "the parser gives it to every node"
    if read.offsets and target == "messages":
        return None
    names = sorted((read.names | behind) - {target})
    number = rounds.add(tuple(sorted(read.of_loop)), tuple(sorted(read.offsets)))
    variables = nodes.List([nodes.Name(name, "load") for name in names])
    among = nodes.Name("messages", "load") if read.offsets else nodes.Const(None)
    call = nodes.Call(
        nodes.EnvironmentAttribute("rounds"), [nodes.Const(number), node.iter, variables, among], [], None, None
    )
    parameters = [nodes.Name(target, "param"), nodes.Name("loop", "param")]
    block = nodes.CallBlock(call, parameters, [], node.body, lineno=node.lineno)
    block.set_environment(environment)
    return block


def _read_of(body: Iterable[nodes.Node], macros: dict[str, nodes.Macro]) -> _Read:
    """Raises `_Untold`."""
    read = _Read(set(), set(), set())
    for node in body:
        _walk(node, macros, read, inner=False)
    return read


def _walk(node: nodes.Node, macros: dict[str, nodes.Macro], read: _Read, *, inner: bool) -> None:
    """`inner`: within a loop inside the body, whose `loop` is its own."""
    if not isinstance(node, _PLAIN) or (isinstance(node, nodes.Filter) and node.name == "random"):
        raise _Untold
    children: Iterable[nodes.Node] = node.iter_child_nodes()
    match node:
        case nodes.Getitem() if not inner and (offset := _offset(node)) is not None:
            read.offsets.add(offset)
            children = ()
        case nodes.Getattr(node=nodes.Name(name="loop")):
            if not inner and node.attr not in _OF_LOOP:
                raise _Untold
            if not inner:
                read.of_loop.add(node.attr)
            children = ()
        case nodes.Call(node=nodes.Name(name=called)):
            if called not in macros and called not in _PURE_CALLS:
                raise _Untold
            children = node.iter_child_nodes(exclude=("node",))
        case nodes.Call(node=called) if not isinstance(called, nodes.Getattr):
            raise _Untold
        case nodes.Test(name="sameas"):
            raise _Untold
        case nodes.Name(ctx="load"):
            if node.name in _UNTOLD or node.name in _ASIDE or node.name in macros or node.name in _PURE_CALLS:
                raise _Untold
            read.names.add(node.name)
        case nodes.Name():
            if node.name in _ASIDE or node.name in _PURE_CALLS:
                raise _Untold
        case nodes.NSRef():
            read.names.add(node.name)
        case nodes.For():
            if node.recursive:
                raise _Untold
            _walk(node.target, macros, read, inner=inner)
            _walk(node.iter, macros, read, inner=inner)
            for each in [*([node.test] if node.test else []), *node.else_]:
                _walk(each, macros, read, inner=inner)
            for each in node.body:
                _walk(each, macros, read, inner=True)
            children = ()
    for child in children:
        _walk(child, macros, read, inner=inner)


def _offset(node: nodes.Getitem) -> int | None:
    """Of `messages[loop.index0]`, and with a number added or taken away; None for anything else."""
    if not (isinstance(node.node, nodes.Name) and node.node.name == "messages"):
        return None
    match node.arg:
        case nodes.Getattr(node=nodes.Name(name="loop"), attr="index0"):
            return 0
        case nodes.Add(
            left=nodes.Getattr(node=nodes.Name(name="loop"), attr="index0"), right=nodes.Const(value=int(n))
        ):
            return n
        case nodes.Sub(
            left=nodes.Getattr(node=nodes.Name(name="loop"), attr="index0"), right=nodes.Const(value=int(n))
        ):
            return -n
    return None


def _names(parameters: Iterable[nodes.Name]) -> set[str]:
    return {parameter.name for parameter in parameters}
