"""The parts of the live page that say what answers, whether it is recorded, and how to point Claude Code at it."""

from __future__ import annotations

import shlex
from collections.abc import Iterator, Mapping, Sequence

from anyclaude_lab.views.figures import UNKNOWN, percent, plural, seconds
from anyclaude_lab.views.html import Html, joined, tag
from anyclaude_lab.wire.events import JsonObject

BREAKER = {
    "CLOSED": ("good", "closed", "requests go through"),
    "OPEN": ("bad", "open", "the backend is left alone"),
    "HALF_OPEN": ("warn", "half-open", "one request tries it"),
}

NODE_STATES = {"up": "good", "degraded": "warn", "draining": "warn", "down": "bad"}


def state(mode: str, name: str, ready: bool | None, breaker: JsonObject | None) -> Html:
    """Mode, backend, and whether it is ready; `ready` None: nobody knows yet."""
    if breaker is not None and breaker["state"] == "OPEN":
        shown = badge("bad", "not ready: breaker open")
    else:
        shown = {True: badge("good", "ready"), False: badge("bad", "not ready"), None: badge("", "asking")}[ready]
    return joined(
        shown,
        tag("span", mode, class_="mode"),
        tag("span", name, class_="quiet") if name != mode else None,
    )


def backend(status: JsonObject, breaker: JsonObject | None, problem: str | None) -> Html:
    """The backend by its `status()`, its breaker by its snapshot, its nodes."""
    told = {"Address": status.get("url"), "Server": status.get("server"), "Model": status.get("model")}
    told["Takes"] = _taken(status.get("capabilities") or {})
    told["Answers read again"] = _read_again(status.get("round_trips") or {})
    nodes = [_node(node) for node in status.get("nodes") or ()]
    return joined(
        tag("p", problem, class_="problem") if problem else None,
        tag(
            "dl", *(_pair(name, str(value)) for name, value in told.items() if value), _breaker(breaker), class_="pairs"
        ),
        tag("ul", *nodes, class_="nodes", aria_label="Nodes of the cluster") if nodes else None,
    )


def recording(facts: JsonObject) -> Html:
    """The switch. `facts`: `on`, `folder`, `can_switch`, `dropped` (exchanges that were not kept)."""
    on = bool(facts["on"])
    where = f"into {facts['folder']}" if on else "sessions are not kept"
    dropped = facts["dropped"]
    return joined(
        tag(
            "button",
            tag("span", class_="knob", aria_hidden="true"),
            "Recording",
            type="button",
            role="switch",
            aria_checked="true" if on else "false",
            disabled=not facts["can_switch"],
            data_record="off" if on else "on",
        ),
        tag("span", where, class_="quiet where"),
        tag("span", f"{plural(dropped, 'exchange')} not kept", class_="problem") if dropped else None,
    )


def setup(line: str, wanted: Mapping[str, str], unwanted: Sequence[str]) -> Html:
    """How to start Claude Code behind this proxy: one line, and everything that the launcher would set."""
    exports = [f"export {name}={shlex.quote(value)}" for name, value in sorted(wanted.items())]
    exports += [f"unset {' '.join(unwanted)}"] if unwanted else []
    return joined(
        _copied("line", line, "Copy the line"),
        tag(
            "details",
            tag("summary", "Everything the launcher sets"),
            _copied("exports", "\n".join(exports), "Copy all of it"),
        ),
    )


def badge(kind: str, words: str) -> Html:
    """A word with a colour that says the same."""
    return tag("span", words, class_=f"badge {kind}")


def _copied(name: str, text: str, label: str) -> Html:
    return tag(
        "div",
        tag("pre", text, id=name, tabindex=0, role="region", aria_label=label.replace("Copy", "Text:")),
        tag("button", "Copy", type="button", data_copy=name, aria_label=label),
        class_="copied",
    )


def _taken(found: JsonObject) -> str:
    """What the server was asked, and whether it took it."""
    words = {"tools": "tools", "parallel_calls": "several calls in a turn", "mid_system": "system messages anywhere"}
    said = {name: found.get(name) for name in words}
    return ", ".join(f"{'' if said[name] else 'no '}{words[name]}" for name in words if said[name] is not None)


def _read_again(trips: JsonObject) -> str:
    """How many answers came back in a later prompt as other tokens than were written, and what that cost."""
    if not trips.get("turns"):
        return ""
    told = f"{trips['diverged']:,} of {trips['turns']:,} as other tokens than were written"
    return told + f", {plural(trips['tokens_lost'], 'token')} computed anew" * bool(trips["diverged"])


def _breaker(snapshot: JsonObject | None) -> Html:
    if snapshot is None:
        return _pair("Breaker", "off")
    kind, name, meaning = BREAKER[str(snapshot["state"])]
    wait_s = snapshot.get("nextAttemptSeconds")
    meaning += f"; next attempt within {seconds(wait_s)}" if wait_s is not None else ""
    answered, failed = snapshot["successesTotal"], snapshot["failuresTotal"]
    latency_ms = snapshot.get("p50LatencyMs")
    counted = f"{failed:,} of {plural(answered + failed, 'request')}" if answered + failed else UNKNOWN
    return joined(
        _pair("Breaker", badge(kind, name), f" {meaning}"),
        _pair("Failed", counted),
        _pair("To headers", f"{seconds(latency_ms / 1000)} (median)") if latency_ms is not None else None,
    )


def _node(node: JsonObject) -> Html:
    state = str(node.get("state", "down"))
    last, choice = node.get("last_error"), node.get("last_choice")
    return tag(
        "li",
        badge(NODE_STATES.get(state, "bad"), state),
        tag("b", str(node.get("name"))),
        tag("span", ", ".join(_node_figures(node)), class_="quiet"),
        tag("p", f"Asked last because: {choice}", class_="quiet") if choice else None,
        tag("p", str(last), class_="problem") if last and state != "up" else None,
    )


def _node_figures(node: JsonObject) -> Iterator[str]:
    """Queue, requests, latency, cache: what is known of them."""
    errors, requests, queued = node.get("errors", 0), node.get("requests", 0), node.get("queued_tokens")
    yield f"{node.get('in_flight', 0)} running"
    if queued:
        yield f"{plural(queued, 'token')} to compute"
    yield plural(requests, "request")
    if errors:
        yield f"{percent(errors, requests)} failed"
    if (latency_s := node.get("latency_s")) is not None:
        yield f"first token after {seconds(latency_s)}"
    if (cached := node.get("cached_share")) is not None:
        yield f"{percent(cached, 1)} of prompts from its cache"


def _pair(name: str, *value: str | Html) -> Html:
    return tag("div", tag("dt", name), tag("dd", *value))
