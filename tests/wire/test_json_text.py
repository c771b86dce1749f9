"""Rule 17: JSON that other programs damaged."""

import json

import pytest
from hypothesis import given

from anyclaude_lab.wire.json_text import loads
from tests.wire.strategies import json_values


@given(json_values)
def test_sound_json_is_read_as_it_is(value: object) -> None:
    assert loads(json.dumps(value).encode()) == value


@pytest.mark.parametrize("half", [rb"\ud83d", rb"\uDE00", rb"\ud83d\u0041", rb"\ude00\ud83d"])
def test_half_a_surrogate_pair_becomes_the_replacement_character(half: bytes) -> None:
    text = loads(b'{"t": "a' + half + b'b"}')["t"]
    assert "\ufffd" in text
    assert text.startswith("a")
    assert text.endswith("b")
    text.encode()  # it can be written again


def test_a_whole_surrogate_pair_beside_a_half_survives() -> None:
    assert loads(rb'"\ud83d\ude00 \ud83d"') == "😀 \ufffd"


@pytest.mark.parametrize(
    ("raw", "value"),
    [
        (rb'"C:\Users\new"', "C:\\Users\new"),
        (rb'"\x41"', "\\x41"),
        (rb'"\u12"', "\\u12"),
        (rb'"\\ \d \""', '\\ \\d "'),
        (rb'"\\\d"', "\\\\d"),
    ],
)
def test_a_backslash_that_escapes_nothing_stays_a_backslash(raw: bytes, value: str) -> None:
    assert loads(raw) == value


def test_bytes_that_are_not_utf8_become_the_replacement_character() -> None:
    assert loads(b'{"t": "a\xffb"}') == {"t": "a\ufffdb"}


def test_control_characters_inside_strings_stay() -> None:
    assert loads(b'"a\x01\tb"') == "a\x01\tb"


def test_numbers_are_read_the_same_on_both_ways() -> None:
    numbers = b"[1, -7, 1.5, 9223372036854775807, 18446744073709551616, 123456789012345678901234567890]"
    assert loads(numbers + b" ") == loads(numbers[:-1] + rb', "\q"]')[:-1]


@pytest.mark.parametrize("raw", [b"", b"{", b"{'a': 1}", b'{"a": NaN}', b"[1,]", b'{"a" 1}', b"[" * 100_000, b'"\\'])
def test_what_is_no_json_is_refused_with_its_place(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r"line 1 column|recursion"):
        loads(raw)
