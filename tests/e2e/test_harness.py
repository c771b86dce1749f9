"""The real client against the stand-in of the real service, with nothing between them.

What fails here is no fault of the proxy: it is the harness, the stand-in, or a release that has changed.
"""

from __future__ import annotations

import pytest

from tests.e2e.claude_code import LATEST, RELEASES, Place, Terminal, headless
from tests.e2e.session import PROMPT, DeferredToolSession, EditSession
from tests.standins import grammar
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.http import running


@pytest.mark.parametrize("version", RELEASES)
def test_a_session_of_tools(version: str, place: Place) -> None:
    session = EditSession(place.project, thinking=version == LATEST)
    with running(AnthropicStandIn(session.policy)) as server:
        result = headless(version, PROMPT, place=place, base_url=server.url)
    session.check(result)
    assert server.violations == []
    for exchange in server.messages:
        assert grammar.violations(bytes(exchange.sent)) == []


def test_a_deferred_tool_arrives_by_reference(place: Place) -> None:
    session = DeferredToolSession(place.project)
    with running(AnthropicStandIn(session.policy)) as server:
        result = headless(LATEST, PROMPT, place=place, base_url=server.url)
    session.check(result)
    assert session.talks[-1].references == ("WebFetch",)
    assert "WebFetch" not in session.talks[0].tools
    assert "WebFetch" in session.talks[-1].tools


@pytest.mark.parametrize("version", RELEASES)
def test_an_interactive_session(version: str, place: Place) -> None:
    session = EditSession(place.project)
    with running(AnthropicStandIn(session.policy)) as server:
        arguments = ("--dangerously-skip-permissions",)
        with Terminal(version, place, base_url=server.url, args=arguments) as terminal:
            terminal.wait_for("bypass permissions on")
            terminal.send(PROMPT)
            terminal.wait_for(f"The secret is {session.secret}")
            terminal.send("/compact")
            terminal.wait_for("ompacted (ctrl+")
    session.check()
    assert session.compactions == 1
