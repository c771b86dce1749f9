"""Rules 18, 35, 36: what the client's headers say, which travel on, which are written down."""

from typing import Any

import pytest

from anyclaude_lab.wire.headers import (
    ClientHints,
    is_background,
    lane_key,
    redact_headers,
    request_headers_to_forward,
    response_headers_to_forward,
)
from anyclaude_lab.wire.request import Request

SESSION = "176790de-64c5-4d36-813f-cbbc5629ce7c"


def request(**changes: Any) -> Request:
    return Request(
        {"model": "local/m", "max_tokens": 100, "messages": [{"role": "user", "content": "Fix the bug."}]} | changes
    )


def hints(headers: dict[str, str] | None = None, **body: Any) -> ClientHints:
    return ClientHints.from_headers(headers or {}, body)


def test_hints_are_read_whatever_the_case_of_the_name() -> None:
    said = hints(
        {
            "X-Claude-Code-Session-Id": SESSION,
            "x-claude-code-agent-id": "a1",
            "x-claude-code-parent-agent-id": "a0",
            "x-claude-code-request-class": "subagent",
            "x-claude-code-agent-type": "Explore",
            "x-claude-code-compaction": "auto",
            "x-claude-code-prev-tool-durations": "Bash=742;mcp__a%3Bb=9;broken;x=-1",
            "x-claude-code-prompt-id": "p",
            "X-Stainless-Retry-Count": "2",
            "x-client-request-id": "r",
        }
    )
    assert said == ClientHints(
        session_id=SESSION,
        agent_id="a1",
        parent_agent_id="a0",
        request_class="subagent",
        agent_type="Explore",
        compaction="auto",
        prompt_id="p",
        client_request_id="r",
        retry_count=2,
        tool_durations_ms=(("Bash", 742), ("mcp__a;b", 9)),
    )


def test_bytes_that_are_no_text_are_read_as_such() -> None:
    hints = ClientHints.from_headers({"x-claude-code-session-id": "caf\udce9", "x-claude-code-agent-id": "käfer"}, {})
    assert (hints.session_id, hints.agent_id) == ("caf\ufffd", "käfer")


def test_pairs_are_read_as_well() -> None:
    assert ClientHints.from_headers([("X-Claude-Code-Session-Id", "s")], {}).session_id == "s"


@pytest.mark.parametrize(
    "user_id",
    [f"user_0123abcd_account__session_{SESSION}", f'{{"device_id":"d","account_uuid":"","session_id":"{SESSION}"}}'],
    ids=["old", "new"],
)
def test_the_session_falls_back_to_the_user_id(user_id: str) -> None:
    assert hints(metadata={"user_id": user_id}).session_id == SESSION
    assert hints({"x-claude-code-session-id": "header"}, metadata={"user_id": user_id}).session_id == "header"


@pytest.mark.parametrize(
    "metadata", [None, 7, {}, {"user_id": None}, {"user_id": "bob"}, {"user_id": '{"session_id": 7}'}]
)
def test_a_user_id_that_says_nothing(metadata: Any) -> None:
    assert hints(metadata=metadata).session_id is None


def test_a_retry_count_that_is_no_number_is_unknown() -> None:
    assert hints({"x-stainless-retry-count": "many"}).retry_count is None


def test_background_work_is_told_apart() -> None:
    assert not is_background(hints(), request())
    assert is_background(hints(), request(model="claude-haiku-4-5-20251001"))
    assert is_background(hints({"x-claude-code-request-class": "auxiliary"}), request())
    assert is_background(hints(), request(max_tokens=1))
    assert not is_background(hints(), request(max_tokens=1, tools=[{"name": "Bash"}]))


def test_a_lane_is_a_session_and_an_agent() -> None:
    headers = {"x-claude-code-session-id": SESSION, "x-claude-code-agent-id": "a1"}
    assert lane_key(hints(headers), request()) == f"{SESSION}/a1"
    assert lane_key(hints({"x-claude-code-session-id": SESSION}), request()).startswith(SESSION + "/")


TOOLS = [{"name": "Read"}, {"name": "Bash"}]
SYSTEM = "You help.\nFolder: /home/a/project\nToday is 2026-11-22.\nLast commit: 1a2b3c4 fix\nBe brief."


def lane(**changes: Any) -> str:
    return lane_key(hints(), request(**({"system": SYSTEM, "tools": TOOLS} | changes)))


def test_an_unnamed_conversation_keeps_its_lane() -> None:
    grown = [
        {"role": "user", "content": [{"type": "text", "text": "Fix the bug."}]},
        {"role": "assistant", "content": "Ok."},
    ]
    deferred = [TOOLS[1], {"name": "WebFetch", "defer_loading": True}, TOOLS[0]]
    billing = {"type": "text", "text": "x-anthropic-billing-header: cc_version=2.1.330.894;"}
    assert lane() == lane(messages=grown)
    assert lane() == lane(tools=deferred)
    assert lane() == lane(system=[billing, {"type": "text", "text": SYSTEM}])
    assert lane() == lane(system=SYSTEM.replace("1a2b3c4", "9f8e7d6").replace("-22", "-23").replace("/a/", "/b/"))


def test_another_conversation_has_another_lane() -> None:
    others = [
        lane(messages=[{"role": "user", "content": "Add a test."}]),
        lane(tools=TOOLS[:1]),
        lane(system="You summarise."),
        lane(system=None, tools=None),
    ]
    assert len({lane(), *others}) == 5


def test_a_side_request_of_a_session_has_a_lane_of_its_own() -> None:
    said = hints({"x-claude-code-session-id": SESSION})
    assert lane_key(said, request(system=SYSTEM)) != lane_key(said, request(system="Write a title."))


HEADERS = [
    ("Host", "127.0.0.1:49152"),
    ("X-Api-Key", "sk-1"),
    ("anthropic-beta", "a,b"),
    ("Connection", "keep-alive, X-Private"),
    ("X-Private", "1"),
    ("Keep-Alive", "timeout=5"),
    ("TE", "trailers"),
    ("Transfer-Encoding", "chunked"),
    ("Upgrade", "h2c"),
    ("Proxy-Authorization", "Basic x"),
    ("Content-Length", "12"),
    ("Accept-Encoding", "gzip, br"),
    ("x-later", "ü"),
    ("anthropic-beta", "c"),
]


def test_headers_travel_in_their_order_and_spelling() -> None:
    kept = [
        ("X-Api-Key", "sk-1"),
        ("anthropic-beta", "a,b"),
        ("Accept-Encoding", "gzip, br"),
        ("x-later", "ü"),
        ("anthropic-beta", "c"),
    ]
    assert request_headers_to_forward(HEADERS) == kept


def test_headers_of_a_reply_keep_what_describes_its_body() -> None:
    reply = [("Content-Length", "12"), ("Content-Encoding", "br"), ("request-id", "req_1"), ("Connection", "close")]
    assert response_headers_to_forward(reply) == reply[:3]


def test_credentials_are_not_written_down() -> None:
    secret = [
        "Authorization",
        "X-API-Key",
        "Cookie",
        "set-cookie",
        "Proxy-Authorization",
        "x-auth-token",
        "X-Client-Secret",
        "api_key",
    ]
    open_ = [
        "anthropic-ratelimit-tokens-remaining",
        "keep-alive",
        "x-claude-code-session-id",
        "user-agent",
        "request-id",
    ]
    assert redact_headers([(name, "v") for name in secret]) == [(name, "***") for name in secret]
    assert redact_headers(dict.fromkeys(open_, "v")) == [(name, "v") for name in open_]
