"""Backends that fail in the middle of the real client's session: no hang, nothing done twice, no half tool call."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest

from tests.e2e.claude_code import LATEST, RELEASES, Place, headless
from tests.e2e.conftest import StartProxy
from tests.e2e.proxy_process import Proxy
from tests.e2e.session import PROMPT, StumblingSession
from tests.e2e.test_sessions import FOREIGN_MODEL, backend
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.http import running
from tests.standins.script import CleanEnd, Cut, Fault, Refusal, StreamError

PATIENCE_S = 240
"""Longer is a hang, on a busy machine too; the client's own pauses between retries take most of a slow case."""

CUTS: dict[str, Fault] = {
    "cut before content": Cut("start"),
    "cut in text": Cut("text"),
    "end in text": CleanEnd("text"),
    "cut in a call": Cut("tool"),
    "end in a call": CleanEnd("tool"),
}
REFUSALS: dict[str, list[Refusal]] = {
    "busy twice": [Refusal(503, "busy", headers=(("retry-after", "1"),))] * 2,
    "too many requests": [Refusal(429, "slow down", headers=(("retry-after", "1"),))],
    "broken inside": [Refusal(500, "internal error")],
}


def streamed_alone(proxy: Proxy) -> bool:
    """Whether the client asked for streams only: a request for a whole message is a slow and costly retry."""
    return all(json.loads(p.request_body).get("stream") for p in proxy.messages)


FIRST_CALL, FINAL_TEXT = 0, 3


@pytest.mark.parametrize(
    ("cut", "step"),
    [(cut, FIRST_CALL) for cut in CUTS] + [(cut, FINAL_TEXT) for cut in CUTS if "call" not in cut],
)
@pytest.mark.parametrize("name", ["openai", "mlx-lm"])
def test_a_cut_stream_is_asked_for_again(name: str, cut: str, step: int, place: Place, start_proxy: StartProxy) -> None:
    session = StumblingSession(place.project, mishaps=[CUTS[cut]], at=step)
    with running(backend(name, session)) as server:
        proxy = start_proxy(server)
        result = headless(LATEST, PROMPT, place=place, base_url=proxy.url, args=FOREIGN_MODEL, timeout=PATIENCE_S)
        session.check(result)
        assert session.struck == 1
        assert streamed_alone(proxy)
    assert server.violations == []


# Straight from the real service 1.0.100, and sometimes 2.0.30, take a text block that is complete for the whole answer
# when the call after it is cut. The proxy holds the call back until it is whole, so that they see a cut in the text.
@pytest.mark.parametrize("version", RELEASES)
@pytest.mark.parametrize("cut", CUTS)
def test_every_release_recovers_from_a_cut(version: str, cut: str, place: Place, start_proxy: StartProxy) -> None:
    session = StumblingSession(place.project, mishaps=[CUTS[cut]])
    with running(backend("openai", session)) as server:
        proxy = start_proxy(server)
        result = headless(version, PROMPT, place=place, base_url=proxy.url, args=FOREIGN_MODEL, timeout=PATIENCE_S)
        session.check(result)
    assert session.struck == 1


@pytest.mark.parametrize("fault", [Cut("end"), CleanEnd("end"), CleanEnd("last")], ids=["cut", "end", "no [DONE]"])
def test_a_complete_call_is_not_asked_for_again(fault: Fault, place: Place, start_proxy: StartProxy) -> None:
    """What was said completely is used, though the backend never said that it was the end."""
    session = StumblingSession(place.project, mishaps=[fault])
    with running(backend("openai", session)) as server:
        proxy = start_proxy(server)
        result = headless(LATEST, PROMPT, place=place, base_url=proxy.url, args=FOREIGN_MODEL, timeout=PATIENCE_S)
        session.check(result)
        assert session.struck == 1
        assert len(session.talks) == len(session.steps()) + 1


def test_an_error_chunk_in_mid_stream_is_survived(place: Place, start_proxy: StartProxy) -> None:
    session = StumblingSession(
        place.project, mishaps=[StreamError("text", message="Provider returned error", code=502)]
    )
    with running(backend("openrouter", session)) as server:
        proxy = start_proxy(server)
        result = headless(LATEST, PROMPT, place=place, base_url=proxy.url, args=FOREIGN_MODEL, timeout=PATIENCE_S)
        session.check(result)
        assert streamed_alone(proxy)
    assert session.struck == 1


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_waited_out(case: str, place: Place, start_proxy: StartProxy) -> None:
    mishaps: Sequence[Refusal] = REFUSALS[case]
    session = StumblingSession(place.project, mishaps=list(mishaps), at=1)
    with running(backend("openai", session)) as server:
        proxy = start_proxy(server)
        result = headless(LATEST, PROMPT, place=place, base_url=proxy.url, args=FOREIGN_MODEL, timeout=PATIENCE_S)
        session.check(result)
        assert streamed_alone(proxy)
    assert session.struck == len(mishaps)


@pytest.mark.parametrize(
    "mishap",
    [
        Cut("text"),
        CleanEnd("tool"),
        StreamError("text"),
        Refusal(529, "Overloaded", headers=(("retry-after", "1"),)),
    ],
    ids=["cut", "end", "error event", "529"],
)
def test_in_claude_mode_faults_pass_as_they_are(mishap: Fault | Refusal, place: Place, start_proxy: StartProxy) -> None:
    session = StumblingSession(place.project, mishaps=[mishap])
    with running(AnthropicStandIn(session.policy)) as server:
        proxy = start_proxy(server)
        session.check(headless(LATEST, PROMPT, place=place, base_url=proxy.url, timeout=PATIENCE_S))
        struck = server.messages[0]
        passed = next(p for p in proxy.messages if p.request_body == struck.body)
        assert passed.status == struck.status
        assert passed.body == bytes(struck.sent)
        if not isinstance(mishap, StreamError):  # the client hangs up on an error event, before or after the end
            assert passed.complete == (not isinstance(mishap, Cut))
