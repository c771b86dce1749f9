"""Whatever a prompt starts from, the answer is the one it gets from nothing; and nothing is computed twice."""

from __future__ import annotations

import hashlib
import json
import random
import threading
from pathlib import Path

import pytest

from anyclaude_lab.engine.serve.job import Failure, Progress, Text
from anyclaude_lab.engine.serve.model import LoadedModel
from anyclaude_lab.engine.serve.sampling import Sampling
from tests.engine.serve.bench import EngineBench, engine

pytestmark = pytest.mark.engine


def ids(seed: int, count: int) -> list[int]:
    chosen = random.Random(seed)
    return [chosen.randrange(256) for _ in range(count)]


HEAD = ids(0, 300)
FIRST = HEAD + ids(1, 100)


def cold(loaded: LoadedModel, prompt: list[int]) -> str:
    with engine(loaded) as bench:
        answer = bench.answer(prompt)
        assert answer.cached == 0
        return answer.text


def follow_up(bench: EngineBench, prompt: list[int], **options: int) -> list[int]:
    """A second turn behind the very tokens that answered the first."""
    asked = bench.ask(prompt, **options)
    asked.answer()
    return [*prompt, *asked.job.fed, *ids(2, 40)]


def test_a_turn_that_goes_on_computes_only_what_is_new(loaded: LoadedModel) -> None:
    with engine(loaded) as bench:
        second = follow_up(bench, FIRST, head=300, turn=400)
        answer = bench.answer(second, head=300, turn=430)
        assert answer.cached >= len(FIRST)
    assert answer.text == cold(loaded, second)


def test_sessions_with_one_head_share_it(loaded: LoadedModel) -> None:
    other = HEAD + ids(3, 80)
    with engine(loaded) as bench:
        bench.answer(FIRST, head=300, turn=380)
        answer = bench.answer(other, head=300, turn=370)
        assert answer.cached == 300
        again = bench.answer(FIRST, head=300, turn=380)
        assert again.cached >= 380
    assert answer.text == cold(loaded, other)
    assert again.text == cold(loaded, FIRST)


def test_history_that_was_edited_is_computed_from_the_edit_on(plain: LoadedModel) -> None:
    edited = FIRST[:350] + ids(4, 60)
    with engine(plain) as bench:
        bench.answer(FIRST)
        answer = bench.answer(edited)
        assert answer.cached == 350
        assert bench.answer(FIRST).cached == len(FIRST) - 1
    assert answer.text == cold(plain, edited)


def test_a_rotating_layer_is_cut_as_long_as_it_is_not_full(models: dict[str, LoadedModel]) -> None:
    first, edited = FIRST[:40], [*FIRST[:30], *ids(13, 12)]
    with engine(models["window"]) as bench:
        bench.answer(first, max_tokens=2)
        answer = bench.answer(edited)
    assert answer.cached == 30
    assert answer.text == cold(models["window"], edited)


def test_the_same_prompt_again_computes_one_token(plain: LoadedModel) -> None:
    with engine(plain) as bench:
        first, again = bench.answer(FIRST), bench.answer(FIRST)
    assert again.cached == len(FIRST) - 1
    assert again.text == first.text


@pytest.mark.parametrize("bits", [None, 16, 8])
def test_a_head_from_disk_serves_the_first_request_of_the_next_process(
    loaded: LoadedModel, tmp_path: Path, bits: int | None
) -> None:
    with engine(loaded, disk=tmp_path, bits=bits) as bench:
        bench.answer(FIRST, head=300, turn=380)
    other = HEAD + ids(5, 80)
    with engine(loaded, disk=tmp_path, bits=bits) as bench:
        answer = bench.answer(other, head=300, turn=370)
        assert bench.scheduler.store.from_disk == 1
    assert answer.cached == 300
    assert answer.text == cold(loaded, other)


