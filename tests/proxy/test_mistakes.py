"""What a person or a program can get wrong around the proxy: one sentence, a code, no stack trace."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import pytest

from anyclaude_lab.errors import BackendUnavailable
from anyclaude_lab.proxy import __main__ as program
from tests.proxy.conftest import StartProxy
from tests.standins.openai_api import OpenAIStandIn


def the_sentence(capsys: pytest.CaptureFixture[str]) -> str:
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("anyclaude: ")
    return line


def test_a_current_folder_that_is_gone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    assert program.main(["--proxy-only"]) == 2
    assert "current folder" in the_sentence(capsys)


def test_a_home_that_is_no_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    home = tmp_path / "home"
    home.write_text("no folder")
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    spec = SimpleNamespace(engine="anyclaude", fingerprint="0" * 64)
    monkeypatch.setattr("anyclaude_lab.engine.own_server.own_server", lambda *_, **__: spec)
    model = tmp_path / "model"
    model.mkdir()
    assert program.main(["--proxy-only", "--port", "0", "--model", str(model)]) == 2
    assert str(home) in the_sentence(capsys)


def test_a_backend_that_fails_before_anything_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def fail(*_: object) -> int:
        raise BackendUnavailable("nobody is there")

    monkeypatch.setattr(program, "_run", fail)
    assert program.main([]) == 4
    assert "nobody is there" in the_sentence(capsys)


async def test_a_body_that_is_not_packed_as_its_header_says(start: StartProxy) -> None:
    async with OpenAIStandIn([]) as backend:
        proxy = await start(backend.url)
        refused = await proxy.http.post("/v1/messages", content=b"no gzip", headers={"content-encoding": "gzip"})
        assert (refused.status_code, refused.json()["error"]["type"]) == (400, "invalid_request_error")
        assert "gzip" in refused.json()["error"]["message"]
