"""Secrets of many shapes, made up, and what an independent eye would call one."""

from __future__ import annotations

import re
import string

from hypothesis import strategies as st

WORD = string.ascii_letters + string.digits
HEX = "0123456789abcdef"
UPPER = string.ascii_uppercase + string.digits


def chars(alphabet: str, least: int, most: int) -> st.SearchStrategy[str]:
    return st.text(alphabet, min_size=least, max_size=most)


def _key(head: str, alphabet: str, least: int, most: int) -> st.SearchStrategy[tuple[str, str]]:
    return chars(alphabet, least, most).map(lambda tail: (head + tail, head + tail))


def _given(head: str, alphabet: str, least: int, most: int, foot: str = "") -> st.SearchStrategy[tuple[str, str]]:
    """A secret that its surroundings give away; with a digit and a letter, as generators make them."""
    return chars(alphabet, least, most).map(lambda tail: (f"{head}q7{tail}{foot}", f"q7{tail}"))


def _private_key(kind: str) -> st.SearchStrategy[tuple[str, str]]:
    return st.lists(chars(WORD + "+/", 64, 64), min_size=1, max_size=4).map(
        lambda lines: (
            (f"-----BEGIN {kind}PRIVATE KEY-----\n" + "\n".join(lines) + f"\n-----END {kind}PRIVATE KEY-----",) * 2
        )
    )


# (text as it is planted, the part that must not be found again)
PLANTED: dict[str, st.SearchStrategy[tuple[str, str]]] = {
    "Anthropic": _key("sk-ant-api03-", WORD + "_-", 40, 90),
    "Anthropic login": _key("sk-ant-oat01-", WORD + "_-", 40, 90),
    "OpenRouter": _key("sk-or-v1-", HEX, 64, 64),
    "OpenAI": _key("sk-proj-", WORD + "_-", 40, 120),
    "older OpenAI": _key("sk-8", WORD, 40, 48),
    "GitHub": _key("ghp_", WORD, 36, 36),
    "GitHub, fine": _key("github_pat_", WORD + "_", 60, 82),
    "GitLab": _key("glpat-", WORD, 20, 20),
    "AWS id": _key("AKIA", UPPER, 16, 16),
    "AWS key": _given("aws_secret_access_key = ", WORD + "+/", 38, 38),
    "Google": _key("AIza", WORD + "_-", 35, 35),
    "Slack": _key("xoxb-", WORD + "-", 30, 60),
    "Hugging Face": _key("hf_", WORD, 34, 34),
    "bearer": _given("Authorization: Bearer ", WORD + "-._~+/", 20, 60),
    "basic": _given("Authorization: Basic ", WORD, 20, 60),
    "key in code": _given('api_key="', WORD, 12, 40, '"'),
    "key in JSON": _given('{"apiKey": "', WORD, 12, 40, '"}'),
    "password": _given("DB_PASSWORD=", WORD, 8, 20),
    "URL": _given("postgres://app:", WORD, 8, 20, "@db.internal/app"),
    "JWT": st.tuples(chars(WORD + "_-", 20, 60), chars(WORD + "_-", 20, 90), chars(WORD + "_-", 43, 43)).map(
        lambda parts: ("eyJ" + ".".join(parts),) * 2
    ),
    "RSA key": _private_key("RSA "),
    "private key": _private_key(""),
}

# Written apart from the product's rules.
SUSPECT = re.compile(
    r"sk-(?:ant|or|proj)|gh[pousr]_\w{16}|github_pat_\w{8}|glpat-\w|AKIA[A-Z0-9]{12}|AIza[\w-]{20}|xox[bp]-\d"
    r"|hf_\w{20}|eyJ[\w-]{8,}\.[\w-]{8,}|BEGIN [A-Z ]*PRIVATE|[Bb]earer [\w.-]{8}"
    r"|/(?:home|Users)/[a-z]|/root\b|device_id\W+\w{4}|account_uuid\W+\w{4}"
)