@pytest.mark.parametrize("warm", [False, True])
def test_the_state_of_something_else_is_never_used(plain: LoadedModel, tmp_path: Path, warm: bool) -> None:
    """A whole file with the right checksum, of another prefix: only who meddles can make one."""
    with engine(plain, disk=tmp_path) as bench:
        bench.answer(FIRST, head=300)
        bench.answer(ids(9, 400), head=300)
    one, other = sorted(tmp_path.glob("*/*.safetensors"))
    one.write_bytes(other.read_bytes())
    for card in (one, other):
        about = json.loads(card.with_suffix(".json").read_text())
        about["sha256"] = hashlib.sha256(card.read_bytes()).hexdigest()
        card.with_suffix(".json").write_text(json.dumps(about))
    with engine(plain, disk=tmp_path) as bench:
        assert bench.scheduler.store.warm() == 1 if warm else True
        texts = {tuple(prompt): bench.answer(list(prompt), head=300).text for prompt in (FIRST, ids(9, 400))}
        assert bench.scheduler.store.folder is not None
        assert bench.scheduler.store.folder.removed_broken == 1
    assert texts == {prompt: cold(plain, list(prompt)) for prompt in texts}


def test_warmed_heads_are_in_memory_before_the_first_request(loaded: LoadedModel, tmp_path: Path) -> None:
    with engine(loaded, disk=tmp_path) as bench:
        bench.answer(FIRST, head=300)
    with engine(loaded, disk=tmp_path) as bench:
        assert bench.scheduler.store.warm() == 1
        assert bench.answer(FIRST, head=300).cached == 300
        assert bench.scheduler.store.from_disk == 0


def test_side_calls_and_other_conversations_between_the_steps_change_nothing(loaded: LoadedModel) -> None:
    prompts = [FIRST, ids(6, 200), HEAD + ids(7, 50), ids(8, 40)]
    alone = [cold(loaded, prompt) for prompt in prompts]
    with engine(loaded, step_tokens=16) as bench:
        asked = [bench.ask(prompt, head=300 if len(prompt) > 300 else 0) for prompt in prompts]
        assert [each.answer().text for each in asked] == alone


def test_a_short_prompt_waits_for_one_step_of_a_long_one(plain: LoadedModel) -> None:
    order: list[str] = []
    arrive = threading.Event()
    with engine(plain, step_tokens=16) as bench:

        def long_told(told: object) -> None:
            order.append("long")
            if isinstance(told, Progress) and told.done == 160:
                arrive.set()
                assert short_is_in.wait(120)

        short_is_in = threading.Event()
        long = bench.ask(ids(9, 800), on=long_told)
        assert arrive.wait(120)
        before = len(order)
        short = bench.ask(ids(10, 10), max_tokens=1, on=lambda told: order.append("short"))
        short_is_in.set()
        short.answer()
        long.answer()
    steps = order[before:]
    assert steps.index("short") == 0  # it began before the long prompt's next step
    assert "long" not in steps[: steps.index("long")]
    assert steps.count("short") == len(short.seen)
    assert max(i for i, who in enumerate(steps) if who == "short") <= len(short.seen) + 1


def test_parallel_agents_compute_their_common_head_once(loaded: LoadedModel) -> None:
    prompts = [HEAD + ids(20 + agent, 60) for agent in range(4)]
    with engine(loaded, step_tokens=16) as bench:
        asked = [bench.ask(prompt, head=300, turn=350) for prompt in prompts]
        answers = [each.answer() for each in asked]
        assert [answer.cached for answer in answers] == [0, 300, 300, 300]
        assert bench.scheduler.figures.shared == 3
    assert [answer.text for answer in answers] == [cold(loaded, prompt) for prompt in prompts]


def test_those_who_waited_for_a_cancelled_job_go_on_from_where_it_was(plain: LoadedModel) -> None:
    prompts = [HEAD + ids(30 + agent, 60) for agent in range(2)]
    with engine(plain, step_tokens=16) as bench:

        def cancel(told: object) -> None:
            if isinstance(told, Progress) and told.done >= 160:
                first.job.cancelled = True

        first = bench.ask(prompts[0], on=cancel)
        second = bench.ask(prompts[1])
        answer = second.answer()
    assert answer.cached == 160
    assert answer.text == cold(plain, prompts[1])


@pytest.mark.parametrize("share", [0.2, 0.8])
def test_a_retry_goes_on_where_the_client_left(plain: LoadedModel, share: float) -> None:
    stop_at = int(share * len(FIRST))
    with engine(plain, step_tokens=16) as bench:

        def leave(told: object) -> None:
            if isinstance(told, Progress) and told.done >= stop_at:
                asked.job.cancelled = True

        asked = bench.ask(FIRST, on=leave)
        retry = bench.ask(FIRST)
        answer = retry.answer()
        assert stop_at <= answer.cached < stop_at + 32
    assert max(seen.done for seen in _progress(asked)) < stop_at + 16  # it stopped within one step
    assert answer.text == cold(plain, FIRST)


