"""Counters: exact where they say so, cheap on a growing text, and learning from reports."""

from __future__ import annotations

from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers, pre_tokenizers, trainers

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.render.count import MEDIA_TOKENS, count_request
from anyclaude_lab.render.template import ChatTemplate
from anyclaude_lab.render.tokens import (
    Calibration,
    Ratio,
    TokenizerCounter,
    characters,
    from_tokenizer_json,
)

WORDS = ["the proxy reads a file and writes a line", "def read(path): return path.read_text()", "one two three four"]
MARKS = ["<|start|>", "<|end|>", "<|start|>7", "<tool>", "  ", "<left>", "[X]"]


def trained(kind: str) -> Tokenizer:
    tokenizer = Tokenizer(models.BPE(unk_token="<unk>"))
    if kind == "bytes":
        tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
        tokenizer.decoder = decoders.ByteLevel()
    elif kind == "metaspace":
        tokenizer.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first")
    else:
        tokenizer.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    tokenizer.train_from_iterator(
        WORDS, trainers.BpeTrainer(vocab_size=400, special_tokens=["<unk>"], show_progress=False)
    )
    tokenizer.add_special_tokens([AddedToken(text, normalized=False) for text in MARKS[:3]])
    tokenizer.add_tokens(
        [
            AddedToken("<tool>", normalized=False, rstrip=True),
            AddedToken("  ", normalized=False),
            AddedToken("<left>", normalized=False, lstrip=True),
            AddedToken("[X]", normalized=True),
        ]
    )
    tokenizer.enable_truncation(5)
    tokenizer.enable_padding(length=50)
    return tokenizer


KINDS = ["bytes", "metaspace", "prepended"]
FRESH = {kind: trained(kind) for kind in KINDS}
COUNTERS = {kind: from_tokenizer_json(FRESH[kind].to_str().encode()) for kind in KINDS}
for plain in FRESH.values():
    plain.no_truncation()
    plain.no_padding()

texts = st.lists(st.sampled_from([*MARKS, " ", "\n", "<|", "|>", *WORDS[2].split()]), max_size=25).map("".join)


@pytest.mark.parametrize("kind", KINDS)
@given(text=texts)
def test_a_tokenizer_counts_what_it_encodes(kind: str, text: str) -> None:
    counter = COUNTERS[kind]
    assert counter.count(text) == len(FRESH[kind].encode(text, add_special_tokens=False).ids)
    assert (counter.exact, counter.method) == (True, "tokenizer")


