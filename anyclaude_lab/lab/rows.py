"""One trace as rows of tables. Unknown is None."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson

from anyclaude_lab.lab.answers import Answer, read_answer, timed_events
from anyclaude_lab.trace.read import Recorded, Trace
from anyclaude_lab.trace.segments import SECTIONS, ids_of
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.request import as_blocks

Row = dict[str, Any]
ROLES = {"main": "main", "compaction": "main", "subagent": "subagent", "workflow": "subagent", "auxiliary": "helper"}


class TraceRows:
    """The rows of one trace's `turns`, `tool_calls`, `tools` and `sessions`, made in one pass."""

    def __init__(self, trace: Trace) -> None:
        self.turns: list[Row] = []
        self.calls: list[Row] = []
        self.tools: dict[tuple[str, str], Row] = {}  # (session, id of the definition)
        self._trace = trace
        self._depth: dict[str, int] = {}
        self._ended_s: dict[str, float] = {}
        self._parsed: dict[str, Any] = {}
        for exchange in trace.in_order():
            self._take(exchange)

    def sessions(self) -> list[Row]:
        """A row for each session in the file."""
        by_session: dict[str, list[Row]] = {}
        for turn in self.turns:
            by_session.setdefault(turn["session"], []).append(turn)
        return [_session_row(self._trace, name, turns) for name, turns in by_session.items()]

    def _take(self, exchange: Recorded) -> None:
        answer = read_answer(exchange.pieces)
        tools = ids_of(exchange.segments, "tools")
        turn = self._turn(exchange, answer, len(tools))
        self.turns.append(turn)
        named = set()
        for name in tools:
            tool = self._tool(exchange.session, name)
            tool["n_turns"] += 1
            named.add(tool["tool"])
        for number, call in enumerate(answer.calls):
            told = {"call": number, "tool": call.name, "tool_use_id": call.id, "arguments": call.arguments}
            judged = {"parsed": call.input is not None, "offered": call.name in named}
            times = {"started_s": call.started_s, "complete_s": call.complete_s}
            self.calls.append(
                {key: turn[key] for key in ("session", "lane", "turn", "request_id")} | told | judged | times
            )

    def _turn(self, exchange: Recorded, answer: Answer, n_tools: int) -> Row:
        data, lane = exchange.data, exchange.lane
        messages, head = ids_of(exchange.segments, "messages"), exchange.head
        usage, response = data.get("usage") or {}, data["response"]
        prompt, cached, output = (usage.get(k) for k in ("prompt_tokens", "cached_tokens", "output_tokens"))
        depth = self._depth[lane] = self._depth.get(lane, -1) + 1
        offsets = [offset_s for offset_s, _ in response["pieces"]]
        gap_s = data["started_s"] - self._ended_s[lane] if lane in self._ended_s else None
        if offsets and offsets[-1] is not None:
            self._ended_s[lane] = data["started_s"] + offsets[-1]
        return {
            "session": exchange.session,
            "lane": lane,
            "role": _role(exchange, n_tools > 0),
            "turn": depth,
            "request_id": data.get("request_id"),
            "at": data.get("at"),
            "started_s": data["started_s"],
            "gap_s": gap_s,
            "request_class": data.get("request_class"),
            "trigger": self._trigger(exchange, messages),
            "model": data.get("model") or (str(head["model"]) if "model" in head else None),
            "backend": data.get("backend"),
            "status": response["status"],
            "ending": data.get("ending"),
            "stop_reason": data.get("stop_reason") or answer.stop_reason,
            "error": data.get("error") or answer.error,
            "n_messages": len(messages),
            "n_tools": n_tools,
            "n_tool_calls": len(answer.calls),
            "max_tokens": limit if isinstance(limit := head.get("max_tokens"), int) else None,
            "prompt_tokens": prompt,
            "prompt_tokens_cached": cached,
            "prompt_tokens_uncached": None if prompt is None or cached is None else prompt - cached,
            "output_tokens": output,
            "tokenizer": "reported" if prompt is not None else None,
            "ttfb_s": offsets[0] if offsets else None,
            "ttft_s": answer.ttft_s,
            "ttft_visible_s": answer.ttft_visible_s,
            "tt_tool_s": answer.tt_tool_s,
            "tt_tool_complete_s": answer.tt_tool_complete_s,
            "itl_mean_s": itl_mean_s(answer.ttft_s, answer.last_s, output),
            "e2e_s": answer.last_s,
            "stream_close_s": offsets[-1] if offsets else None,
            "request_exact": data["request"]["exact"],
            "response_exact": response["exact"],
            "file": self._trace.name,
            "line": exchange.line,
        }

    def _trigger(self, exchange: Recorded, messages: list[str]) -> str | None:
        """What this turn answers: `tool_result` where the last message holds one, else `user`."""
        if not messages:
            return None
        last = self._json(messages[-1])
        blocks = as_blocks(last.get("content")) if isinstance(last, dict) else []
        results = any(isinstance(block, dict) and block.get("type") == "tool_result" for block in blocks)
        return "tool_result" if results else "user"

    def _tool(self, session: str, name: str) -> Row:
        row = self.tools.get((session, name))
        if row is None:
            found = self._json(name)
            tool: JsonObject = found if isinstance(found, dict) else {}
            description, schema = tool.get("description"), tool.get("input_schema")
            row = self.tools[session, name] = {
                "session": session,
                "tool": str(tool.get("name")),
                "definition": name,
                "deferred": bool(tool.get("defer_loading")),
                "mcp": str(tool.get("name")).startswith("mcp__"),
                "description_chars": len(description) if isinstance(description, str) else None,
                "schema_chars": None if schema is None else len(orjson.dumps(schema)),
                "n_turns": 0,
            }
        return row

    def _json(self, name: str) -> Any:
        if name not in self._parsed:
            try:
                self._parsed[name] = orjson.loads(self._trace.blobs[name])
            except (KeyError, orjson.JSONDecodeError):
                self._parsed[name] = None
        return self._parsed[name]