def test_a_client_that_leaves_while_it_is_answered_ends_the_answer(plain: LoadedModel) -> None:
    with engine(plain) as bench:

        def leave(told: object) -> None:
            if isinstance(told, Text):
                asked.job.cancelled = True

        asked = bench.ask(FIRST, on=leave, max_tokens=10_000)
        bench.answer(ids(11, 5))
        bench.answer(ids(12, 5))
    assert asked.job.output < 100
    assert bench.scheduler.figures.cancelled == 1


def test_a_seed_gives_the_same_answer_whatever_runs_beside_it(plain: LoadedModel) -> None:
    sampling = Sampling(temperature=1.0, top_p=0.9, top_k=50, min_p=0.01, seed=7)
    with engine(plain) as bench:
        alone = bench.answer(FIRST, sampling=sampling).text
        noise = [bench.ask(ids(seed, 50), sampling=Sampling(temperature=1.0)) for seed in range(3)]
        beside = bench.answer(FIRST, sampling=sampling).text
        assert beside == alone
        assert bench.answer(FIRST, sampling=Sampling(temperature=1.0, seed=8)).text != alone
        for each in noise:
            each.answer()


def test_stop_strings_end_the_answer_before_them(plain: LoadedModel) -> None:
    with engine(plain) as bench:
        whole = bench.answer(FIRST, max_tokens=24).text
        stop = whole[6:9]
        answer = bench.answer(FIRST, max_tokens=24, stops=(stop,))
    assert (answer.finish.reason, answer.finish.stop) == ("stop", stop)
    assert answer.text == whole[: whole.index(stop)]


def test_a_banned_token_never_comes(plain: LoadedModel) -> None:
    with engine(plain) as bench:
        free = bench.ask(FIRST)
        free.answer()
        banned = bench.ask(FIRST, banned=tuple(set(free.job.fed)))
        banned.answer()
    assert not set(free.job.fed) & set(banned.job.fed)


def test_length_ends_an_answer_that_goes_on(plain: LoadedModel) -> None:
    with engine(plain) as bench:
        finish = bench.answer(FIRST, max_tokens=3).finish
    assert (finish.reason, finish.output_tokens, finish.prompt_tokens) == ("length", 3, len(FIRST))


def test_a_failure_ends_its_own_request_and_no_other(plain: LoadedModel) -> None:
    with engine(plain) as bench:
        broken = bench.ask(FIRST, sampling=None)
        asked = bench.ask(FIRST)
        while not isinstance(told := broken.next(), Failure):
            pass
        assert "AttributeError" in told.error.message
        answer = asked.answer()
    assert answer.text == cold(plain, FIRST)


def test_side_calls_leave_the_conversation_warm_in_a_tight_budget(plain: LoadedModel) -> None:
    with engine(plain) as bench:
        bench.answer(FIRST)
        budget = 2 * bench.scheduler.store.index.size_bytes
    with engine(plain, budget_bytes=budget) as bench:
        prompt = FIRST
        for call in range(15):
            bench.answer(ids(100 + call, 50), side=True, max_tokens=1)
            assert bench.scheduler.store.index.size_bytes <= budget
        bench.answer(prompt)
        for call in range(15):
            bench.answer(ids(200 + call, 50), side=True, max_tokens=1)
        assert bench.answer(prompt).cached == len(prompt) - 1
        assert bench.scheduler.store.index.dropped_for_room > 0


def test_a_turn_that_comes_back_as_other_tokens_is_reported(plain: LoadedModel) -> None:
    with engine(plain) as bench:
        asked = bench.ask(FIRST)
        asked.answer()
        bench.answer([*FIRST, *asked.job.fed[:3], *ids(12, 50)])
        trips = bench.scheduler.store.round_trips
        assert (trips.turns, trips.diverged) == (1, 1)
        assert trips.tokens_lost == len(asked.job.fed) - 3


def _progress(asked: object) -> list[Progress]:
    told = asked.told  # type: ignore[attr-defined]  # the test's own field
    found = []
    while not told.empty():
        found.append(told.get())
    return [each for each in found if isinstance(each, Progress)]
