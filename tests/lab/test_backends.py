"""Replay through the backends of the proxy, each against a stand-in: the request, the answer, the refusal."""

from __future__ import annotations

from base64 import b64encode
from pathlib import Path

import pytest

import anyclaude_lab as lab
from anyclaude_lab.lab.load import Traces
from anyclaude_lab.lab.metrics.fidelity import RUNGS
from anyclaude_lab.lab.report import notes
from anyclaude_lab.lab.run import Run
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.http import running
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import Refusal, Reply, ToolCall, reply
from tests.trace.record_sessions import BUNDLED

READ_INPUT = {"file_path": "/srv/basket/basket.py"}
READ = reply(ToolCall("Read", READ_INPUT))
TEXT = reply("It divides by zero.")


@pytest.fixture(scope="module")
def traces() -> Traces:
    found: Traces = lab.load(BUNDLED / "short-fix.jsonl")
    return found


def test_a_local_server_is_asked_in_its_dialect_and_judged(traces: Traces) -> None:
    with running(OpenAIStandIn([READ, READ], profile="mlx-lm")) as server:
        local = lab.variant("local", backend=f"mlx={server.url}/v1", stub_tools=True, temperature=0.0)
        run = lab.replay(traces, [local], progress=False, turns_per_session=2)
        asked = [chat.json for chat in server.chats]
    assert list(run.turns["failure"].fillna("agrees")) == ["agrees", "spurious_call"]
    assert run.turns["prompt_tokens"].notna().all()
    assert run.turns["rendered_tokens"].isna().all(), "whose tokenizer it has is not known"
    assert asked[0]["temperature"] == 0.0
    assert all(chat["messages"][0]["content"].startswith("[") for chat in asked), "the nonce of the arm"
    assert server.violations == []


def test_the_password_of_an_address_is_used_and_written_nowhere(traces: Traces, tmp_path: Path) -> None:
    with running(OpenAIStandIn([READ], profile="mlx-lm")) as server:
        address = server.url.replace("//", "//me:pass-83b1@")
        local = lab.variant("local", backend=f"mlx={address}/v1")
        run = lab.replay(traces, [local], progress=False, turns_per_session=1, out=tmp_path)
        asked = server.posts("/v1/chat/completions")
    assert asked[0].header("authorization") == "Basic " + b64encode(b"me:pass-83b1").decode()
    written = [file.read_text() for file in tmp_path.iterdir()]
    assert len(written) >= 2
    assert not any("pass-83b1" in text for text in [*written, repr(local), repr(run), str(run.turns.to_dict())])


@pytest.mark.parametrize(
    ("turn", "said", "rung", "failure"),
    [
        (0, TEXT, "trigger", "missed_call"),
        (0, reply(ToolCall("Bash", {"command": "ls"})), "name", "wrong_tool"),
        (0, reply(ToolCall("Read", {"file_path": "/srv/basket/other.py"})), "values", "value"),
        (0, reply(ToolCall("Read", READ_INPUT | {"limit": 5})), "keys", "extra_argument"),
        (0, reply('<tool_call>{"name": "Read", "arguments": {"file'), "parseable", "unparsed"),
        (4, READ, "trigger", "spurious_call"),
    ],
)
def test_a_server_that_behaves_otherwise_is_found_on_the_right_rung(
    traces: Traces, turn: int, said: Reply, rung: str, failure: str
) -> None:
    with running(OpenAIStandIn([*[TEXT] * turn, said], profile="mlx-lm")) as server:
        changed = lab.variant("changed", backend=f"mlx={server.url}/v1")
        run = lab.replay(traces, [changed], progress=False, turns_per_session=turn + 1)
    row = run.turns.iloc[turn]
    assert (RUNGS[row["failed_rung"]], row["failure"]) == (rung, failure)


def test_the_api_gets_the_recorded_request_for_another_model(traces: Traces, monkeypatch: pytest.MonkeyPatch) -> None:
    with running(AnthropicStandIn([READ, TEXT])) as api:
        monkeypatch.setenv("ANYCLAUDE_CLAUDE_URL", api.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-api03-test")
        claude = lab.variant("claude", backend="claude=claude-other", max_tokens=50)
        run = lab.replay(traces, [claude], progress=False, turns_per_session=2)
        asked = [post.json for post in api.posts("/v1/messages")]
    assert run.turns["error"].isna().all(), list(run.turns["error"])
    assert run.turns["fidelity"].dropna().eq(1.0).all()
    assert [body["model"] for body in asked] == ["claude-other"] * 2
    assert [body["max_tokens"] for body in asked] == [50] * 2
    assert asked[0]["system"][0]["text"].startswith("You repair"), "nothing of ours in it"
    assert run.turns["prompt_tokens_cached"].notna().all()


@pytest.mark.parametrize(("status", "said"), [(401, "no such key"), (529, "Overloaded")])
def test_a_refusal_is_a_row_and_the_rest_goes_on(
    traces: Traces, monkeypatch: pytest.MonkeyPatch, status: int, said: str
) -> None:
    with running(AnthropicStandIn([Refusal(status, said), TEXT])) as api:
        monkeypatch.setenv("ANYCLAUDE_CLAUDE_URL", api.url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-ant-api03-test")
        run = lab.replay(traces, [lab.variant("c", backend="claude=m")], progress=False, turns_per_session=2)
    assert said in run.turns["error"].iloc[0]
    foreign = Run(run.head, [cell | {"error": f"{said}\x1b]0;x\n"} for cell in run.cells])
    assert all(note.isprintable() for note in notes(foreign)), "the words of somebody's results steer no terminal"
    assert list(run.turns["error"].isna()) == [False, True]
