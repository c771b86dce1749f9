"""Does a model still act as the reference did? Seven rungs, each a test of the next assistant message.

| rung | name | passes when |
|---|---|---|
| 0 | trigger | it calls a tool if and only if the reference does |
| 1 | parseable | arguments are JSON objects, no call is left as text |
| 2 | name | the tool exists, and is the reference's |
| 3 | schema | arguments are valid under the tool's original schema, whatever the model was shown |
| 4 | keys | the same arguments are given, defaults counted as given |
| 5 | values | each means the same to the tool (`comparators`) |
| 6 | exact | the same calls in the same order |

A different action can be right as well: this is agreement with a reference, not correctness. Pure.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from anyclaude_lab.lab.answers import Answer, Call
from anyclaude_lab.lab.metrics.comparators import same
from anyclaude_lab.lab.metrics.matching import best_matching
from anyclaude_lab.wire.events import JsonObject

RUNGS = ("trigger", "parseable", "name", "schema", "keys", "values", "exact")
# How models spell a call in text. Sources: the families' chat templates.
MARKUP = re.compile(r"<tool_call>|<function[=_]|\[TOOL_CALLS\]|<\|python_tag\|>|<invoke |<\|tool_call|\[TOOL_REQUEST\]")
_ERRORS = {"required": "missing_required", "additionalProperties": "unexpected", "type": "type", "enum": "enum"}


@dataclass(frozen=True, slots=True)
class Match:
    """One call of the reference and the candidate's call that fits it best."""

    name_match: bool
    schema_error: str | None  # missing_required, unexpected, type, enum, other; None: valid, or not to be judged
    key_recall: float
    key_precision: float
    value_score: float

    @property
    def score(self) -> float:
        return self.value_score if self.name_match else 0.0


@dataclass(frozen=True, slots=True)
class Judgement:
    """One turn. `failed_rung` is the first that does not pass (None: all pass), `failure` says how in a word.

    `fidelity` is None where the reference calls nothing: there is nothing to agree on but the trigger.
    """

    reference_calls: int
    candidate_calls: int
    triggered: bool  # the candidate called a tool, or tried to
    unparsed: bool
    unknown_names: int
    matches: tuple[Match, ...]
    failed_rung: int | None
    failure: str | None
    schema_errors: int = 0

    @property
    def expected(self) -> bool:
        return self.reference_calls > 0

    @property
    def fidelity(self) -> float | None:
        """Name match by value score over the best matching, as an F1: missing and superfluous calls both cost."""
        if not self.expected:
            return None
        return 2 * sum(match.score for match in self.matches) / (self.reference_calls + self.candidate_calls)

    @property
    def exact(self) -> bool:
        return self.failed_rung is None


def judge(
    reference: Answer, candidate: Answer, tools: Mapping[str, JsonObject] | None, *, folder: str | None = None
) -> Judgement:
    """Judge one answer. `tools`: name to schema of every tool of the original request; None: they are not known, and
    neither names nor arguments are held against them. `folder`: what relative paths count from.
    """
    wanted, given, schemas = reference.calls, candidate.calls, tools or {}
    leftover = bool(MARKUP.search(candidate.text))
    unparsed = leftover or any(call.input is None for call in given)
    triggered = bool(given) or leftover
    weights = [
        [_weight(w, g, schemas, folder) + 0.001 * (row == column) for column, g in enumerate(given)]
        for row, w in enumerate(wanted)
    ]
    pairs = best_matching(weights)
    matches = tuple(_match(wanted[w], given[g], schemas, folder) for w, g in pairs)
    errors = [schema_error(call, schemas.get(call.name)) for call in given]
    unknown = sum(call.name not in schemas for call in given) if tools is not None else 0
    rung, failure = _first_failure(wanted, given, pairs, matches, errors, unparsed, unknown, triggered)
    return Judgement(
        len(wanted),
        len(given),
        triggered,
        unparsed,
        unknown,
        matches,
        rung,
        failure,
        sum(e is not None for e in errors),
    )


