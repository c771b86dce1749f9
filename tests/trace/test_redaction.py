"""No secret survives, however a stream is cut; nothing else changes."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab.trace.redaction import ENVELOPES, SHAPES, Redaction
from anyclaude_lab.wire.events import Event, JsonObject, block_start, block_stop, json_delta, text_delta, thinking_delta
from tests.standins import grammar
from tests.trace.secrets import PLANTED

RULES = Redaction(b"key of this run", home="/data/people/ada")
prose = st.text(st.characters(exclude_categories=["Cs"]), max_size=30)
kinds = pytest.mark.parametrize("kind", PLANTED)
KINDS_OF_DELTA: dict[str, tuple[JsonObject, Callable[[int, str], Event]]] = {
    "text": ({"type": "text", "text": ""}, text_delta),
    "thinking": ({"type": "thinking", "thinking": ""}, thinking_delta),
    "call": ({"type": "tool_use", "id": "toolu_1", "name": "Bash", "input": {}}, json_delta),
}


@kinds
@given(data=st.data())
def test_a_planted_secret_does_not_survive_in_a_body(kind: str, data: st.DataObject) -> None:
    planted, secret = data.draw(PLANTED[kind])
    text = f"{data.draw(prose)}\n{planted}\n{data.draw(prose)}"
    nested = json.dumps({"content": json.dumps({"stdout": text})})
    for body in (text, json.dumps({"content": text}), nested, orjson.dumps({"content": text}).decode()):
        clean = RULES.text(body)
        assert secret not in clean
        assert json.dumps(secret)[1:-1] not in clean
        assert len(clean) == len(body)
        assert RULES.text(clean) == clean
        if body is not text:
            assert json.loads(clean).keys() == {"content"}


@kinds
@given(data=st.data())
def test_a_planted_secret_does_not_survive_in_a_stream_however_it_is_cut(kind: str, data: st.DataObject) -> None:
    planted, secret = data.draw(PLANTED[kind])
    block, delta = KINDS_OF_DELTA[data.draw(st.sampled_from(sorted(KINDS_OF_DELTA)))]
    said = f"{data.draw(prose)}\n{planted}\n{data.draw(prose)}"
    if delta is json_delta:
        said = json.dumps({"command": said})
    cuts = sorted(data.draw(st.lists(st.integers(0, len(said)), max_size=12)))
    pieces = [said[a:b] for a, b in zip([0, *cuts], [*cuts, len(said)], strict=True)]
    events = [block_start(0, block), *(delta(0, piece) for piece in pieces), block_stop(0)]
    spell = data.draw(st.sampled_from([lambda e: e.encode().decode(), _escaped]))
    stream = "".join(map(spell, events))
    clean = RULES.stream(stream)
    heard = "".join(_said(event) for _, event in grammar.events(clean.encode()))
    assert secret not in heard
    assert json.dumps(secret)[1:-1] not in heard
    assert len(clean) == len(stream)
    assert RULES.stream(clean) == clean
    assert len(grammar.events(clean.encode())) == len(events)
    if delta is json_delta:
        assert json.loads(heard).keys() == {"command"}


def _escaped(event: Event) -> str:
    """As a server spells it that keeps to ASCII."""
    return f"event: {event.type}\ndata: {json.dumps(event.data)}\n\n"


def _said(event: dict[str, object]) -> str:
    delta = event.get("delta")
    return "".join(str(v) for k, v in delta.items() if k != "type") if isinstance(delta, dict) else ""


@given(prose, prose)
def test_what_holds_no_secret_stays_as_it_is(first: str, second: str) -> None:
    body = json.dumps({"messages": [{"role": "user", "content": first}], "system": second, "max_tokens": 32000})
    assert RULES.text(body) == body


@pytest.mark.parametrize(
    "text",
    [
        "a task-management-and-risk-assessment-framework-2 for desk-bound people",
        '{"max_tokens":64000,"usage":{"input_tokens":123456789,"output_tokens":1}}',
        "token = self.tokens[index2]; key=lambda item: item.name; secret = load_secret_from_environment()",
        "password: $DB_PASSWORD_2, TOKEN=${GITHUB_TOKEN_2}",
        '{"required":["api_key"],"properties":{"api_key":{"type":"string","description":"The key, 20 characters"}}}',
        "https://example.com:8080/a@b and git@github.com:someone/project.git",
        "Basic understanding of authorization is enough.",
        "-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----",
    ],
)
def test_what_only_looks_like_a_secret_stays(text: str) -> None:
    assert RULES.text(text) == text
    assert RULES.text(json.dumps({"text": text})) == json.dumps({"text": text})


def test_what_is_passed_over_in_a_stream_holds_no_anchor() -> None:
    """Nor can an anchor reach into it: a quote stands at both ends."""
    assert all(envelope[0] == envelope[-1] == '"' for envelope in ENVELOPES)
    assert not any('"' in shape.anchor or shape.anchor in envelope for shape in SHAPES for envelope in ENVELOPES)


def test_equal_secrets_have_equal_placeholders_and_others_do_not() -> None:
    one, other = "sk-ant-api03-" + "a" * 40, "sk-ant-api03-" + "b" * 40
    first, again, second = RULES.text(f"{one} {one} {other}").split()
    assert first == again != second
    assert Redaction(b"another run").text(one) != first, "a placeholder must not be a hash anybody can compute"


def test_a_private_key_is_the_same_in_a_file_and_in_json() -> None:
    key = "-----BEGIN PRIVATE KEY-----\n" + "MIIEvQIBADANBg\n" * 4 + "-----END PRIVATE KEY-----"
    letters = {re.findall(r"\*\*([a-p]{8})", RULES.text(spelled))[0] for spelled in (key, json.dumps(key))}
    assert len(letters) == 1


def test_a_key_file_shown_with_line_numbers_and_without_its_end() -> None:
    shown = "     1\t-----BEGIN RSA PRIVATE KEY-----\n" + "".join(f"    {n}→{'Ab1/' * 16}\n" for n in range(2, 6))
    assert "Ab1/" not in RULES.text(shown)
    assert "Ab1/" not in RULES.text(json.dumps(shown))
    assert RULES.text(shown + '"and then prose').endswith('"and then prose')


@pytest.mark.parametrize(
    "user_id",
    [
        f"user_{'0a' * 32}_account_6f8a1b2c-0000-4000-8000-123456789abc_session_11111111-2222-4333-8444-555555555555",
        json.dumps(
            {
                "device_id": "0a" * 32,
                "account_uuid": "6f8a1b2c-0000-4000-8000-123456789abc",
                "session_id": "11111111-2222-4333-8444-555555555555",
            }
        ),
    ],
)
def test_device_and_account_go_the_session_stays(user_id: str) -> None:
    clean = RULES.text(json.dumps({"metadata": {"user_id": user_id}}))
    assert "0a0a0a" not in clean
    assert "6f8a1b2c" not in clean
    assert "11111111-2222-4333-8444-555555555555" in clean


@pytest.mark.parametrize(
    "path",
    [
        "/home/ada/work/x.py",
        "/Users/ada/work/x.py",
        r"C:\Users\ada\work\x.py",
        "/data/people/ada/x.py",
        "/data/people/ada",
        "~/.claude/projects/-data-people-ada-work",
    ],
)
def test_home_folders_lose_their_name_and_paths_their_length_not(path: str) -> None:
    for text in (path, f"see {path}", json.dumps({"a": f"first\n{path}"}), json.dumps(json.dumps({"a": path}))):
        clean = RULES.text(text)
        assert "ada" not in clean
        assert len(clean) == len(text)
        assert clean.replace("~", "") == text.replace("ada", "").replace("~", "")


def test_a_home_folder_cut_between_two_events() -> None:
    stream = "".join(text_delta(0, piece).encode().decode() for piece in ("see /ho", "me/a", "da/x"))
    assert "".join(_said(event) for _, event in grammar.events(RULES.stream(stream).encode())) == "see /home/~~~/x"


def test_blocks_are_not_mixed_up() -> None:
    """What two blocks say in turns is not one text."""
    events = [text_delta(0, "sk-ant-"), text_delta(1, "x"), text_delta(0, "api03-" + "A1" * 20), text_delta(1, "y")]
    clean = RULES.stream("".join(event.encode().decode() for event in events))
    said = ["", ""]
    for _, event in grammar.events(clean.encode()):
        said[event["index"]] += _said(event)
    assert "A1A1" not in said[0]
    assert said[1] == "xy"


def test_secrets_that_are_known_need_no_shape() -> None:
    rules = Redaction(b"k", known=("correct horse",))
    assert "correct horse" not in rules.text('{"a": "correct horse battery"}')
    assert "correct horse" not in repr(rules)


@pytest.mark.parametrize(
    "hostile",
    [
        "sk-",
        "-----BEGIN PRIVATE KEY-----",
        "eyJ.",
        "token=",
        "://a:",
        "key: ",
        '\\"',
        "/home/",
        "Bearer ",
        "password=a1",
    ],
)
@pytest.mark.timeout(240)
def test_hostile_texts_take_no_more_than_linear_work(hostile: str) -> None:
    """With work that grows with the square of the text this would run for minutes."""
    text = (hostile * 100_000)[:200_000]
    assert len(RULES.text(text)) == len(text)
    assert len(RULES.stream(text_delta(0, text).encode().decode())) > len(text)
