"""The engine over HTTP: what any client of chat completions may ask, and what our proxy reads."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientResponse, ClientSession, web

from anyclaude_lab.engine.serve.engine import Engine, Options
from anyclaude_lab.engine.serve.http import Api
from anyclaude_lab.engine.serve.job import Job, Progress, Told
from anyclaude_lab.engine.serve.scheduler import Scheduler
from tests.processes import DEADLINE_S, until

pytestmark = pytest.mark.engine

READ = {
    "type": "function",
    "function": {"name": "Read", "parameters": {"type": "object", "properties": {"path": {"type": "string"}}}},
}
USER = [{"role": "user", "content": "Hello there, read this."}]
LONG = [{"role": "system", "content": "x" * 3000}, *USER]


class Client:
    def __init__(self, url: str, session: ClientSession, engine: Engine) -> None:
        self.url, self.session, self.engine = url, session, engine

    def post(self, path: str = "/v1/chat/completions", headers: dict[str, str] | None = None, **body: Any) -> Any:
        return self.session.post(self.url + path, json=body, headers=headers)

    async def whole(self, messages: list[dict[str, Any]] = USER, **body: Any) -> Any:
        async with self.post(messages=messages, **({"max_tokens": 8} | body)) as response:
            assert response.status == 200, await response.text()
            return await response.json()

    async def refused(self, **body: Any) -> tuple[int, str]:
        async with self.post(**body) as response:
            return response.status, (await response.json())["error"]["message"]

    async def get(self, path: str) -> Any:
        async with self.session.get(self.url + path) as response:
            return await response.json()


@asynccontextmanager
async def serving(folder: Path, **options: Any) -> AsyncIterator[Client]:
    engine = Engine(Options(str(folder), **({"memory_bytes": 10**9} | options)), lambda error: None)
    runner = web.AppRunner(Api(engine).application(), handler_cancellation=True)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    engine.start()
    try:
        async with ClientSession() as session:
            client = Client(f"http://127.0.0.1:{port}", session, engine)
            async with asyncio.timeout(DEADLINE_S):
                while (await client.get("/health"))["status"] != "ok":
                    await asyncio.sleep(0.01)
            yield client
    finally:
        await asyncio.to_thread(engine.stop)
        await runner.cleanup()


@pytest.fixture
async def client(model_folders: dict[str, Path]) -> AsyncIterator[Client]:
    async with serving(model_folders["plain"]) as client:
        yield client


async def events(response: ClientResponse) -> tuple[list[dict[str, Any]], list[str], bool]:
    """Chunks, comments, and whether the stream said that it is done."""
    chunks, comments, done = [], [], False
    async for raw in response.content:
        line = raw.decode().rstrip("\n")
        if line.startswith(":"):
            comments.append(line)
        elif line == "data: [DONE]":
            done = True
        elif line:
            chunks.append(json.loads(line.removeprefix("data: ")))
    return chunks, comments, done


async def test_a_stream_tells_progress_text_end_and_usage(client: Client) -> None:
    body: dict[str, Any] = {"messages": LONG, "max_tokens": 8, "stream": True}
    body["stream_options"] = {"include_usage": True}
    async with client.post(**body) as response:
        assert response.content_type == "text/event-stream"
        chunks, comments, done = await events(response)
    assert done
    done_tokens = [int(comment.split()[2].partition("/")[0]) for comment in comments]
    total = chunks[-1]["usage"]["prompt_tokens"]
    assert done_tokens == sorted(done_tokens)
    assert all(comment.endswith(f"/{total}") for comment in comments)
    assert len(comments) >= 3
    assert chunks[-1]["usage"]["completion_tokens"] == 8
    assert chunks[-1]["usage"]["prompt_tokens_details"] == {"cached_tokens": 0}
    assert chunks[-2]["choices"][0]["finish_reason"] == "length"
    text = "".join(chunk["choices"][0]["delta"].get("content", "") for chunk in chunks[:-1])
    assert text == (await client.whole(LONG))["choices"][0]["message"]["content"]


async def test_the_count_is_the_prompt_of_the_usage(client: Client) -> None:
    async with client.post("/tokenize", messages=LONG, tools=[READ]) as response:
        counted = await response.json()
    answer = await client.whole(LONG, tools=[READ])
    assert counted == {"count": answer["usage"]["prompt_tokens"]}


async def test_a_follow_up_turn_is_warm_and_seen_in_the_metrics(client: Client) -> None:
    lane = {"x-anyclaude-lane": "session/main"}
    async with client.post(headers=lane, messages=LONG, max_tokens=4, tools=[READ]) as response:
        first = await response.json()
    turn = {"role": "assistant", "content": first["choices"][0]["message"]["content"]}
    async with client.post(headers=lane, messages=[*LONG, turn, *USER], max_tokens=4, tools=[READ]) as response:
        second = await response.json()
    cached = second["usage"]["prompt_tokens_details"]["cached_tokens"]
    assert cached >= first["usage"]["prompt_tokens"]
    metrics = await client.get("/metrics")
    told = metrics["requests"]["lanes"]["session/main"]
    assert (told["requests"], told["cached_tokens"], told["recomputed_tokens"]) == (2, cached, 0)
    assert metrics["memory"]["used_bytes"] <= metrics["memory"]["budget_bytes"]
    assert metrics["prefill"]["step_limit_s"] == 0.25


async def test_what_a_lane_has_lost_is_seen_in_the_metrics(model_folders: dict[str, Path]) -> None:
    async with serving(model_folders["plain"], memory_bytes=0) as client:
        for _ in range(2):
            async with client.post(headers={"x-anyclaude-lane": "a"}, messages=LONG, max_tokens=1) as response:
                tokens = (await response.json())["usage"]["prompt_tokens"]
        lanes = (await client.get("/metrics"))["requests"]["lanes"]
    assert lanes["a"]["recomputed_tokens"] == tokens - 1


@pytest.mark.parametrize(
    ("choice", "begins"),
    [
        ("required", '<tool_call>\n{"name": "'),
        ({"type": "function", "function": {"name": "Read"}}, '<tool_call>\n{"name": "Read", "arguments":'),
    ],
)
async def test_a_forced_call_begins_as_one(client: Client, choice: object, begins: str) -> None:
    answer = await client.whole(tools=[READ], tool_choice=choice)
    assert answer["choices"][0]["message"]["content"].startswith(begins)  # noise from here: the weights are random


async def test_a_client_that_goes_away_ends_its_request_and_its_retry_goes_on(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    messages = [{"role": "system", "content": "z" * 5000}, *USER]
    submit = Scheduler.submit

    def held(scheduler: Scheduler, job: Job) -> None:
        """It gets no further than its first step before the client is gone."""
        tell = job.tell

        def telling(told: Told) -> None:
            tell(told)
            if isinstance(told, Progress) and told.done:
                until(lambda: job.cancelled, "its client is gone")

        job.tell = telling
        submit(scheduler, job)

    with monkeypatch.context() as patched:
        patched.setattr(Scheduler, "submit", held)
        async with client.post(messages=messages, stream=True, max_tokens=4, tools=[READ]) as response:
            async for line in response.content:
                if line.startswith(b": keepalive") and not line.startswith(b": keepalive 0/"):
                    break
            response.close()
        async with asyncio.timeout(DEADLINE_S):
            while (await client.get("/metrics"))["requests"]["cancelled"] != 1:
                await asyncio.sleep(0.01)
    metrics = await client.get("/metrics")
    assert metrics["requests"]["output_tokens"] == 0
    answer = await client.whole(messages, tools=[READ])
    assert answer["usage"]["prompt_tokens_details"]["cached_tokens"] > 0


async def test_the_window_bounds_prompt_and_answer(model_folders: dict[str, Path]) -> None:
    async with serving(model_folders["plain"], window_tokens=50) as client:
        answer = await client.whole(max_tokens=5000)
        assert answer["usage"]["total_tokens"] == 50
        assert await client.refused(messages=LONG) == (400, "prompt is too long: 3052 tokens > 50 maximum")
        models = await client.get("/v1/models")
        assert models["data"][0]["context_length"] == 50


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ({}, "messages must be a list"),
        ({"messages": []}, "messages must be a list"),
        ({"messages": [{"role": "king", "content": ""}]}, "messages[0] must be an object with a role"),
        ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content must be text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "reads text only"),
        ({"messages": USER, "tools": ["Read"]}, "tools must be a list"),
        ({"messages": USER, "temperature": "hot"}, "temperature is 'hot'; allowed is from 0 to 5"),
        ({"messages": USER, "top_p": 2}, "top_p is 2; allowed is from 0 to 1"),
        ({"messages": USER, "max_tokens": 0}, "max_tokens is 0; allowed is from 1 on"),
        ({"messages": USER, "stop": 5}, "stop must be a text"),
        ({"messages": USER, "n": 2}, "one answer"),
        ({"messages": USER, "tools": [READ], "tool_choice": {"type": "function"}}, "none of the tools: Read"),
        ({"messages": [{"role": "function", "content": ""}]}, "template refuses this conversation: the role function"),
    ],
)
async def test_a_mistake_is_answered_with_a_sentence(client: Client, body: dict[str, Any], said: str) -> None:
    status, message = await client.refused(**body)
    assert status == 400
    assert said in message
    assert "\n" not in message


async def test_what_is_no_json_and_what_is_not_there(client: Client) -> None:
    async with client.session.post(f"{client.url}/v1/chat/completions", data=b"{") as response:
        assert response.status == 400
        assert "no JSON" in (await response.json())["error"]["message"]
    async with client.session.get(f"{client.url}/nowhere") as response:
        assert response.status == 404
        assert (await response.json())["error"]["message"] == "Not Found"


async def test_an_answer_is_not_left_hanging_when_the_engine_ends(model_folders: dict[str, Path]) -> None:
    async with serving(model_folders["plain"]) as client:
        async with client.post(messages=LONG, max_tokens=30_000, temperature=1.0, stream=True) as response:
            await response.content.readline()
            await asyncio.to_thread(client.engine.stop)
            chunks, _, done = await events(response)
        assert not done
        assert "ending" in chunks[-1]["error"]["message"]


async def test_requests_while_it_loads_are_told_to_come_again(model_folders: dict[str, Path]) -> None:
    engine = Engine(Options(str(model_folders["plain"]), 1), lambda error: None)  # not started: it stays loading
    runner = web.AppRunner(Api(engine).application())
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    async with ClientSession() as session:
        client = Client(f"http://127.0.0.1:{runner.addresses[0][1]}", session, engine)
        assert await client.get("/health") == {"status": "loading", "server": "anyclaude-engine"}
        async with client.post(messages=USER) as response:
            assert response.status == 503
            assert response.headers["retry-after"] == "2"
    await runner.cleanup()
