"""The live page in a real browser: it shows what happens as it happens, without an error, and believes no name."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from anyclaude_lab.proxy.live import HISTORY
from anyclaude_lab.wire.events import JsonObject
from tests.browser.chromium import chromium, opened
from tests.proxy.conftest import RunningProxy, StartProxy
from tests.standins.http import kept_port, wait_until_async
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import Refusal, Stall, ToolCall, Turn, reply
from tests.standins.search import SearchStandIn

HOSTILE = "<img src=x onerror=\"document.title='owned'\"><script>document.title='owned'</script>"
READ = {
    "name": "Read",
    "description": "Reads a file.",
    "input_schema": {"type": "object", "properties": {"file_path": {"type": "string"}}},
}
SEARCH = {"type": "web_search_20250305", "name": "web_search", "max_uses": 8}
BILLING = {"type": "text", "text": "x-anthropic-billing-header: cc_version=1; cch=0a1b2;"}
SESSION = {"x-claude-code-session-id": "7f3a91c0-1111"}
ROWS = "document.querySelectorAll('#requests tbody tr').length"


def facts(number: int, **more: object) -> JsonObject:
    """A finished request as the feed tells it."""
    return {
        "id": f"{number:024x}",
        "at": 1_700_000_000 + number,
        "lane": f"lane-{number % 7}/x",
        "model": "claude-test",
        "status": 200,
        "ending": "complete",
        "stop_reason": "end_turn",
        "tools": [],
        "prompt_tokens": 18_000 + number,
        "cached_tokens": 17_000 + number,
        "output_tokens": 61,
        "queue_s": 0.1,
        "ttft_s": 0.5,
        "total_s": 1.5,
        **more,
    }


# --- in the browser ---


@pytest.mark.browser
async def test_the_page_shows_what_happened_and_believes_no_name(start: StartProxy) -> None:
    turns: list[Turn] = [
        reply("first", prompt_tokens=18_204, cached_tokens=0, output_tokens=12),
        reply(ToolCall("Read", {"file_path": "/a"}), prompt_tokens=18_404, cached_tokens=1_024, output_tokens=61),
        Refusal(400, "the backend said no"),
        reply("hostile", prompt_tokens=10, cached_tokens=0),
    ]
    async with SearchStandIn("searxng") as search, OpenAIStandIn(turns, profile="mlx-lm") as backend:
        proxy = await start(backend.url, env={"SEARXNG_URL": search.url})
        await proxy.http.post("/v1/messages", json=body(system=[BILLING]), headers=SESSION)
        await proxy.http.post("/v1/messages", json=body(tools=[READ]), headers=SESSION)
        await proxy.ask()
        await proxy.http.post("/v1/messages", json=body(), headers={"x-claude-code-agent-type": HOSTILE})
        await proxy.ask(tools=[SEARCH])
        async with chromium() as browser:
            shown = await opened(browser, proxy.url)
            await shown.until(f"{ROWS} === 5 && document.getElementById('removed').innerText.includes('billing')")
            rows = await shown.texts("#requests tbody tr")
            lanes = await shown.texts("#lanes tr")
            injected = await shown.page.evaluate(
                "document.images.length + document.querySelectorAll('body script').length"
            )
            assert (await shown.page.title(), injected) == ("anyclaude", 0)
            assert (shown.errors, shown.console) == ([], [])
            assert "web search" in rows[0]  # the youngest first, and none twice
            assert HOSTILE in rows[1]
            assert "the backend said no" in rows[2] and "the backend said no" in (await shown.texts("#errors li"))[0]
            assert all(word in rows[3] for word in ("tool_use", "Read", "18,404", "6 %", "61"))
            broken = next(lane for lane in lanes if "7f3a91c0" in lane)
            assert "tools changed (Read added); kept 1,024 of 18,204 tokens, 17,180 computed anew" in broken
            await shown.until("document.getElementById('state').innerText.startsWith('ready')")
            assert proxy.url in (await shown.texts("#setup"))[0]


def body(**changes: object) -> JsonObject:
    return {
        "model": "claude-test",
        "max_tokens": 1000,
        "stream": True,
        "messages": [{"role": "user", "content": "Hello"}],
        **changes,
    }


@pytest.mark.browser
async def test_a_request_is_seen_on_its_way_and_connections_may_break(start: StartProxy) -> None:
    broken, answering = asyncio.Event(), asyncio.Event()
    turn = reply("a long answer " * 9, until=broken.is_set, fault=Stall("text", until=answering.is_set))
    async with OpenAIStandIn([turn], profile="mlx-lm") as backend:
        proxy = await start(backend.url)
        async with chromium() as browser:
            shown = await opened(browser, proxy.url)
            await shown.until("document.getElementById('running').innerText.includes('Nothing runs')")
            asking = asyncio.create_task(proxy.ask())
            await shown.until("!!document.querySelector('#running svg .prefill')")
            proxy.serving.live.close()  # as if the connection broke in the middle of it
            broken.set()
            await shown.until("!!document.querySelector('#running .answering')")
            answering.set()
            await asking
            await shown.until(f"{ROWS} === 1 && document.getElementById('running').innerText.includes('Nothing runs')")
            proxy.serving.live.publish("finished", **facts(2))
            proxy.serving.live.close()
            await shown.until(f"{ROWS} === 2")
            assert shown.errors == []


@pytest.fixture
def port() -> Iterator[int]:
    with kept_port() as port:
        yield port


@pytest.mark.browser
async def test_another_proxy_in_its_place_begins_a_new_page(start: StartProxy, port: int) -> None:
    async with OpenAIStandIn() as backend:
        first = await start(backend.url, port=port)
        first.serving.live.publish("finished", **facts(1))
        first.serving.live.publish("finished", **facts(2))
        async with chromium() as browser:
            shown = await opened(browser, first.url)
            await shown.until(f"{ROWS} === 2")
            await first.server.stop()
            await shown.until("document.getElementById('connection').innerText.includes('not connected')")
            second = await start(backend.url, port=port)
            second.serving.live.publish("finished", **facts(3))
            await shown.until(f"{ROWS} === 1 && document.getElementById('connection').innerText === ''")
            assert shown.errors == []


@pytest.mark.browser
async def test_a_thousand_requests_are_shown_and_only_what_is_new_is_touched(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        for number in range(HISTORY):
            proxy.serving.live.publish("finished", **facts(number))
        async with chromium() as browser:
            shown = await opened(browser, proxy.url)
            await shown.until(f"{ROWS} === {HISTORY}")
            await shown.page.evaluate(
                """() => {
                    window.touched = { added: 0, removed: 0 };
                    const rows = nodes => [...nodes].filter(node => node.nodeName !== "TBODY").length;
                    new MutationObserver(changes => {
                        for (const change of changes) {
                            touched.added += rows(change.addedNodes);
                            touched.removed += rows(change.removedNodes);
                        }
                    }).observe(document.getElementById("requests"), { childList: true, subtree: true });
                }"""
            )
            for number in range(HISTORY, HISTORY + 5):
                proxy.serving.live.publish("finished", **facts(number))
            await shown.until(f"document.querySelector('#requests tbody tr').id === 'r-{HISTORY + 4:024x}'")
            assert await shown.page.evaluate("touched") == {"added": 5, "removed": 5}
            assert await shown.page.evaluate(ROWS) == HISTORY
            assert (shown.errors, shown.console) == ([], [])


@pytest.mark.browser
async def test_a_backend_that_is_gone_shows(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        url = backend.url
    proxy = await start(url)
    async with chromium() as browser:
        shown = await opened(browser, proxy.url)
        await shown.until("document.getElementById('state').innerText.includes('not ready')")
        assert url in (await shown.texts("#backend"))[0]
        for _ in range(5):
            await proxy.ask()
        await shown.until("document.getElementById('backend').innerText.includes('the backend is left alone')")
        assert (shown.errors, shown.console) == ([], [])


@pytest.mark.browser
async def test_recording_is_switched_and_the_line_is_copied_with_the_keyboard(
    start: StartProxy, tmp_path: Path
) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        recordable(proxy, tmp_path / "traces")
        async with chromium() as browser:
            shown = await opened(browser, proxy.url)
            await shown.page.context.grant_permissions(["clipboard-read", "clipboard-write"])
            switch = shown.page.get_by_role("switch", name="Recording")
            await switch.focus()
            await shown.page.keyboard.press("Space")
            await shown.until("document.querySelector('[role=switch]').getAttribute('aria-checked') === 'true'")
            assert proxy.serving.recorder is not None
            assert str(tmp_path / "traces") in (await shown.texts("#recording"))[0]
            await shown.page.keyboard.press("Space")  # it still has the focus
            await wait_until_async(lambda: proxy.serving.recorder is None, "recording is off again")
            await shown.page.get_by_role("button", name="Copy the line").press("Enter")
            await shown.until("document.querySelector('[data-copy=line]').innerText === 'Copied'")
            copied = await shown.page.evaluate("navigator.clipboard.readText()")
            assert copied.startswith(f"ANTHROPIC_BASE_URL={proxy.url} ANTHROPIC_AUTH_TOKEN=local claude --model ")
            assert (shown.errors, shown.console) == ([], [])


# --- over HTTP ---


def recordable(proxy: RunningProxy, folder: Path) -> None:
    """Give the proxy a place for traces."""
    from anyclaude_lab.trace.redaction import Redaction
    from anyclaude_lab.trace.store import Recorder

    proxy.serving.begin_recording = lambda: Recorder(folder, Redaction(b"0" * 16))


async def test_what_is_recorded_is_what_was_asked_while_it_was_on(start: StartProxy, tmp_path: Path) -> None:
    async with OpenAIStandIn([reply("one"), reply("two"), reply("three")]) as backend:
        proxy = await start(backend.url)
        recordable(proxy, tmp_path / "traces")
        await proxy.ask()
        answer = await proxy.http.post("/v1/recording", json={"on": True})
        assert answer.json() == {"on": True, "folder": str(tmp_path / "traces"), "can_switch": True, "dropped": 0}
        await proxy.ask(model="claude-kept")
        assert (await proxy.http.post("/v1/recording", json={"on": False})).json()["on"] is False
        await proxy.ask()
        assert (await proxy.http.get("/v1/recording")).json()["folder"] is None
    (file,) = (tmp_path / "traces").iterdir()
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    assert [line["model"] for line in lines if line["kind"] == "exchange"] == ["claude-kept"]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"origin": "{own}"}, 200),
        ({"origin": "http://127.0.0.1:1"}, 403),  # a page of another server on this machine
        ({"origin": "https://evil.example"}, 403),
        ({"sec-fetch-site": "cross-site"}, 403),
        ({"content-type": "text/plain"}, 400),  # what a form can send without being asked
        ({"host": "evil.example"}, 403),
    ],
)
async def test_no_other_page_switches_recording(
    start: StartProxy, tmp_path: Path, headers: dict[str, str], status: int
) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        recordable(proxy, tmp_path / "traces")
        sent = {name: value.format(own=proxy.url) for name, value in headers.items()}
        answer = await proxy.http.post(
            "/v1/recording", content=b'{"on": true}', headers={"content-type": "application/json"} | sent
        )
        assert answer.status_code == status
        assert (proxy.serving.recorder is not None) == (status == 200)


@pytest.mark.parametrize("content", [b"", b"{", b"true", b'{"on": 1}', b'{"off": true}'])
async def test_a_wish_that_is_not_clear_switches_nothing(start: StartProxy, tmp_path: Path, content: bytes) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        recordable(proxy, tmp_path / "traces")
        answer = await proxy.http.post("/v1/recording", content=content, headers={"content-type": "application/json"})
        assert answer.status_code == 400
        assert '{"on": true}' in answer.json()["error"]["message"]
        assert proxy.serving.recorder is None


async def test_without_a_place_for_traces_the_switch_says_so(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        answer = await proxy.http.post("/v1/recording", json={"on": True})
        assert answer.status_code == 400
        assert "cannot be switched" in answer.json()["error"]["message"]


@pytest.mark.parametrize("name", ["dashboard.js", "dashboard.css", "style.css"])
async def test_the_page_and_its_files_allow_nothing_from_elsewhere(start: StartProxy, name: str) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        for answer in (await proxy.http.get("/"), await proxy.http.get(f"/dashboard/{name}")):
            assert answer.status_code == 200
            policy = answer.headers["content-security-policy"]
            assert policy.startswith("default-src 'none'") and "unsafe" not in policy and "http" not in policy
            assert "//" not in answer.text.replace("// ", "")
        assert f"dashboard/{name}" in (await proxy.http.get("/")).text
        assert (await proxy.http.get("/dashboard/../serving.py")).status_code == 404
        assert (await proxy.http.get("/dashboard/serving.py")).status_code == 404


async def test_a_page_that_knows_what_came_before_gets_the_rest(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        live = proxy.serving.live
        for number in range(3):
            live.publish("finished", **facts(number))
        whole = await rows_of(proxy.http, {})
        rest = await rows_of(proxy.http, {"last-event-id": f"{live.name}-2"})
        other = await rows_of(proxy.http, {"last-event-id": "another-2"})
    assert (whole[0]["fresh"], rest[0]["fresh"], other[0]["fresh"]) == (True, False, True)
    assert [whole[1]["html"].count("<tr"), rest[1]["html"].count("<tr"), other[1]["html"].count("<tr")] == [3, 1, 3]


async def rows_of(http: httpx.AsyncClient, headers: dict[str, str]) -> list[JsonObject]:
    """The first two `rows` events of the feed."""
    found: list[JsonObject] = []
    async with http.stream("GET", "/v1/live?format=html", headers=headers) as feed:
        kind = ""
        async for line in feed.aiter_lines():
            kind = line.removeprefix("event: ") if line.startswith("event: ") else kind
            if line.startswith("data: ") and kind == "rows":
                found.append(json.loads(line.removeprefix("data: ")))
            if len(found) == 2:
                break
    return found


async def test_no_key_that_a_server_repeats_gets_onto_the_page(start: StartProxy) -> None:
    async with OpenAIStandIn([Refusal(500, "you are pass-4f5e6d7c8b9a")]) as backend:
        url = backend.url.replace("://", "://me:pass-4f5e6d7c8b9a@")
        nodes = json.dumps([{"id": "a", "url": f"{url}/v1"}])
        proxy = await start(env={"MLX_CLUSTER_NODES": nodes}, flags={"mode": "mlx-cluster"})
        await proxy.ask()
        metrics = (await proxy.http.get("/v1/metrics")).text
        sent = ""
        async with proxy.http.stream("GET", "/v1/live?format=html") as feed:
            async for piece in feed.aiter_text():
                sent += piece
                if "Nodes of the cluster" in sent:
                    break
    assert sent.count("you are ***") >= 2 and "you are ***" in metrics  # in the row, among the errors, at the node
    assert "4f5e6d7c" not in sent + metrics


async def test_an_unknown_form_of_the_feed_is_named(start: StartProxy) -> None:
    async with OpenAIStandIn() as backend:
        proxy = await start(backend.url)
        answer = await proxy.http.get("/v1/live?format=xml")
        assert answer.status_code == 400
        assert "xml" in answer.json()["error"]["message"]
