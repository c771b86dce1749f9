"""Sessions of the real Claude Code, recorded: complete, readable, and without its keys and ids."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path

import pytest

from anyclaude_lab.trace.files import DamagedTrace
from anyclaude_lab.trace.read import Recorded, read_trace
from tests.e2e.claude_code import KEY, LATEST, RELEASES, Place, headless
from tests.e2e.conftest import StartProxy
from tests.e2e.proxy_process import Proxy
from tests.e2e.session import PROMPT, EditSession
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.http import running, wait_until
from tests.standins.openai_api import OpenAIStandIn


def recorded(proxy: Proxy, folder: Path) -> list[Recorded]:
    """Every exchange, once all that passed has been written."""

    def exchanges() -> list[Recorded]:
        with suppress(DamagedTrace):  # the first line is being written
            return [exchange for file in folder.glob("*.jsonl") for exchange in read_trace(file).exchanges]
        return []

    wait_until(lambda: len(exchanges()) == len(proxy.messages), "everything is recorded")
    return exchanges()


def check_private(place: Place, folder: Path) -> None:
    user_id = json.loads((place.home / ".claude.json").read_text()).get("userID")
    for file in folder.iterdir():
        text = file.read_text()
        assert KEY not in text
        assert user_id is None or user_id not in text


@pytest.mark.parametrize("version", RELEASES)
def test_a_translated_session(version: str, place: Place, start_proxy: StartProxy, tmp_path: Path) -> None:
    session = EditSession(place.project)
    with running(OpenAIStandIn(session.policy, profile="mlx-lm")) as server:
        proxy = start_proxy(server, args=["--record", str(tmp_path / "traces")])
        arguments = ("--model", "anthropic-local/model", "--dangerously-skip-permissions")
        session.check(headless(version, PROMPT, place=place, base_url=proxy.url, args=arguments))
        exchanges = recorded(proxy, tmp_path / "traces")
        got = {passed.body for passed in proxy.messages}
    assert len({exchange.session for exchange in exchanges}) == 1
    assert {exchange.answer.encode() for exchange in exchanges} == got
    check_private(place, tmp_path / "traces")


def test_in_claude_mode_sessions_are_recorded_readable(place: Place, start_proxy: StartProxy) -> None:
    session = EditSession(place.project)
    with running(AnthropicStandIn(session.policy, gzip=True)) as server:
        proxy = start_proxy(server, env={"ANYCLAUDE_RECORD": "true"})
        proxy.foreign_ends = True  # the judge of the streams reads plain text
        session.check(headless(LATEST, PROMPT, place=place, base_url=proxy.url))
        folder = proxy.home / ".anyclaude" / "traces"
        exchanges = recorded(proxy, folder)
    assert f"recording to {folder}" in proxy.output.read_text()
    assert exchanges[-1].data["stop_reason"] == "end_turn"
    for exchange in exchanges:
        assert json.loads(exchange.body)["messages"]
        assert "message_stop" in exchange.answer or exchange.data["response"]["status"] != 200
    check_private(place, folder)