@pytest.mark.parametrize("kind", KINDS)
@given(turns=st.lists(st.tuples(st.booleans(), texts), min_size=2, max_size=6))
def test_a_text_that_goes_on_or_turns_back_is_counted_as_if_it_were_new(
    kind: str, turns: list[tuple[bool, str]]
) -> None:
    text = ""
    for goes_on, added in turns:
        text = (text if goes_on else text[: len(text) // 2]) + added
        assert COUNTERS[kind].count(text) == len(FRESH[kind].encode(text, add_special_tokens=False).ids)


@pytest.mark.parametrize("kind", KINDS)
@given(turns=st.lists(st.tuples(st.integers(0, 9), st.lists(texts, max_size=4), texts), min_size=2, max_size=6))
def test_pieces_are_counted_as_the_text_they_make(kind: str, turns: list[tuple[int, list[str], str]]) -> None:
    """Whatever is cut where, and however much of the time before is taken back."""
    pieces: list[str] = []
    for back, added, end in turns:
        pieces = [*pieces[: max(0, len(pieces) - back)], *added]
        whole = "".join([*pieces, end])
        assert COUNTERS[kind].count_pieces([*pieces, end]) == len(
            FRESH[kind].encode(whole, add_special_tokens=False).ids
        )
        assert COUNTERS[kind].count_pieces(["", *pieces, end]) == COUNTERS[kind].count(whole)


class Spy:
    """A tokenizer that remembers what it was given to encode."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        self.tokenizer = tokenizer
        self.encoded: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self.tokenizer, name)

    def encode(self, text: str, **more: Any) -> Any:
        self.encoded.append(text)
        return self.tokenizer.encode(text, **more)


@pytest.mark.parametrize("in_pieces", [False, True], ids=["whole", "in pieces"])
def test_a_growing_conversation_costs_only_what_is_new(in_pieces: bool) -> None:
    spy = Spy(trained("bytes"))
    counter = TokenizerCounter(cast(Tokenizer, spy))
    turns = ["<|start|>system " + WORDS[0] * 200 + "<|end|>"] + [f"<|start|>user turn {n}<|end|>" for n in range(200)]
    for n in range(1, len(turns) + 1):
        _ = counter.count_pieces([*turns[:n], ""]) if in_pieces else counter.count("".join(turns[:n]))
    assert sum(map(len, spy.encoded)) <= len("".join(turns))


def test_a_conversation_that_turns_back_is_counted_from_what_is_left_of_it() -> None:
    spy = Spy(trained("bytes"))
    counter = TokenizerCounter(cast(Tokenizer, spy))
    turns = [f"<|start|>user {WORDS[0]} {n}<|end|>" for n in range(20)]
    for n in range(1, len(turns) + 1):
        counter.count_pieces([*turns[:n], "<|start|>"])
    spy.encoded.clear()
    counter.count_pieces([*turns[:15], "<|start|>other<|end|>", "<|start|>"])
    assert sum(map(len, spy.encoded)) < len(turns[0])


def test_the_memory_of_counts_is_bounded_and_keeps_what_is_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("anyclaude_lab.render.tokens._MEMO_ENTRIES", 10)
    spy = Spy(trained("bytes"))
    counter = TokenizerCounter(cast(Tokenizer, spy))
    for n in range(100):
        counter.count(f"<|end|>system<|end|>turn {n}")
    assert spy.encoded.count("<|end|>system") == 1
    counter.count("<|end|>turn 0")
    assert spy.encoded.count("<|end|>turn 0") == 2


def test_a_tokenizer_without_special_tokens() -> None:
    tokenizer = Tokenizer(models.WordLevel({"a": 0, "[?]": 1}, unk_token="[?]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    assert TokenizerCounter(tokenizer).count("a b a") == 3


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\x00", b'{"version": "1.0"}'])
def test_what_is_no_tokenizer_is_said_so(data: bytes) -> None:
    with pytest.raises(SettingsError, match=r"no tokenizer\.json"):
        from_tokenizer_json(data)


def test_characters_are_rounded_up_and_no_more_than_a_guess() -> None:
    counter = characters()
    assert [counter.count("x" * n) for n in (0, 1, 7, 8)] == [0, 1, 2, 3]
    assert (counter.exact, counter.method) == (False, "characters")


def test_reports_calibrate_a_counter() -> None:
    untaught = Calibration()
    once = untaught.learned("m", counted_tokens=1000, reported_tokens=1500)
    assert untaught.ratios == {}
    assert once.ratios == {"m": Ratio(1.5, 1)}
    assert [untaught.corrected("m", 1000), once.corrected("m", 1001), once.corrected("other", 1000)] == [
        1000,
        1502,
        1000,
    ]


def test_calibration_comes_close_to_what_is_reported_again_and_again() -> None:
    calibration = Calibration()
    for _ in range(20):
        calibration = calibration.learned("m", counted_tokens=1000, reported_tokens=1500)
    for _ in range(20):
        calibration = calibration.learned("m", counted_tokens=1000, reported_tokens=800)
    assert calibration.ratios["m"].value == pytest.approx(0.8, abs=0.01)
    assert calibration.ratios["m"].replies == 40


@pytest.mark.parametrize(("counted", "reported"), [(1000, None), (1000, 0), (50, 60), (10_000, 300), (300, 90_000)])
def test_a_report_that_teaches_nothing(counted: int, reported: int | None) -> None:
    assert Calibration().learned("m", counted_tokens=counted, reported_tokens=reported) == Calibration()


FRAMES = ChatTemplate(
    "{% for m in messages %}<|start|>{{ m.role }} {{ m.content }}<|end|>{% endfor %}"
    "{% for t in tools or [] %}{{ t | tojson }}{% endfor %}{{ 'thinking' if thinking_on else '' }}"
)
BODY: dict[str, Any] = {
    "messages": [{"role": "user", "content": "read a file"}, {"role": "assistant", "content": None}],
    "tools": [{"type": "function", "function": {"name": "read"}}],
}
IMAGE = {
    "role": "user",
    "content": [{"type": "text", "text": "read"}, {"type": "image_url", "image_url": {"url": "x" * 9999}}],
}


def test_a_request_is_counted_as_the_model_reads_it() -> None:
    counted = count_request(BODY, COUNTERS["bytes"], FRAMES)
    rendered = FRAMES.render(BODY["messages"], BODY["tools"])
    assert counted.tokens == len(FRESH["bytes"].encode(rendered, add_special_tokens=False).ids)
    assert (counted.exact, counted.method) == (True, "template and tokenizer")


def test_template_variables_of_the_body_count() -> None:
    thinking = BODY | {"chat_template_kwargs": {"thinking_on": True}}
    assert count_request(thinking, characters(), FRAMES).tokens > count_request(BODY, characters(), FRAMES).tokens


@pytest.mark.parametrize("template", [None, ChatTemplate("{{ raise_exception('no') }}")], ids=["none", "refusing"])
def test_without_a_template_the_count_is_a_guess(template: ChatTemplate | None) -> None:
    counted = count_request(BODY, COUNTERS["bytes"], template)
    assert not counted.exact
    assert counted.method == "tokenizer, without template"
    longer = BODY | {"messages": [*BODY["messages"], {"role": "user", "content": WORDS[0]}]}
    assert count_request(longer, COUNTERS["bytes"], template).tokens > counted.tokens
    assert count_request(BODY | {"tools": None}, COUNTERS["bytes"], template).tokens < counted.tokens


@pytest.mark.parametrize("template", [None, FRAMES], ids=["guessed", "rendered"])
def test_an_image_counts_by_the_piece_not_by_its_letters(template: ChatTemplate | None) -> None:
    text = {"messages": [IMAGE | {"content": IMAGE["content"][:1]}]}
    counted = count_request({"messages": [IMAGE]}, COUNTERS["bytes"], template)
    assert counted.tokens == count_request(text, COUNTERS["bytes"], template).tokens + MEDIA_TOKENS
    assert not counted.exact


def test_calls_and_reasoning_count_without_a_template() -> None:
    call = {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "read", "arguments": "{}"}}]}
    plain, thought = call | {"tool_calls": None}, call | {"reasoning_content": WORDS[1]}
    counts = [count_request({"messages": [m]}, characters(), None).tokens for m in (plain, call, thought)]
    assert counts == sorted(set(counts))
