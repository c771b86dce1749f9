"""What a person or a program can get wrong around the proxy: one sentence, a code, no stack trace."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from functools import partial
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


@pytest.fixture
def home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A home folder, and another current folder, with nothing in them."""
    home, project = tmp_path / "home", tmp_path / "project"
    home.mkdir()
    project.mkdir()
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("USERPROFILE", str(home))
    monkeypatch.chdir(project)
    return home


@pytest.mark.parametrize("model", ["m" * 300, f"/{'m' * 300}", "m/" * 3000])
def test_a_model_whose_name_is_too_long(home: Path, model: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["--proxy-only", "--port", "0", "--model", model]) == 2
    sentence = the_sentence(capsys)
    assert "cannot be looked up" in sentence and len(sentence) < 200


def test_an_address_that_is_no_name(
    home: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("LOCAL_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("anyclaude_lab.proxy.__main__.os.environ", os.environ | {"ANYCLAUDE_HOST": "half\udcff"})
    assert program.main(["--proxy-only", "--port", "0"]) == 2
    assert "no host name" in capsys.readouterr().err.splitlines()[-1]


def test_a_projects_file_that_names_a_user_nobody_knows(home: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path(".anyclauderc.json").write_text('{"record": "~somebody-unknown/traces"}')
    assert program.main(["--proxy-only", "--port", "0"]) == 2
    assert "outside of the project" in the_sentence(capsys)


def test_a_user_without_a_home(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    def unknown() -> Path:
        raise RuntimeError("Could not determine home directory.")

    monkeypatch.setattr(Path, "home", unknown)
    assert program.main(["--proxy-only", "--port", "0"]) == 2
    assert "set HOME" in the_sentence(capsys)


def test_it_may_be_ended_as_soon_as_it_says_that_it_runs(
    home: Path, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    def too_early(*_: object) -> None:
        raise AssertionError("SIGTERM came before anybody minded it")

    for name in {"SIGINT", "SIGTERM", "SIGHUP"} & set(dir(signal)):  # the program takes them, and here it does not end
        number = getattr(signal, name)
        request.addfinalizer(partial(signal.signal, number, signal.getsignal(number)))
    signal.signal(signal.SIGTERM, too_early)
    monkeypatch.setenv("LOCAL_URL", "http://127.0.0.1:9")
    monkeypatch.setattr("anyclaude_lab.proxy.loop.spare_the_collector", lambda: None)
    monkeypatch.setattr(program, "_announce", lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert program.main(["--proxy-only", "--port", "0"]) == 0


@pytest.mark.skipif(sys.platform == "win32", reason="needs a POSIX shell")
@pytest.mark.parametrize("unbuffered", ["", "1"])
def test_who_reads_may_stop_reading(unbuffered: str) -> None:
    command = f"(sleep 0.2; exec {sys.executable} -m anyclaude_lab.proxy --help) | :"
    environ = os.environ | {"PYTHONUNBUFFERED": unbuffered}
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, env=environ)
    assert done.stderr == ""


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
