"""The page as a fold over the news: what runs, what is over, which lane lost its prefix, what was taken out."""

from __future__ import annotations

from typing import Any

import pytest

from anyclaude_lab.views import page
from anyclaude_lab.views.figures import UNKNOWN
from anyclaude_lab.views.lanes import Lane
from anyclaude_lab.views.live import Live
from anyclaude_lab.views.requests import Split, row
from anyclaude_lab.wire.events import JsonObject
from tests.views.test_html import Seen

HOSTILE = "<script>alert(1)</script>"


def over(number: int = 1, **more: Any) -> JsonObject:
    """A finished request as the feed tells it."""
    return {"kind": "finished", "id": str(number), "at": 0.0, "lane": "s/a", "model": "m", "status": 200, **more}


def seen(*items: JsonObject) -> Live:
    live = Live()
    for item in items:
        live.see(item)
    return live


def text(live: Live, part: str) -> str:
    return Seen(live.parts()[part]()).text


def test_a_request_goes_from_asked_over_prefill_to_answering_and_leaves() -> None:
    live = seen({"kind": "started", "id": "1", "at": 0.0, "lane": "s/a", "model": "m", "estimated_prompt_tokens": 1200})
    assert "waiting for the backend" in text(live, "running") and "about 1,200 tokens" in text(live, "running")
    live.see({"kind": "prefill", "id": "1", "done": 512, "total": 2048})
    assert "512 of 2,048 tokens" in text(live, "running")
    live.see({"kind": "answering", "id": "1"})
    assert "answering" in text(live, "running")
    assert live.see(over(1)) >= {"running", "figures"}
    assert "Nothing runs" in text(live, "running")


def test_news_of_a_request_that_nobody_saw_begin_are_no_error() -> None:
    live = seen({"kind": "prefill", "id": "9", "done": 1, "total": 2}, {"kind": "answering", "id": "9"})
    assert not live.running


@pytest.mark.parametrize("part", ["figures", "running", "lanes", "removed", "errors"])
def test_every_part_of_an_empty_page_says_something(part: str) -> None:
    assert text(Live(), part).strip()


def test_errors_are_shown_with_their_hint_the_latest_first() -> None:
    failed = {"kind": "failed", "id": "2", "at": 0.0, "status": 400, "error": "no JSON", "hint": None}
    live = seen(over(1, status=529, error="it is down", hint="start it"), failed)
    shown = text(live, "errors")
    assert shown.index("no JSON") < shown.index("it is down") < shown.index("start it")
    assert (live.over, live.failed) == (2, 2)


def test_a_client_that_left_is_no_failure() -> None:
    live = seen(over(1, status=499))
    assert live.failed == 0 and "client left" in Seen(row(over(1, status=499))).text


def test_what_is_not_known_is_a_dash_and_never_a_zero() -> None:
    shown = Seen(row(over(1))).text
    assert "0" not in shown.replace("00:00:00", "") and UNKNOWN in shown
    assert text(seen(over(1, prompt_tokens=5)), "figures").count(UNKNOWN) == 2  # reuse, first token


def test_nothing_of_a_request_becomes_html() -> None:
    item = over(1, agent=HOSTILE, model=HOSTILE, error=HOSTILE, hint=HOSTILE, session=HOSTILE, tools=[HOSTILE])
    live = seen({**item, "kind": "started"})
    pieces = [live.parts()["running"]()]
    live.see({**item, "removed_characters": {HOSTILE: 5}})
    pieces += [part() for part in live.parts().values()] + [row(item)]
    pieces.append(page.backend({"name": HOSTILE, "url": HOSTILE, "nodes": [{"name": HOSTILE}]}, None, HOSTILE))
    pieces.append(page.setup(HOSTILE, {"X": HOSTILE}, [HOSTILE]))
    assert all("<script" not in piece for piece in pieces)
    assert all("style=" not in piece and "onclick" not in piece for piece in pieces)


# --- where the time went ---


@pytest.mark.parametrize(
    ("facts", "words"),
    [
        ({"queue_s": 0.1, "ttft_s": 0.6, "total_s": 2.0}, "queue 0.10 s, prefill 0.50 s, decode 1.40 s"),
        ({"ttft_s": 0.6, "total_s": 2.0}, "queue and prefill 0.60 s, decode 1.40 s"),
        ({"queue_s": 0.1, "total_s": 2.0}, "queue 0.10 s"),
        ({"total_s": 2.0}, ""),
    ],
)
def test_the_split_says_what_is_known_and_no_more(facts: JsonObject, words: str) -> None:
    assert Split.of(facts).words() == words


