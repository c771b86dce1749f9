"""What the prompt work did, told in log and metrics."""

from __future__ import annotations

from tests.prompt.conversations import BILLING, session, text
from tests.prompt.tiers.prompts import FULL
from tests.proxy.conftest import StartProxy
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import reply


async def test_each_step_is_told(start: StartProxy) -> None:
    body = session()[0].body | {"system": [text(BILLING), text(FULL)]}
    async with OpenAIStandIn([reply("Hello")], profile="mlx-lm") as backend:
        proxy = await start(backend.url, flags={"debug": 2, "filter_tier": "aggressive", "stub_tools": True})
        answer = await proxy.http.post("/v1/messages", json=body)
        assert answer.status_code == 200
        [chat] = backend.chats
        removed = (await proxy.http.get("/v1/metrics", params={"format": "prometheus"})).text
    assert BILLING not in chat.body.decode()
    logged = proxy.log_file.read_text()
    assert f"billing: system {len(BILLING) + len(FULL):,} -> {len(FULL):,} characters" in logged
    assert "(aggressive, full prompt)" in logged
    assert 'anyclaude_prompt_characters_removed_total{transform="tier"}' in removed
