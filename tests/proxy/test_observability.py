"""What the proxy tells: metrics in both forms, the log at each level, the line on the terminal, the live feed."""

from __future__ import annotations

import asyncio
import json
import math
import os
import re
import stat
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families

from anyclaude_lab.errors import BackendFailed
from anyclaude_lab.proxy.live import PENDING, LiveFeed
from anyclaude_lab.proxy.log import Log
from anyclaude_lab.proxy.metrics import Metrics
from anyclaude_lab.wire.events import JsonObject
from tests.e2e.proxy_process import environment
from tests.proxy.conftest import ASK, RunningProxy, StartProxy
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.http import DEADLINE_S, running, wait_until_async
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.profiles import OpenRouter
from tests.standins.script import CleanEnd, Refusal, Thinking, ToolCall, Turn, reply
from tests.standins.search import SearchStandIn

DOCUMENT = Path(__file__).parents[2] / "docs" / "observability.md"
BILLING = {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=0a1b2;"}
READ = {
    "name": "Read",
    "description": "Reads a file.",
    "input_schema": {"type": "object", "properties": {"file_path": {"type": "string"}}},
}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
SESSION = {"x-claude-code-session-id": "11111111-1111-4111-8111-111111111111"}


def numbers(text: str) -> dict[str, float]:
    """Every series of the text form, summed over its labels; the buckets of histograms are left out."""
    found: dict[str, float] = {}
    for family in text_string_to_metric_families(text):
        for sample in family.samples:
            if not sample.name.endswith(("_bucket", "_created")):
                found[sample.name] = found.get(sample.name, 0.0) + sample.value
    return found


def json_numbers(facts: JsonObject) -> dict[str, float | None]:
    """The same of the JSON form."""
    found: dict[str, float | None] = {}
    for name, value in facts.items():
        if name.startswith("anyclaude_") and not name.endswith("_bucket"):
            found[name] = sum(s["value"] for s in value) if isinstance(value, list) else value
    return found


async def leave_early(proxy: RunningProxy, backend: OpenAIStandIn) -> None:
    """Hang up after the first sign of life, long before the backend says anything."""
    async with proxy.http.stream("POST", "/v1/messages", json=ASK) as answer:
        async for _ in answer.aiter_bytes():
            break
    await wait_until_async(lambda: backend.chats[-1].client_gone_s is not None, "the backend is let go")


async def test_every_series_is_fed_and_both_forms_say_the_same(start: StartProxy) -> None:
    proxy: RunningProxy

    def told(metric: str) -> bool:
        return sum(s.value for m in proxy.serving.metrics.registry.collect() for s in m.samples if s.name == metric) > 0

    turns: list[Turn] = [
        reply("cold", cached_tokens=0, prompt_tokens=100),
        reply("warm", cached_tokens=80, prompt_tokens=100, until=lambda: told("anyclaude_pings_total")),
        Refusal(500, "broken"),
        reply("for two", until=lambda: told("anyclaude_joins_total"), prompt_tokens=100, cached_tokens=100),
        reply("never", silence_s=2 * DEADLINE_S),
    ]
    async with SearchStandIn("searxng") as search, OpenAIStandIn(turns, profile="mlx-lm") as backend:
        env = {"SEARXNG_URL": search.url, "ANYCLAUDE_RETRY_GRACE": "100"}
        proxy = await start(backend.url, env=env, commit_s=0.05, ping_s=0.05)
        await proxy.ask(system=[BILLING, {"type": "text", "text": "Be brief."}])
        await proxy.ask()
        proxy.serving.commit_s = DEADLINE_S
        assert (await proxy.ask()).status_code == 500
        await proxy.ask(tools=[SEARCH])
        await asyncio.gather(*(proxy.http.post("/v1/messages", json=ASK, headers=SESSION) for _ in range(2)))
        proxy.serving.commit_s = 0.05
        await leave_early(proxy, backend)
        text = (await proxy.http.get("/v1/metrics?format=prometheus")).text
        facts = (await proxy.http.get("/v1/metrics")).json()
    seen = numbers(text)
    stay_zero = {"anyclaude_active_requests", "anyclaude_circuit_breaker_state"}
    stay_zero |= {"anyclaude_sse_grammar_violations_total", "anyclaude_trace_dropped_total"}
    stay_zero |= {"anyclaude_tool_loops_total"}
    assert {name for name, value in seen.items() if not value > 0} == stay_zero
    moving = {"anyclaude_process_cpu_seconds_total", "anyclaude_process_memory_bytes"}
    own = {n for n in seen if '"/v1/metrics"' in text and n.startswith(("anyclaude_requests", "anyclaude_request_dur"))}
    as_json = json_numbers(facts)
    assert set(as_json) == set(seen)
    for name in set(seen) - moving - own:
        assert as_json[name] == seen[name], name
    assert (seen["anyclaude_cache_hits_total"], seen["anyclaude_cache_misses_total"]) == (2, 1)
    assert seen["anyclaude_cache_hit_rate"] == pytest.approx(180 / 300)
    assert seen["anyclaude_prompt_tokens_total"] == 300  # what two clients share is computed once
    by_status = {
        s["labels"]["status"]: s["value"]
        for s in facts["anyclaude_requests_total"]
        if s["labels"]["endpoint"] == "/v1/messages"
    }
    assert by_status == {"200": 5, "500": 1, "499": 1}
    assert {s["labels"]["transform"] for s in facts["anyclaude_prompt_characters_removed_total"]} >= {"billing"}


async def test_what_nobody_knows_is_null_and_not_zero(start: StartProxy) -> None:
    async with OpenAIStandIn([reply("ok", output_tokens=3)], profile="ollama") as backend:  # reports no cached tokens
        proxy = await start(backend.url)
        unknown = ("anyclaude_cache_hit_rate", "anyclaude_circuit_breaker_latency_seconds")
        facts = (await proxy.http.get("/v1/metrics")).json()
        assert [facts[name] for name in unknown] == [None, None]
        seen = numbers((await proxy.http.get("/v1/metrics?format=prometheus")).text)
        assert all(math.isnan(seen[name]) for name in unknown)
        await proxy.ask()
        facts = (await proxy.http.get("/v1/metrics")).json()
        assert facts["anyclaude_cache_hit_rate"] is None
        assert facts["anyclaude_cache_misses_total"] == 0
        assert facts["anyclaude_output_tokens_total"] == 3


async def test_an_illegal_order_of_the_api_is_counted_and_noted(start: StartProxy) -> None:
    stream = b'event: content_block_stop\ndata: {"type":"content_block_stop","index":0}\n\n'
    refusal = Refusal(200, body=stream, headers=(("content-type", "text/event-stream"),))
    async with AnthropicStandIn([refusal]) as api:
        proxy = await start(env={"ANYCLAUDE_CLAUDE_URL": api.url}, flags={"mode": "claude", "record": False})
        answer = await proxy.http.post("/v1/messages", json=ASK, headers={"x-api-key": "sk-ant-x"})
        assert answer.content == stream
        origins = {
            s["labels"]["origin"]: s["value"] for s in await proxy.metric("anyclaude_sse_grammar_violations_total")
        }
        assert origins["relayed"] > 0 == origins["translated"]
        assert "illegal event order" in proxy.log_file.read_text()


def test_the_document_names_every_series() -> None:
    documented = set(re.findall(r"anyclaude_[a-z_]+", DOCUMENT.read_text()))
    real = {family.name + ("_total" if family.type == "counter" else "") for family in Metrics().registry.collect()}
    assert documented == real


# --- the log ---

PROMPT, ANSWER = "a prompt of " + "many words " * 500, "an answer nobody wanted"


async def logged(start: StartProxy, level: int, **env: str) -> list[str]:
    """The lines of the log after one good and one refused request at that level."""
    turns: list[Turn] = [reply(ANSWER, ToolCall("Read", {"file_path": "/a"})), Refusal(500, "broken inside")]
    async with OpenAIStandIn(turns) as backend:
        proxy = await start(backend.url, flags={"debug": level}, env=env)
        messages = [{"role": "user", "content": PROMPT}]
        headers = {"x-claude-code-session-id": "11111111-2222", "x-plain": "seen"}
        body = ASK | {"messages": messages, "tools": [READ], "system": [BILLING, {"type": "text", "text": "Be brief."}]}
        await proxy.http.post("/v1/messages", json=body, headers=headers)
        await proxy.http.post("/v1/messages", json=body, headers=headers)
        return list(proxy.log_file.read_text("utf-8").splitlines())


def holding(lines: list[str], word: str) -> list[str]:
    return [line for line in lines if word in line]


async def test_level_0_holds_failures_alone(start: StartProxy) -> None:
    lines = await logged(start, 0)
    assert len(lines) == 1
    assert "WARNING" in lines[0] and " 500 " in lines[0] and "broken inside" in lines[0]


async def test_level_1_adds_a_line_per_request_and_no_prompt(start: StartProxy) -> None:
    lines = await logged(start, 1)
    assert len(lines) == 2
    assert re.search(
        r"INFO [0-9a-f]{8} 200 tool_use claude-test -> local, \d+ \(\S+ cached\) \+ \d+ tokens, ", lines[0]
    )
    assert lines[0].endswith("tools Read")
    assert not holding(lines, "many words") and not holding(lines, ANSWER)


async def test_level_2_adds_bodies_cut_short(start: StartProxy) -> None:
    lines = await logged(start, 2)
    asked, sent = holding(lines, " asked "), holding(lines, " sent ")
    assert len(asked) == len(sent) == 2
    assert "x-anthropic-billing-header" in asked[0] and "x-anthropic-billing-header" not in sent[0]
    assert f"… ({len(PROMPT)} characters)" in asked[0] and PROMPT not in asked[0]
    assert not holding(lines, "x-plain") and not holding(lines, " event ")


async def test_level_3_holds_bodies_headers_and_events(start: StartProxy) -> None:
    lines = await logged(start, 3)
    assert PROMPT in holding(lines, " asked ")[0]
    assert "x-plain: seen" in holding(lines, " headers ")[0]
    events = [json.loads(line.split(" event ")[1]) for line in holding(lines, " event ")]
    assert "".join(e["delta"].get("text", "") for e in events if e["type"] == "content_block_delta") == ANSWER
    assert events[-1]["type"] == "message_stop"


async def test_level_3_holds_the_events_of_a_relayed_stream_too(start: StartProxy) -> None:
    async with AnthropicStandIn([reply(ANSWER)], gzip=True) as api:
        flags = {"mode": "claude", "record": False, "debug": 3}
        proxy = await start(env={"ANYCLAUDE_CLAUDE_URL": api.url}, flags=flags)
        await proxy.http.post("/v1/messages", json=ASK, headers={"x-api-key": "sk-ant-x"})
        text = proxy.log_file.read_text("utf-8")
    assert "message_start" in text and "message_stop" in text and PROMPT not in text


WRITTEN = "sk-ant-api03-in-a-file-5c1d9e0b7f"


async def test_a_key_that_a_model_writes_in_pieces_is_not_in_the_log(start: StartProxy) -> None:
    said = reply(Thinking(WRITTEN), f"It holds {WRITTEN}.", ToolCall("Read", {"file_path": WRITTEN}))
    async with AnthropicStandIn([said]) as api:
        proxy = await start(
            env={"ANYCLAUDE_CLAUDE_URL": api.url}, flags={"mode": "claude", "record": False, "debug": 3}
        )
        answer = await proxy.http.post("/v1/messages", json=ASK, headers={"x-api-key": "sk-ant-x"})
        lines = holding(proxy.log_file.read_text("utf-8").splitlines(), "content_block_delta")
    assert WRITTEN not in answer.text and '"sk-ant-ap"' in answer.text, "it came in pieces"
    told = [json.loads(line.split(" event ")[1])["delta"] for line in lines]
    texts = [text for delta in told for name, text in delta.items() if name in ("thinking", "text", "partial_json")]
    assert texts == ["***", "It holds ***.", '{"file_path": "***"}']


async def test_what_was_written_of_a_cut_answer_is_in_the_log(start: StartProxy) -> None:
    async with AnthropicStandIn([reply(ANSWER, fault=CleanEnd())]) as api:
        proxy = await start(
            env={"ANYCLAUDE_CLAUDE_URL": api.url}, flags={"mode": "claude", "record": False, "debug": 3}
        )
        await proxy.http.post("/v1/messages", json=ASK, headers={"x-api-key": "sk-ant-x"})
        (line,) = holding(proxy.log_file.read_text("utf-8").splitlines(), "content_block_delta")
    assert ANSWER.startswith(json.loads(line.split(" event ")[1])["delta"]["text"])


async def test_lines_of_json(start: StartProxy) -> None:
    lines = [json.loads(line) for line in await logged(start, 3, ANYCLAUDE_LOG_FORMAT="json")]
    assert {frozenset(line) for line in lines} == {frozenset({"time", "level", "message"})}
    assert {line["level"] for line in lines} == {"INFO", "WARNING"}
    assert any(PROMPT in line["message"] for line in lines)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no such modes")
async def test_the_log_is_its_owners_alone(start: StartProxy, tmp_path: Path) -> None:
    folder = tmp_path / "logs"
    folder.mkdir(mode=0o755)
    (folder / "proxy.log").write_text("older\n")
    (folder / "proxy.log").chmod(0o644)
    await logged(start, 1)
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert stat.S_IMODE((folder / "proxy.log").stat().st_mode) == 0o600


def test_files_stay_within_their_size_and_number(tmp_path: Path) -> None:
    logs = [Log(1, tmp_path, file_bytes=2000), Log(1, tmp_path, file_bytes=2000)]  # two proxies, one file
    for number in range(400):
        logs[number % 2].note(f"line {number} grüße")
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == ["proxy.log", "proxy.log.1", "proxy.log.2", "proxy.log.3", "proxy.log.4"]
    assert all(1000 < file.stat().st_size <= 2000 for file in files[1:])
    if os.name != "nt":
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    kept = "".join(file.read_text("utf-8") for file in reversed(files))
    found = [int(n) for n in re.findall(r"line (\d+) grüße", kept)]
    assert found == list(range(found[0], 400))  # nothing between the oldest kept line and the youngest is lost


def test_one_line_is_never_larger_than_a_file(tmp_path: Path) -> None:
    Log(1, tmp_path, file_bytes=4000, json_lines=True).note('"ü\\' * 100_000)
    file = tmp_path / "proxy.log"
    assert 0 < file.stat().st_size <= 4000
    assert json.loads(file.read_text())["message"].startswith('"ü')


def test_a_folder_that_cannot_be_written_stops_nothing(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    Log(3, tmp_path / "logs").note("lost")


def test_what_a_client_names_cannot_forge_a_line(tmp_path: Path) -> None:
    Log(1, tmp_path).note("model x\n2026-01-01 00:00:00.000 ERROR forged\x1b[2J\x9b2J")
    lines = (tmp_path / "proxy.log").read_text().splitlines()
    assert len(lines) == 1
    assert "\x1b" not in lines[0] and "\x9b" not in lines[0]


def test_a_defect_leaves_its_trace_in_the_log(tmp_path: Path) -> None:
    try:
        raise KeyError("sk-ant-" + "a" * 30)
    except KeyError as error:
        Log(0, tmp_path).crash("0123456789abcdef", error)
    lines = (tmp_path / "proxy.log").read_text().splitlines()
    assert any("raise KeyError" in line for line in lines)
    assert all(re.match(r"\S+ \S+ ERROR 01234567 ", line) for line in lines)
    assert "a" * 30 not in "".join(lines)


OURS, THEIRS, TOKEN, IN_URL = "or-key-9d8e7f6a5b4c", "client-key-1a2b3c4d", "login-5e6f7a8b9c0d", "url-pass-4f5e6d7c"


@pytest.mark.parametrize("level", [0, 1, 2, 3])
async def test_no_key_gets_into_log_or_feed_at_any_level(start: StartProxy, level: int) -> None:
    echo = f"bad key {OURS}; you sent Authorization: Bearer {TOKEN} to https://me:{IN_URL}@host/?api_key={IN_URL}"
    planted = (OURS, THEIRS, TOKEN, IN_URL)

    class Accepting(OpenRouter):
        key = OURS

    turns: list[Turn] = [Refusal(500, echo), reply(f"your key is {THEIRS}")]
    async with OpenAIStandIn(turns, profile=Accepting()) as backend, SearchStandIn("tavily", status=500):
        env = {
            "OPENROUTER_BASE_URL": f"{backend.url}/v1",
            "OPENROUTER_API_KEY": OURS,
            "TAVILY_API_KEY": "tvly-" + IN_URL,
        }
        proxy = await start(env=env, flags={"mode": "openrouter", "record": False, "debug": level})
        headers = {"x-api-key": THEIRS, "authorization": f"Bearer {TOKEN}", "cookie": f"session={TOKEN}"}
        body = ASK | {"messages": [{"role": "user", "content": f"my keys: {planted}, sk-ant-api03-{TOKEN}"}]}
        refused = await proxy.http.post("/v1/messages", json=body, headers=headers)
        assert refused.status_code == 500
        assert OURS not in refused.text
        await proxy.http.post(f"/v1/messages?api_key={IN_URL}", json=body, headers=headers)
        await proxy.http.post(f"/v1/nothing?api_key={IN_URL}", json=body, headers=headers)
        text = proxy.log_file.read_text()
        feed = json.dumps(list(proxy.serving.live.recent))
        pages = [(await proxy.http.get(path)).text for path in ("/v1/metrics", "/health/ready")]
    assert "you sent" in text and "you sent" in feed
    if level >= 2:
        assert "my keys" in text
    assert OURS not in text
    assert TOKEN not in text and THEIRS not in text
    assert f"{IN_URL}@" not in text and f"api_key={IN_URL}" not in text
    assert not [key for key in planted if key in feed or key in "".join(pages)]


# --- the terminal ---

FAKE_CLAUDE = """#!{python}
import os, urllib.request
body = {body!r}
request = urllib.request.Request(os.environ["ANTHROPIC_BASE_URL"] + "/v1/messages", body)
urllib.request.build_opener(urllib.request.ProxyHandler({{}})).open(request).read()
"""


@contextmanager
def terminal() -> Iterator[tuple[int, list[str]]]:
    """A pseudo terminal to write to, and, once left, what it showed."""
    if not hasattr(os, "openpty"):
        pytest.skip("this system has no pseudo terminals")
    master, slave = os.openpty()
    shown: list[str] = []
    try:
        yield slave, shown
    finally:
        os.close(slave)
        os.set_blocking(master, False)
        data = b""
        with suppress(OSError):
            while piece := os.read(master, 65536):
                data += piece
        os.close(master)
        shown.append(data.decode(errors="replace"))


def proxy_process(home: Path, url: str, stderr: int, *args: str, **env: str) -> subprocess.Popen[str]:
    line = [sys.executable, "-m", "anyclaude_lab.proxy", "--port", "0", *args]
    variables = environment(home, {"LOCAL_URL": f"{url}/v1", **env})
    return subprocess.Popen(line, cwd=home, env=variables, stdout=subprocess.PIPE, stderr=stderr, text=True)


@pytest.mark.parametrize("is_terminal", [True, False])
def test_a_line_per_request_only_where_stderr_is_a_terminal(tmp_path: Path, is_terminal: bool) -> None:
    with running(OpenAIStandIn([reply("ok"), Refusal(500, "broken inside")])) as backend:
        with terminal() as (slave, shown), (tmp_path / "stderr").open("wb") as file:
            process = proxy_process(tmp_path, backend.url, slave if is_terminal else file.fileno(), "--proxy-only")
            assert process.stdout is not None
            url = process.stdout.readline().split()[-1]
            for _ in range(2):
                httpx.post(f"{url}/v1/messages", json=ASK, trust_env=False, timeout=DEADLINE_S)
            process.terminate()
            process.communicate(timeout=DEADLINE_S)
        lines = shown[0].splitlines()
    if is_terminal:
        assert len(lines) == 2
        assert " 200 end_turn claude-test -> local" in lines[0]
        assert "broken inside" in lines[1]
    else:
        assert (tmp_path / "stderr").read_text() == "" and lines == []


def test_under_the_launcher_the_terminal_is_claudes(tmp_path: Path) -> None:
    claude = tmp_path / "claude"
    claude.write_text(FAKE_CLAUDE.format(python=sys.executable, body=json.dumps(ASK).encode()))
    claude.chmod(0o755)
    with running(OpenAIStandIn([reply("ok")])) as backend:
        with terminal() as (slave, shown):
            env = {"ANYCLAUDE_CLAUDE_PATH": str(claude), "ANYCLAUDE_DEBUG": "1", "LOCAL_CONTEXT_LENGTH": "100000"}
            process = proxy_process(tmp_path, backend.url, slave, **env)
            process.communicate(timeout=DEADLINE_S)
        assert len(backend.chats) == 1
    assert process.returncode == 0, shown
    assert shown == [""]
    assert " 200 end_turn " in (tmp_path / ".anyclaude" / "logs" / "proxy.log").read_text()


# --- the live feed ---


async def listen(proxy: RunningProxy, count: int) -> list[JsonObject]:
    """The next items of the feed, from its beginning."""
    items: list[JsonObject] = []
    async with proxy.http.stream("GET", "/v1/live") as feed:
        async for line in feed.aiter_lines():
            if line.startswith("data: "):
                items.append(json.loads(line.removeprefix("data: ")))
            if len(items) == count:
                break
    return items


async def test_the_feed_begins_with_what_is_over_and_goes_on_with_news(start: StartProxy) -> None:
    turns: list[Turn] = [reply("one"), Refusal(400, "no"), reply("two", silence_s=0.05)]
    async with OpenAIStandIn(turns, profile="mlx-lm") as backend:
        proxy = await start(backend.url)
        await proxy.ask()
        await proxy.ask()
        await proxy.http.post("/v1/messages", content=b"{")
        listening = asyncio.create_task(listen(proxy, 5))
        await wait_until_async(lambda: proxy.serving.live.listeners == 1, "somebody listens")
        await proxy.ask()
        items = await listening
        kinds = [item["kind"] for item in items]
        assert kinds[:3] == ["finished", "finished", "failed"]
        assert kinds[3] == "started" and kinds[4] in ("prefill", "finished")
        assert [items[0]["status"], items[1]["status"], items[2]["status"]] == [200, 400, 400]
        assert items[1]["error"]
        await wait_until_async(lambda: proxy.serving.live.listeners == 0, "the listener that left is forgotten")


async def test_a_listener_that_does_not_keep_up_loses_the_oldest_news() -> None:
    feed = LiveFeed()
    feed.publish("finished", number=-1)
    with feed.listening() as listener:
        assert [item["number"] for item in await listener.news(idle_s=5) or []] == [-1]
        for number in range(PENDING + 7):
            feed.publish("prefill", number=number)
        feed.close()
        news = await listener.news(idle_s=5) or []
        assert (news[0]["number"], news[-1]["number"], listener.lost) == (7, PENDING + 6, 7)
        assert await listener.news(idle_s=5) is None
    assert feed.listeners == 0


async def test_silence_is_filled_so_that_a_lost_listener_is_noticed() -> None:
    with LiveFeed().listening() as listener:
        assert await listener.news(idle_s=0.01) == []


async def test_a_defect_of_ours_is_one_sentence_and_a_trace(start: StartProxy, monkeypatch: pytest.MonkeyPatch) -> None:
    async with OpenAIStandIn([reply("fine")]) as backend:
        proxy = await start(backend.url)

        def broken(*_: Any) -> None:
            raise ZeroDivisionError("planted")

        with monkeypatch.context() as patch:
            patch.setattr("anyclaude_lab.proxy.messages.twin_key", broken)
            answer = await proxy.ask()
        assert answer.status_code == BackendFailed.status
        assert "ZeroDivisionError" in answer.json()["error"]["message"] and "planted" not in answer.text
        assert "planted" in proxy.log_file.read_text() and "Traceback" in proxy.log_file.read_text()
        assert (await proxy.ask()).status_code == 200
