"""Whatever a backend sends: the client sees a legal end in time, and no half tool call that it would run."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from anyclaude_lab.backends.http import Budgets
from anyclaude_lab.compose import composed
from anyclaude_lab.proxy.log import Log
from anyclaude_lab.proxy.server import Server
from anyclaude_lab.proxy.serving import Serving
from anyclaude_lab.settings import load_settings
from tests.reliability.streams import ENDS, GARBAGE, Answer, Seen, answers, ask, complaints, pieces, plays, same_calls
from tests.standins.faulty import FaultyBackend, Play
from tests.standins.http import DEADLINE_S
from tests.wire.test_openai_errors import REFUSALS, SEEN

SILENCE_S = 0.25
EXAMPLES = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))


class Stack:
    """A faulty backend behind the real proxy, in one event loop that stays between examples."""

    def __init__(self, home: Path) -> None:
        self.runner = asyncio.Runner()
        self._stop: asyncio.Event | None = None
        self.runner.run(self._start(home))

    async def _start(self, home: Path) -> None:
        (home / ".anyclauderc.json").write_text('{"circuitBreaker": {"enabled": false}}')
        self.backend = await FaultyBackend().__aenter__()
        chosen, _ = load_settings({}, {"LOCAL_URL": f"{self.backend.url}/v1"}, cwd=home, home=home)
        self._parts = composed(chosen, state_folder=home)
        parts = await self._parts.__aenter__()
        leg: Any = parts.variant.backend
        self._leg = leg._leg
        self._leg.budgets = Budgets(silence_s=SILENCE_S, prompt_token_s=0)
        self.serving = Serving(chosen, parts.variant, Log(), commit_s=0.1, ping_s=0.1)
        self.server = Server(self.serving)
        url = await self.server.start("127.0.0.1", 0)
        self.http = httpx.AsyncClient(base_url=url, timeout=DEADLINE_S, trust_env=False)

    async def _end(self) -> None:
        await self.http.aclose()
        await self.server.stop()
        await self._parts.__aexit__(None, None, None)
        await self.backend.__aexit__()

    def close(self) -> None:
        self.runner.run(self._end())
        self.runner.close()

    @contextmanager
    def patience(self, silence_s: float) -> Iterator[None]:
        """Where every answer must come through, a busy machine is no silent backend."""
        before, self._leg.budgets = self._leg.budgets, Budgets(silence_s=silence_s)
        try:
            yield
        finally:
            self._leg.budgets = before

    def see(self, play: Play, **changes: Any) -> Seen:
        self.backend.play = play
        return self.runner.run(ask(self.http, **changes))

    def run(self, work: Callable[[], Awaitable[Any]]) -> Any:
        async def wrapped() -> Any:
            return await work()

        return self.runner.run(wrapped())

    @property
    def violations(self) -> float:
        """Illegal events that the proxy itself counted in what it made."""
        value = self.serving.metrics.registry.get_sample_value(
            "anyclaude_sse_grammar_violations_total", {"origin": "translated"}
        )
        return value or 0.0


@pytest.fixture(scope="module")
def stack(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stack]:
    built = Stack(tmp_path_factory.mktemp("stack"))
    yield built
    built.close()


@pytest.mark.parametrize("foreign", GARBAGE)
def test_garbage_between_two_pieces_of_text_is_survived(stack: Stack, foreign: bytes) -> None:
    text = b'data: {"choices": [{"index": 0, "delta": {"content": "text"}}]}\n\n'
    for play in (Play((text, foreign, text)), Play((foreign,)), Play((text, foreign), end="reset")):
        assert complaints(stack.see(play)) == []
    assert stack.violations == 0


@given(play=plays(), stream=st.booleans())
@EXAMPLES
def test_any_bytes_come_to_a_legal_end(stack: Stack, play: Play, stream: bool) -> None:
    seen = stack.see(play, stream=stream)
    assert complaints(seen, stream=stream) == []
    assert stack.violations == 0


@given(data=st.data(), answer=answers(), end=ENDS)
@EXAMPLES
def test_a_call_that_was_cut_is_never_runnable(stack: Stack, data: st.DataObject, answer: Answer, end: Any) -> None:
    cut = data.draw(st.integers(0, len(answer.data)))
    play = Play(data.draw(pieces(answer.data[:cut])), whole=data.draw(st.booleans()), end=end)
    seen = stack.see(play)
    assert complaints(seen) == []
    if seen.status == 200:
        assert same_calls(seen.runnable(), answer.calls)


@given(answer=answers(), data=st.data())
@settings(EXAMPLES, max_examples=60)
def test_a_whole_answer_comes_through_however_it_is_cut_up(stack: Stack, answer: Answer, data: st.DataObject) -> None:
    with stack.patience(DEADLINE_S):
        seen = stack.see(Play(data.draw(pieces(answer.data))))
    assert complaints(seen) == []
    assert seen.status == 200 and seen.complete
    assert same_calls(seen.runnable(), answer.calls) and len(seen.runnable()) == len(answer.calls)


@given(head=st.binary(max_size=200), end=ENDS)
@example(head=b"", end="reset")
@example(head=b"HTTP/1.1 200 OK\r\n", end="stall")
@example(head=b"HTTP/1.1 999999 X\r\n\r\n", end="close")
@example(head=b"HTTP/1.1 100 Continue\r\n\r\n" * 50, end="close")
@example(head=b"HTTP/1.1 101 Switching\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n", end="stall")
@example(head=b"HTTP/1.1 204 No\r\n\r\n", end="close")
@example(head=b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\n\r\nnot gzip", end="close")
@example(head=b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\ncontent-length: 6\r\n\r\n", end="close")
@example(head=b"HTTP/1.1 200 OK\r\nx: " + b"y" * 100_000 + b"\r\n\r\n", end="close")
@settings(EXAMPLES, max_examples=60)
def test_any_head_is_survived(stack: Stack, head: bytes, end: Any) -> None:
    assert complaints(stack.see(Play(head=head, whole=False, end=end))) == []


BODIES = {f"{name}": (status, body) for name, (_, status, body, _) in REFUSALS.items()}
BODIES |= {f"overflow, {seen['case']}": (seen["status"], seen["body"].encode()) for seen in SEEN["overflow"]}


@pytest.mark.parametrize("case", BODIES)
def test_a_real_servers_refusal_stays_one_however_it_is_cut(
    stack: Stack, monkeypatch: pytest.MonkeyPatch, case: str
) -> None:
    monkeypatch.setattr(stack.serving, "commit_s", 10.0)
    status, body = BODIES[case]
    whole = stack.see(Play((body,), status, (("content-type", "application/json"),)))
    assert whole.status >= 400 and complaints(whole) == []
    for cut in {0, 1, len(body) // 2, max(len(body) - 1, 0)}:
        for end in ("close", "reset"):
            play = Play((body[:cut],), status, framing="length", length_off=len(body) - cut, end=end)
            seen = stack.see(play)
            assert seen.status >= 400 and complaints(seen) == []


def test_two_hundred_faults_at_once_leave_nothing_behind(stack: Stack) -> None:
    """No task, no connection to the backend, no answer that is still being given."""

    async def storm() -> int:
        before = len(asyncio.all_tasks())
        text = b'data: {"choices": [{"index": 0, "delta": {"content": "some text"}}]}\n\n' * 5
        faults = [Play((text,), whole=False, end=end) for end in ("close", "reset", "stall")]
        for fault in faults:
            stack.backend.play = fault
            seen = await asyncio.gather(*(ask(stack.http) for _ in range(70)))
            assert [complaints(one) for one in seen] == [[]] * 70
        async with asyncio.timeout(DEADLINE_S):
            while stack.backend.open or stack.serving.joins._given or len(asyncio.all_tasks()) > before:
                await asyncio.sleep(0.02)
        return len(asyncio.all_tasks()) - before

    assert stack.run(storm) <= 0


def test_the_judge_would_see_a_half_call() -> None:
    opening = {"type": "content_block_start", "index": 0, "content_block": {"type": "tool_use", "name": "Bash"}}
    half = {"type": "content_block_delta", "index": 0, "delta": {"type": "input_json_delta", "partial_json": '{"pa'}}
    body = b"".join(
        f"event: {data['type']}\ndata: {json.dumps(data)}\n\n".encode()
        for data in (opening, half, {"type": "content_block_stop", "index": 0})
    )
    assert complaints(Seen(200, body, complete=False)) != []
    assert complaints(Seen(200, b"", complete=True)) != []
    assert complaints(Seen(502, b"<html>", complete=True)) != []
