"""What hypothesis draws: ways to cut bytes, and Messages-API replies of every shape."""

from __future__ import annotations

import itertools
from typing import Any

from hypothesis import strategies as st

JsonObject = dict[str, Any]

# Text as it travels: any Unicode but lone surrogates, which no JSON text can carry.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
names = st.text("abcXYZ_0-", min_size=1, max_size=12)
json_values: st.SearchStrategy[Any] = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63), 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
json_objects = st.dictionaries(texts, json_values, max_size=4)
counts = st.integers(0, 10**9)


def cuts(data: bytes, places: list[int]) -> list[bytes]:
    """`data` cut at the places (taken modulo its length)."""
    marks = sorted({place % (len(data) + 1) for place in places} | {0, len(data)})
    return [data[a:b] for a, b in itertools.pairwise(marks)]


cut_places = st.lists(st.integers(0, 100_000), max_size=12)

_citations = st.fixed_dictionaries({"type": st.just("char_location"), "cited_text": texts, "document_index": counts})
text_blocks = st.fixed_dictionaries(
    {"type": st.just("text"), "text": texts}, optional={"citations": st.none() | st.lists(_citations, max_size=2)}
)
thinking_blocks = st.fixed_dictionaries({"type": st.just("thinking"), "thinking": texts, "signature": texts})
redacted_blocks = st.fixed_dictionaries({"type": st.just("redacted_thinking"), "data": texts})
tool_blocks = st.fixed_dictionaries(
    {"type": st.sampled_from(["tool_use", "server_tool_use", "mcp_tool_use"]), "name": names, "input": json_objects},
    optional={"caller": st.just({"type": "direct"})},
)
search_blocks = st.fixed_dictionaries(
    {"type": st.just("web_search_tool_result"), "tool_use_id": names, "content": st.lists(json_objects, max_size=2)}
)
later_blocks = st.fixed_dictionaries({"type": st.just("a_later_block"), "payload": json_values})
known_blocks = st.one_of(text_blocks, thinking_blocks, redacted_blocks, tool_blocks, search_blocks)

usages = st.fixed_dictionaries(
    {"input_tokens": counts, "output_tokens": counts},
    optional={
        "cache_creation_input_tokens": counts,
        "cache_read_input_tokens": counts,
        "server_tool_use": st.none() | st.just({"web_search_requests": 1}),
    },
)


@st.composite
def messages(draw: st.DrawFn, blocks: st.SearchStrategy[JsonObject] = known_blocks) -> JsonObject:
    """A complete reply: legal stop reason, tool ids of its own."""
    content = [dict(block) for block in draw(st.lists(blocks, max_size=5))]
    for number, block in enumerate(content):
        if block["type"].endswith("tool_use"):
            block["id"] = f"toolu_{number}"
    called = any(block["type"] == "tool_use" for block in content)
    reasons = ["tool_use", "max_tokens"] if called else ["end_turn", "max_tokens", "stop_sequence", "refusal"]
    reason = draw(st.sampled_from(reasons))
    return {
        "id": "msg_" + draw(names),
        "type": "message",
        "role": "assistant",
        "model": draw(names),
        "content": content,
        "stop_reason": reason,
        "stop_sequence": draw(texts) if reason == "stop_sequence" else None,
        "usage": draw(usages),
    }
