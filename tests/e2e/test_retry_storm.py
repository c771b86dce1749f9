"""A prefill longer than the client's patience: its retries join the one that runs, where each would have begun anew."""

from __future__ import annotations

from dataclasses import dataclass, replace

import httpx
import pytest

from tests.e2e.claude_code import RELEASES, Place, headless
from tests.e2e.conftest import StartProxy
from tests.e2e.session import PROMPT, EditSession
from tests.e2e.test_sessions import FOREIGN_MODEL, backend
from tests.standins import conversation
from tests.standins.http import JsonObject, running
from tests.standins.script import Reply, Turn

PATIENCE_S, PREFILL_S = 4, 9


@dataclass(slots=True)
class SlowSession(EditSession):
    """The first step's prompt takes long to compute."""

    def turn(self, body: JsonObject) -> Turn:
        turn = EditSession.turn(self, body)
        talk = conversation.read(body)
        first = self.is_main(talk) and not talk.calls
        return replace(turn, silence_s=PREFILL_S) if first and isinstance(turn, Reply) else turn


@pytest.mark.parametrize("version", RELEASES)
def test_an_impatient_client_pays_for_one_prefill(version: str, place: Place, start_proxy: StartProxy) -> None:
    session = SlowSession(place.project)
    with running(backend("mlx-lm", session)) as server:
        proxy = start_proxy(server)
        result = headless(
            version,
            PROMPT,
            place=place,
            base_url=proxy.url,
            args=FOREIGN_MODEL,
            env={"API_TIMEOUT_MS": str(PATIENCE_S * 1000)},
        )
        session.check(result)
        joined = httpx.get(f"{proxy.direct_url}/v1/metrics", trust_env=False, timeout=60).json()[
            "anyclaude_joins_total"
        ]
    counts = {one["labels"]["of"]: one["value"] for one in joined}
    assert counts["waiting"] >= 1
    assert len(session.talks) == len(session.steps()) + 1  # no step was computed twice
    assert server.violations == []
