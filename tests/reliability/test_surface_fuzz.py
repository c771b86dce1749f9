"""Bodies of any shape: an answer of the API's kind, never a failure of ours. Paths and methods: test_openapi.py."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.reliability.test_terminal import Stack
from tests.standins.faulty import Play

FINE = Play(
    (
        b'data: {"choices": [{"index": 0, "delta": {"content": "fine"}, "finish_reason": "stop"}]}\n\n',
        b"data: [DONE]\n\n",
    )
)
EXAMPLES = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
blocks = st.fixed_dictionaries(
    {"type": st.sampled_from(("text", "tool_use", "tool_result", "image", "document", "thinking", "x"))},
    optional=dict.fromkeys(
        ("text", "id", "tool_use_id", "name", "input", "content", "source", "cache_control"), values
    ),
)
messages = st.lists(
    st.fixed_dictionaries(
        {
            "role": st.sampled_from(("user", "assistant", "system")),
            "content": st.text(max_size=9) | st.lists(blocks, max_size=3),
        }
    )
    | values,
    max_size=4,
)
FIELDS = (
    "system",
    "tools",
    "tool_choice",
    "thinking",
    "temperature",
    "stop_sequences",
    "metadata",
    "output_config",
    "top_p",
)
bodies = st.fixed_dictionaries(
    {"model": st.just("m") | values, "max_tokens": st.just(10) | values, "messages": messages},
    optional=dict.fromkeys(FIELDS, values) | {"stream": st.booleans()},
)


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    built = Stack(tmp_path_factory.mktemp("surface"))
    built.backend.play = FINE
    yield built
    built.close()


def answered(stack: Stack, method: str, path: str, **options: Any) -> tuple[int, bytes]:
    async def one() -> tuple[int, bytes]:
        async with asyncio.timeout(20):
            answer = await stack.http.request(method, path, **options)
        return answer.status_code, answer.content

    status, body = stack.run(one)
    return int(status), bytes(body)


@given(body=bodies)
@example(body={"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": [{"type": "image"}]}]})
@example(body={"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": [{"type": "tool_result"}]}]})
@example(
    body={"model": "m", "max_tokens": 10, "messages": [{"role": "user", "content": [{"type": "x", "content": False}]}]}
)
@example(
    body={
        "model": "m",
        "max_tokens": 10,
        "messages": [
            {"role": "user", "content": "x"},
            {"role": "system", "content": [{"type": "image", "text": None}]},
        ],
    }
)
@settings(EXAMPLES, max_examples=200)
@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_any_body_is_an_answer_or_the_clients_mistake(stack: Stack, path: str, body: dict[str, Any]) -> None:
    status, got = answered(stack, "POST", path, json=body)
    assert status in (200, 400, 404, 413), got
    if status != 200:
        assert json.loads(got)["type"] == "error"