def _first_failure(
    wanted: Sequence[Call],
    given: Sequence[Call],
    pairs: Sequence[tuple[int, int]],
    matches: Sequence[Match],
    errors: Sequence[str | None],
    unparsed: bool,
    unknown: int,
    triggered: bool,
) -> tuple[int | None, str | None]:
    if triggered != bool(wanted):
        return 0, "spurious_call" if triggered else "missed_call"
    if unparsed:
        return 1, "unparsed"
    if unknown:
        return 2, "unknown_tool"
    if not all(match.name_match for match in matches):
        return 2, "wrong_tool"
    if len(given) < len(wanted):
        return 2, "fewer_calls"
    if len(given) > len(wanted):
        return 2, "more_calls"
    error = next((error for error in errors if error is not None), None)
    if error is not None:
        return 3, error
    if any(match.key_precision < 1 for match in matches):
        return 4, "extra_argument"
    if any(match.key_recall < 1 for match in matches):
        return 4, "missing_argument"
    if any(match.value_score < 1 for match in matches):
        return 5, "value"
    if any(row != column for row, column in pairs):
        return 6, "order"
    return None, None


def _weight(wanted: Call, given: Call, schemas: Mapping[str, JsonObject], folder: str | None) -> float:
    """How well two calls fit; a shared name alone counts for something, so that it is matched at all."""
    match = _match(wanted, given, schemas, folder)
    return 1.0 + match.value_score + 0.01 * match.key_precision if match.name_match else 0.0


def _match(wanted: Call, given: Call, schemas: Mapping[str, JsonObject], folder: str | None) -> Match:
    schema = schemas.get(wanted.name) or {}
    reference, candidate = _with_defaults(wanted.input, schema), _with_defaults(given.input, schema)
    prose = {name for name in reference.keys() | candidate.keys() if same(wanted.name, name, 0, 1) is None}
    keys, extra = reference.keys() - prose, candidate.keys() - prose
    said = keys & ((wanted.input or {}).keys() | (given.input or {}).keys())  # a default on both sides says nothing
    agreeing = [
        name in extra and bool(same(wanted.name, name, reference[name], candidate[name], folder=folder))
        for name in said
    ]
    return Match(
        name_match=wanted.name == given.name,
        schema_error=schema_error(given, schemas.get(given.name)),
        key_recall=len(keys & extra) / len(keys) if keys else 1.0,
        key_precision=len(keys & extra) / len(extra) if extra else 1.0,
        value_score=sum(agreeing) / len(agreeing) if agreeing else 1.0,
    )


def _with_defaults(given: JsonObject | None, schema: JsonObject) -> JsonObject:
    properties = schema.get("properties")
    defaults = {
        name: inner["default"]
        for name, inner in (properties.items() if isinstance(properties, dict) else ())
        if isinstance(inner, dict) and "default" in inner
    }
    return defaults | (given or {})


def schema_error(call: Call, schema: JsonObject | None) -> str | None:
    """The class of the first error; None where the arguments are valid, unparsed, or the schema cannot be read."""
    if schema is None or call.input is None:
        return None
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import SchemaError
    from referencing.exceptions import Unresolvable

    try:
        error: Any = next(Draft202012Validator(schema).iter_errors(call.input), None)
    except (SchemaError, Unresolvable, TypeError, ValueError, AttributeError, RecursionError, re.error):
        return None
    return None if error is None else _ERRORS.get(str(error.validator), "other")


def summary(judgements: Sequence[Judgement]) -> dict[str, float | int | None]:
    """The headline figures; None where nothing was there to be judged."""
    both = sum(j.expected and j.triggered for j in judgements)
    wanted, triggered = sum(j.expected for j in judgements), sum(j.triggered for j in judgements)
    matches = [match for j in judgements for match in j.matches]
    calls = sum(j.candidate_calls for j in judgements)
    scores = [score for j in judgements if (score := j.fidelity) is not None]
    return {
        "n": len(judgements),
        "n_reference_calls": sum(j.reference_calls for j in judgements),
        "trigger_f1": 2 * both / (wanted + triggered) if wanted + triggered else None,
        "name_acc": sum(match.name_match for match in matches) / len(matches) if matches else None,
        "schema_valid_rate": 1 - sum(j.schema_errors for j in judgements) / calls if calls else None,
        "arg_value_score": sum(m.value_score for m in matches if m.name_match) / named
        if (named := sum(m.name_match for m in matches))
        else None,
        "exact_rate": sum(j.exact for j in judgements) / len(judgements) if judgements else None,
        "fidelity": sum(scores) / len(scores) if scores else None,
    }
