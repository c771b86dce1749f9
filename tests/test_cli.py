"""`anyclaude-bench` as a person calls it."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from anyclaude_lab import __version__
from anyclaude_lab.cli import COMMANDS, main
from tests.trace.record_sessions import BUNDLED


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A current folder and a home folder with nothing in them."""
    (tmp_path / "home").mkdir()
    for name in ("HOME", "USERPROFILE"):
        monkeypatch.setenv(name, str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def test_settings_tells_value_and_origin_and_hides_keys(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    file = folder / "home" / ".anyclauderc.json"
    file.write_text(json.dumps({"backends": {"openrouter": {"apiKey": "sk-or-v1-abc123"}}, "requestTimeout": 90000}))
    monkeypatch.setenv("OPENROUTER_MODEL", "a/b")
    assert main(["settings", "--mode", "openrouter"]) == 0
    lines = {line.split()[0]: line for line in capsys.readouterr().out.splitlines()}
    assert '"openrouter"' in lines["backend"] and "flag --mode" in lines["backend"]
    assert '"a/b"' in lines["backends.openrouter.model"]
    assert "environment OPENROUTER_MODEL" in lines["backends.openrouter.model"]
    assert "90000" in lines["requestTimeout"] and f"file {file}" in lines["requestTimeout"]
    assert "***" in lines["backends.openrouter.apiKey"]
    assert "default" in lines["host"]
    assert "abc123" not in "".join(lines.values())


def test_settings_says_what_is_missing(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["settings", "--mode", "openrouter"]) == 0
    assert "OPENROUTER_API_KEY" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["setings"], 'Did you mean "settings"?'),
        (["replay-all"], "settings"),
        (["settings", "--prot", "1"], "--port"),
        (["settings", "--resume"], "--resume"),
        (["settings", "--mode", "x"], "mlx-cluster"),
        (["--completion", "tcsh"], "bash, zsh, fish"),
    ],
)
def test_a_mistake_is_one_sentence_and_code_2(words: list[str], said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_help_lists_what_works(capsys: pytest.CaptureFixture[str]) -> None:
    for words in ([], ["--help"], ["-h"]):
        assert main(words) == 0
        shown = capsys.readouterr().out
        for command in COMMANDS.values():
            assert command.name in shown
            assert command.example in shown


def test_version_and_completion(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"anyclaude-bench {__version__}\n"
    for shell in ("bash", "zsh", "fish"):
        assert main([f"--completion={shell}"]) == 0
        assert "settings" in capsys.readouterr().out


def test_as_a_program(folder: Path) -> None:
    (folder / ".anyclauderc.json").write_text("{")
    done = subprocess.run(
        [sys.executable, "-m", "anyclaude_lab.cli", "settings"],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        timeout=300,
    )
    assert done.returncode == 2
    assert "Traceback" not in done.stderr
    assert "line 1, column 2" in done.stderr


def test_traces_are_verified_scrubbed_exported_and_imported_again(
    folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["verify", str(BUNDLED)]) == 0
    assert "6 traces, 0 complaints" in capsys.readouterr().out
    session = str(BUNDLED / "short-fix.jsonl")
    assert main(["scrub", session, "--mode", "shape", "--out", "shared"]) == 0
    assert main(["verify", "shared"]) == 0
    assert main(["export", session, "--to", "har", "--out", "fix.har"]) == 0
    assert main(["import", "fix.har", "--out", "again"]) == 0
    assert main(["verify", "again"]) == 0
    assert "5 exchanges in 1 traces" in capsys.readouterr().out
    written = [path for name in ("shared", "fix.har", "again") for path in (folder / name, *(folder / name).rglob("*"))]
    assert len(written) == 5
    if sys.platform != "win32":  # they hold prompts
        assert [str(path) for path in written if stat.S_IMODE(path.stat().st_mode) & 0o077] == []


def test_damage_is_told_with_its_place_and_code_1(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "a.jsonl").write_bytes((BUNDLED / "short-fix.jsonl").read_bytes()[:-40])
    assert main(["verify", "a.jsonl"]) == 1
    told = capsys.readouterr()
    assert "a.jsonl, line" in told.err and "torn" in told.err
    assert "4 exchanges" in told.out


def test_a_secret_in_a_trace_is_found_and_not_told(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = (BUNDLED / "short-fix.jsonl").read_text()
    secret = "sk-ant-api03-" + "a1B2" * 12
    (folder / "b.jsonl").write_text(text.replace("I look", secret).replace("Now the change", secret))
    assert main(["verify", "b.jsonl"]) == 1
    assert secret not in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["verify"], "TRACES"),
        (["verify", "nowhere"], "nowhere"),
        (["verify", "home"], "no trace in home"),
        (["scrub", str(Path("x")), "--mode", "all", "--out", "y"], "shape"),
        (["export", "x", "--to", "xml"], "mooncake"),
        (["import", "x"], "--out"),
    ],
)
def test_a_mistake_about_traces_is_one_sentence_and_code_2(
    words: list[str], said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(words) == 2
    error = capsys.readouterr().err
    assert said in error
    assert error.count("\n") == 1


def test_copies_and_wholes_have_a_folder_of_their_own(folder: Path) -> None:
    session = str(BUNDLED / "short-fix.jsonl")
    assert main(["scrub", session]) == main(["verify", "scrubbed"]) == 0
    assert main(["replay", session, *SCRIPTED, "--out", "a"]) == main(["combine", "a"]) == main(["report", "combined"])


def test_a_trace_needs_no_import(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["import", str(BUNDLED / "short-fix.jsonl"), "--out", "again"]) == 2
    assert "it is a trace already" in capsys.readouterr().err


@pytest.mark.parametrize(
    "words",
    [
        ["replay", str(BUNDLED), "--backend", "scripted", "--turns", "1", "--out", "file/x"],
        ["replay", str(BUNDLED), "--backend", "scripted", "--turns", "1", "--junit", "nowhere/j.xml"],
        ["export", str(BUNDLED), "--to", "har", "--out", "nowhere/x.har"],
        ["scrub", str(BUNDLED), "--out", "file"],
        ["import", str(BUNDLED), "--out", "file"],
    ],
)
def test_a_place_that_cannot_be_written_is_one_sentence(
    folder: Path, words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "file").touch()
    assert main(words) == 2
    assert "Traceback" not in capsys.readouterr().err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is always full is Linux's")
def test_a_full_disk_is_no_mistake_of_the_user(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (folder / "x.har").symlink_to("/dev/full")
    assert main(["export", str(BUNDLED / "short-fix.jsonl"), "--to", "har", "--out", "x.har"]) == 4
    assert "No space left" in capsys.readouterr().err


def test_who_reads_may_stop_reading_and_ctrl_c_is_no_defect(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    command = f"{sys.executable} -m anyclaude_lab.cli --help | :"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, timeout=60, env=dict(os.environ))
    assert done.stderr == ""

    def stopped(_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr("anyclaude_lab.cli._run", stopped)
    assert main(["tune", "traces"]) == 130


SCRIPTED = ["--backend", "scripted", "--turns", "2"]


def test_a_shard_without_a_session_is_a_run_too(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["replay", str(BUNDLED / "short-fix.jsonl"), *SCRIPTED]
    assert [main([*words, "--shard", f"{i}/2", "--out", str(i)]) for i in (1, 2)] == [0, 0]
    assert sorted(len((folder / str(i) / "cells.jsonl").read_bytes()) > 0 for i in (1, 2)) == [False, True]
    assert main(["combine", "1", "2"]) == 0
    assert "6 turns of 3 variants" in capsys.readouterr().out
    assert sorted(main(["report", str(i)]) for i in (1, 2)) == [0, 2]
    assert "there is nothing to report" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("grid", "said"),
    [
        (b"\xff", "not TOML"),
        (b"x = 1", "with a name and a backend"),
        (b"variant = [1]", "with a name and a backend"),
        (b'[[variant]]\nname = "a"', "with a name and a backend"),
        (b'[[variant]]\nname = 1\nbackend = "scripted"', "name of a variant is 1; allowed is a text"),
        (b'[[variant]]\nname = "a"\nbackend = "scripted"\nstub_tools = "yes"', "'yes'; allowed is true or false"),
        (b'[[variant]]\nname = "a"\nbackend = "scripted"\ntemperature = "hot"', "allowed is a number"),
        (b'[[variant]]\nname = "a"\nbackend = "scripted"\ntiers = "off"', '"tiers" is nothing a variant has'),
    ],
)
def test_a_grid_that_is_wrong_is_one_sentence(
    folder: Path, grid: bytes, said: str, capsys: pytest.CaptureFixture[str]
) -> None:
    (folder / "grid.toml").write_bytes(grid)
    assert main(["replay", str(BUNDLED / "short-fix.jsonl"), "--grid", "grid.toml"]) == 2
    told = capsys.readouterr().err
    assert said in told and "grid.toml" in told and told.count("\n") == 1


@pytest.mark.parametrize(
    "more",
    [
        ["--fail-under", "beauty=1"],
        ["--fail-under", "verdict=1"],
        ["--fail-over", "fidelity=nan"],
        ["--grid", "x.toml"],
    ],
)
def test_what_cannot_be_judged_is_refused_before_anything_is_asked(
    folder: Path, more: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["replay", str(BUNDLED / "short-fix.jsonl"), *SCRIPTED, "--out", "a", *more]
    assert main(words) == 2
    assert capsys.readouterr().out == "" and not (folder / "a").exists()


def test_replay_tells_a_table_and_keeps_results(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    session = str(BUNDLED / "short-fix.jsonl")
    assert main(["replay", session, *SCRIPTED, "--out", "a"]) == 0
    told = capsys.readouterr()
    assert [line.split("  ")[0] for line in told.out.splitlines()] == [
        "variant",
        "untouched",
        "as the proxy",
        "with stubs",
    ]
    assert "insufficient" in told.err
    assert main(["replay", session, *SCRIPTED, "--out", "a", "--strict", "--format", "json"]) == 3
    assert len(json.loads(capsys.readouterr().out)) == 3
    assert main(["report", "a", "--slo", "ttft_s=2"]) == 0
    assert "goodput_rate" in capsys.readouterr().out
    assert main(["report", "a", "--slo", "ttft_s"]) == main(["report", "a", "--prices", "nowhere.toml"]) == 2
    assert (folder / "a" / "report.html").exists()
    assert main(["compare", "a", "a"]) == 0
    assert "prompt_tokens_ratio" in capsys.readouterr().out


def test_a_limit_that_breaks_fails_the_build(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session, grid = str(BUNDLED / "short-fix.jsonl"), folder / "grid.toml"
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(folder / "summary.md"))
    grid.write_text('[[variant]]\nname = "a"\nbackend = "scripted"\n[[variant]]\nname = "b"\nbackend = "scripted"\n')
    words = ["replay", session, "--grid", str(grid), "--turns", "1", "--junit", "out.xml", "--fail-under"]
    assert main([*words, "fidelity=0.9"]) == 0
    assert main([*words, "saved_ratio=0.5"]) == 1
    assert "failed: b" in (folder / "summary.md").read_text()
    assert 'failures="1"' in (folder / "out.xml").read_text()


def test_shards_are_combined(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["replay", str(BUNDLED), *SCRIPTED, "--tier", "off", "--stub-tools", "on,off"]
    for number in ("1/2", "2/2"):
        assert main([*words, "--shard", number, "--out", number[0]]) == 0
    assert main(["combine", "1", "2", "--out", "both"]) == 0
    assert "24 turns of 2 variants" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["--backend", "mlx=http://127.0.0.1:9/v1", "--tier", "off", "--turns", "1"], 4, "127.0.0.1:9"),
        (["--shard", "3/2", "--backend", "scripted"], 2, "1/4"),
        (["--fail-under", "e2e_median_s=1", "--backend", "scripted"], 2, "ratio"),
        (["--grid", "nowhere.toml"], 2, "nowhere.toml"),
        (["--tier", "huge"], 2, "aggressive"),
        (["--repeat", "0"], 2, "--repeat"),
    ],
)
def test_replay_fails_in_words(words: list[str], code: int, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["replay", str(BUNDLED / "short-fix.jsonl"), *words]) == code
    assert said in capsys.readouterr().err


def test_a_replay_that_is_stopped_says_how_it_goes_on(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def stopped(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("anyclaude_lab.lab.replay.replay", stopped)
    assert main(["replay", str(BUNDLED / "short-fix.jsonl"), *SCRIPTED, "--out", "kept"]) == 130
    assert "kept, and the same command goes on" in capsys.readouterr().err


def test_breaks_are_listed_by_cause(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["breaks", str(BUNDLED / "broken-prefix.jsonl"), "--untouched"]) == 0
    assert capsys.readouterr().out.count("nonce") == 11
    assert main(["breaks", str(BUNDLED / "broken-prefix.jsonl"), "--format", "csv"]) == 0
    assert "/system/1/text" in capsys.readouterr().out


def test_record_is_the_launcher_with_recording_on(monkeypatch: pytest.MonkeyPatch) -> None:
    started: list[list[str]] = []

    def launcher(words: list[str]) -> int:
        started.append(words)
        return 7

    monkeypatch.setattr("anyclaude_lab.proxy.__main__.main", launcher)
    assert main(["record", "--out", "there", "--mode", "claude", "--", "claude", "-p", "go", "--out", "x"]) == 7
    assert started == [["--record", "there", "--mode", "claude", "--", "-p", "go", "--out", "x"]]