def itl_mean_s(first_s: float | None, last_s: float | None, output_tokens: int | None) -> float | None:
    """(last - first content) / (output tokens - 1): aiperf's ITL, vLLM's TPOT.

    None below two tokens, and where all of the content came at once, as a tool call does: that says nothing of tokens.
    """
    if output_tokens is None or output_tokens < 2 or first_s is None or last_s is None or last_s <= first_s:
        return None
    return (last_s - first_s) / (output_tokens - 1)


def block_rows(trace: Trace) -> Iterator[Row]:
    """A row for each distinct system block, tool definition and message of each session in the file."""
    seen: dict[tuple[str, str, str], Row] = {}
    for number, exchange in enumerate(trace.in_order()):
        for section in SECTIONS:
            for name in ids_of(exchange.segments, section):
                row = seen.get((exchange.session, section, name))
                if row is None:
                    text = trace.blobs.get(name, "")
                    row = seen[exchange.session, section, name] = {
                        "session": exchange.session, "section": section, "blob": name, "chars": len(text),
                        **_block_facts(text), "first_request": number, "n_requests": 0,
                    }  # fmt: skip
                row["n_requests"] += 1
    yield from seen.values()


def event_rows(trace: Trace) -> Iterator[Row]:
    """A row for each event of each answer."""
    for exchange in trace.in_order():
        for number, (offset_s, event) in enumerate(timed_events(exchange.pieces)):
            delta = event.get("delta")
            yield {
                "session": exchange.session,
                "lane": exchange.lane,
                "request_id": exchange.data.get("request_id"),
                "event": number,
                "offset_s": offset_s,
                "type": event.get("type"),
                "delta_type": delta.get("type") if isinstance(delta, dict) else None,
                "index": event.get("index"),
                "chars": len(str(next(iter(v for k, v in delta.items() if k != "type"), "")))
                if isinstance(delta, dict)
                else None,
            }


def _block_facts(text: str) -> Row:
    try:
        found = orjson.loads(text)
    except orjson.JSONDecodeError:
        found = None
    block: JsonObject = found if isinstance(found, dict) else {}
    kinds = [b.get("type") for b in as_blocks(block.get("content")) if isinstance(b, dict)]
    return {"message_role": block.get("role"), "name": block.get("name"), "kinds": ",".join(map(str, kinds)) or None}


def _role(exchange: Recorded, has_tools: bool) -> str:
    named = ROLES.get(str(exchange.data.get("request_class")))
    if named is not None:
        return named
    if exchange.data.get("agent"):
        return "subagent"
    return "main" if has_tools else "helper"


def _session_row(trace: Trace, session: str, turns: list[Row]) -> Row:
    ends = [turn["started_s"] + (turn["stream_close_s"] or 0.0) for turn in turns]
    return {
        "session": session,
        "file": trace.name,
        "source": trace.origin.get("source"),
        "redaction": trace.origin.get("redaction"),
        "at": turns[0]["at"],
        "duration_s": max(ends) - turns[0]["started_s"],
        "n_turns": len(turns),
        "n_lanes": len({turn["lane"] for turn in turns}),
        "n_subagents": len({turn["lane"] for turn in turns if turn["role"] == "subagent"}),
        "n_tool_calls": sum(turn["n_tool_calls"] for turn in turns),
        "n_errors": sum(turn["status"] is not None and turn["status"] >= 400 for turn in turns),
        "prompt_tokens": _total(turns, "prompt_tokens"),
        "prompt_tokens_cached": _total(turns, "prompt_tokens_cached"),
        "output_tokens": _total(turns, "output_tokens"),
        "models": ", ".join(sorted({str(turn["model"]) for turn in turns if turn["model"]})),
        "n_left_out": len(trace.complaints),
    }


def _total(turns: list[Row], column: str) -> int | None:
    """The sum of what is known; None where nothing is."""
    known = [turn[column] for turn in turns if turn[column] is not None]
    return sum(known) if known else None