# --- lanes ---


def lane(*requests: tuple[int, int | None, str | None]) -> Lane:
    """A lane after requests of (prompt tokens, cached tokens, what changed)."""
    made = Lane("s/a")
    for prompt, cached, change in requests:
        made.see(over(prompt_tokens=prompt, cached_tokens=cached, prefix_change=change))
    return made


def test_a_lane_that_keeps_its_prefix_is_not_broken() -> None:
    kept = lane((18_000, 0, None), (18_400, 17_990, None), (19_000, 18_300, None))
    assert kept.broken is None
    assert kept.cached_tokens / kept.reported_tokens == pytest.approx(36_290 / 55_400)


def test_a_break_names_its_cause_and_its_price() -> None:
    broken = lane((18_000, 0, None), (18_400, 1_000, "tools changed (Read added)"), (18_800, 18_390, None)).broken
    assert broken is not None
    assert broken.words() == (
        "request 2: tools changed (Read added); kept 1,000 of 18,000 tokens, 17,000 computed anew"
    )


def test_a_cache_that_went_away_by_itself_is_blamed_on_the_backend() -> None:
    broken = lane((18_000, 0, None), (18_400, 0, None)).broken
    assert broken is not None and "the backend had dropped it" in broken.words()


def test_a_shorter_prompt_can_keep_no_more_than_itself() -> None:
    assert lane((18_000, 0, None), (4_000, 3_900, "the history was cut")).broken is None


def test_a_backend_that_reports_no_cache_is_not_blamed() -> None:
    silent = lane((18_000, None, None), (18_400, None, "tools changed"))
    assert silent.broken is None
    assert "does not report its cache" in Seen(silent.row()).text


# --- what prompt work took out ---


def test_tokens_taken_out_follow_the_density_of_each_prompt() -> None:
    live = seen(
        over(1, removed_characters={"billing": 400}, sent_characters=8_000, prompt_tokens=2_000),
        over(2, removed_characters={"billing": 400}, sent_characters=8_000, estimated_prompt_tokens=4_000),
        over(3, removed_characters={"tools": 4_000}),
    )
    assert live.removed["billing"].tokens == 300 and live.removed["billing"].characters == 800
    shown = text(live, "removed")
    assert "~300 tokens in 2 requests" in shown and "4,000 characters in 1 request" in shown
    assert shown.index("tools") < shown.index("billing")


# --- what answers ---


def test_a_cluster_shows_every_node_and_what_ails_it() -> None:
    nodes = [
        {"name": "a", "state": "up", "in_flight": 1, "requests": 9, "errors": 0, "last_error": None},
        {"name": "b", "state": "down", "in_flight": 0, "requests": 4, "errors": 2, "last_error": "no route"},
        {
            "name": "c",
            "state": "draining",
            "in_flight": 1,
            "queued_tokens": 1200,
            "requests": 1,
            "errors": 0,
            "latency_s": 0.5,
            "cached_share": 0.75,
            "last_choice": "it was its turn",
        },
    ]
    shown = Seen(page.backend({"name": "cluster", "nodes": nodes}, None, None)).text
    assert "upa1 running, 9 requests" in shown
    assert "downb0 running, 4 requests, 50 % failed" in shown and "no route" in shown
    assert "drainingc1 running, 1,200 tokens to compute, 1 request" in shown
    assert "first token after 0.50 s, 75 % of prompts from its cache" in shown
    assert "because: it was its turn" in shown


def test_the_breaker_says_when_it_asks_again() -> None:
    snapshot = {
        "state": "OPEN",
        "nextAttemptSeconds": 12,
        "successesTotal": 1,
        "failuresTotal": 5,
        "p50LatencyMs": 20.0,
    }
    shown = Seen(page.backend({"name": "x"}, snapshot, None)).text
    assert "next attempt within 12.0 s" in shown and "5 of 6 requests" in shown and "0.02 s" in shown
    assert "breaker open" in Seen(page.state("local", "x", None, snapshot)).text
