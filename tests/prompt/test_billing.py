"""The attribution block goes, whole, and nothing else does."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.prompt.billing import PREFIX, remove_billing
from anyclaude_lab.wire.request import Request
from tests.prompt.conversations import BILLING, text


def without(system: Any) -> Any:
    return remove_billing(Request({"model": "m", "messages": [], "system": system})).body.get("system")


@pytest.mark.parametrize(
    "header",
    [
        BILLING,
        "x-anthropic-billing-header: cc_version=2.1.100.abc; cc_entrypoint=sdk-cli; cch=00000;",
        "x-anthropic-billing-header: cc_version=2.1.330.0ff; cc_workload=cron; cc_is_subagent=true; cc_prompt_id=p-1",
        "x-anthropic-billing-header: a-field-of-tomorrow=yes; cc_prev_req=req_011;",
        "  x-anthropic-billing-header: cch=1;\n",
    ],
)
def test_any_fields_and_any_place(header: str) -> None:
    assert without([text(header), text("You help.")]) == [text("You help.")]
    assert without([text("You help."), text(header)]) == [text("You help.")]
    assert without([text(header, cache_control={"type": "ephemeral"})]) is None
    assert without(header + "\nYou help.") == "You help."
    assert without(header.strip() + "\r\n\r\nYou help.\n") == "You help.\n"
    assert without(header) is None


def test_two_headers() -> None:
    assert without(f"{BILLING}\n{BILLING}\n\nYou help.") == "You help."
    assert without([text(BILLING), text(BILLING), text("You help.")]) == [text("You help.")]


@pytest.mark.parametrize(
    "quote",
    [
        f"The first line of a request is:\n{BILLING}",
        "x-anthropic-billing-header: is the name of a line that some clients send.",
        f"`{BILLING}` stands first.",
        "x-anthropic-billing-header: none",
        f"{BILLING} You help.",
    ],
)
def test_a_quotation_stays(quote: str) -> None:
    assert without(quote) == quote
    assert without([text(quote)]) == [text(quote)]


@pytest.mark.parametrize("role", ["user", "assistant"])
def test_what_people_and_models_say_is_never_touched(role: str) -> None:
    messages = [{"role": role, "content": BILLING}, {"role": role, "content": [text(BILLING)]}]
    request = Request({"model": "m", "messages": messages, "system": "You help."})
    assert remove_billing(request) is request


def test_a_system_message_is_system_text() -> None:
    def messages(*contents: Any) -> list[Any]:
        return [
            {"role": "user", "content": "Hello."},
            *({"role": "system", "content": content} for content in contents),
        ]

    spelled = messages(BILLING, [text(BILLING)], [text(BILLING), text("Now.")], f"{BILLING}\nNow.", f"Now: {BILLING}")
    request = Request({"model": "m", "messages": spelled})
    assert remove_billing(request).messages == messages([text("Now.")], "Now.", f"Now: {BILLING}")


def test_five_megabytes_of_it() -> None:
    assert without(f"{BILLING}\n" * 70_000 + "You help.") == "You help."
    assert without(f"{PREFIX} " * 200_000) == f"{PREFIX} " * 200_000
    assert without("\n" * 5_000_000) == "\n" * 5_000_000


@pytest.mark.parametrize("system", [None, "", [], [{"type": "image"}]])
def test_nothing_there(system: Any) -> None:
    request = Request({"model": "m", "messages": [], "system": system})
    assert remove_billing(request) is request


@given(
    st.dictionaries(
        st.from_regex(r"[a-z][a-z0-9_-]{0,9}", fullmatch=True), st.from_regex(r"[^;\n\r=]{0,9}", fullmatch=True)
    )
)
def test_open_list_of_fields(fields: dict[str, str]) -> None:
    header = "x-anthropic-billing-header: " + " ".join(f"{key}={value};" for key, value in fields.items())
    assert without([text(header), text("You help.")]) == [text("You help.")]
