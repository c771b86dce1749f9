"""Which words are ours, which are Claude Code's, and what a slip is answered with."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from anyclaude_lab import __version__
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.proxy.arguments import EXAMPLES, PROGRAM_FLAGS, parse
from anyclaude_lab.settings import load_settings
from anyclaude_lab.settings.table import FLAGS

# As `claude --help` of 1.0.100, 2.0.30 and 2.1.330 lists them; --model, --debug, --help and --version are ours.
FLAGS_OF_CLAUDE = [
    "--add-dir",
    "--agent",
    "--agents",
    "--allow-dangerously-skip-permissions",
    "--allowed-tools",
    "--allowedTools",
    "--append-system-prompt",
    "--autocompact",
    "--background",
    "--bare",
    "--betas",
    "--brief",
    "--chrome",
    "--cloud",
    "--continue",
    "--dangerously-skip-permissions",
    "--debug-file",
    "--disable-slash-commands",
    "--disallowed-tools",
    "--effort",
    "--exclude-dynamic-system-prompt-sections",
    "--fallback-model",
    "--file",
    "--fork-session",
    "--from-pr",
    "--ide",
    "--include-partial-messages",
    "--input-format",
    "--json-schema",
    "--max-budget-usd",
    "--max-turns",
    "--mcp-config",
    "--mcp-debug",
    "--name",
    "--no-chrome",
    "--no-session-persistence",
    "--output-format",
    "--permission-mode",
    "--permission-prompt-tool",
    "--plugin-dir",
    "--print",
    "--prompt-suggestions",
    "--remote-control",
    "--replay-user-messages",
    "--restricted",
    "--resume",
    "--safe-mode",
    "--session-id",
    "--setting-sources",
    "--settings",
    "--strict-mcp-config",
    "--system-prompt",
    "--teleport",
    "--tmux",
    "--tools",
    "--verbose",
    "--worktree",
    "-c",
    "-d",
    "-n",
    "-p",
    "-r",
    "-v",
    "-w",
]


@pytest.mark.parametrize("style", ["apart", "joined"])
@pytest.mark.parametrize(
    ("flag", "name", "value"),
    [
        ("--mode", "mode", "openrouter"),
        ("--port", "port", "8000"),
        ("--host", "host", "0.0.0.0"),
        ("--model", "model", "a/b"),
        ("--filter-tier", "filter_tier", "off"),
        ("--adapter", "adapter", "qwen"),
        ("--record", "record", "traces"),
        ("--debug", "debug", "2"),
    ],
)
def test_our_flags_in_both_spellings(style: str, flag: str, name: str, value: str) -> None:
    words = [flag, value] if style == "apart" else [f"{flag}={value}"]
    arguments = parse(["before", *words, "after"])
    assert arguments.flags == {name: value}
    assert arguments.claude_args == ("before", "after")


def test_switches() -> None:
    assert parse(["--stub-tools", "--proxy-only"]).flags == {"stub_tools": True, "proxy_only": True}
    assert parse(["--no-stub-tools", "--no-record"]).flags == {"stub_tools": False, "record": False}
    assert parse(["--stub-tools", "--no-stub-tools"]).flags == {"stub_tools": False}
    assert parse(["--record", "a", "--record=b"]).flags == {"record": "b"}
    arguments = parse(["--check-setup", "--config", "x.json"])
    assert (arguments.check_setup, arguments.test_model, arguments.config_file) == (True, False, Path("x.json"))
    assert parse(["--test-model"]).test_model


@pytest.mark.parametrize(
    ("words", "level", "theirs"),
    [
        (["--debug"], 1, ()),
        (["--debug", "fix the bug"], 1, ("fix the bug",)),
        (["--debug", "-p"], 1, ("-p",)),
        (["--debug", "3", "hello"], "3", ("hello",)),
        (["--debug=0"], "0", ()),
    ],
)
def test_debug_takes_a_number_and_nothing_else(words: list[str], level: object, theirs: tuple[str, ...]) -> None:
    arguments = parse(words)
    assert arguments.flags == {"debug": level}
    assert arguments.claude_args == theirs


def test_what_is_not_ours_goes_to_claude_unchanged_and_in_order() -> None:
    words = [
        "-p",
        "a b",
        "--resume",
        "--mode",
        "claude",
        "--output-format=json",
        "",
        "-",
        "mcp",
        "--add-dir",
        "..",
        "é",
    ]
    arguments = parse(words)
    assert arguments.flags == {"mode": "claude"}
    assert arguments.claude_args == tuple(word for word in words if word not in ("--mode", "claude"))


def test_behind_two_dashes_everything_is_claudes() -> None:
    arguments = parse(["--mode", "local", "x", "--", "--mode", "y", "--debug", "api", "--", "--prot"])
    assert arguments.flags == {"mode": "local"}
    assert arguments.claude_args == ("x", "--mode", "y", "--debug", "api", "--", "--prot")


@pytest.mark.parametrize("flag", FLAGS_OF_CLAUDE)
def test_no_flag_of_claude_code_is_taken_for_a_slip(flag: str) -> None:
    assert parse([flag, "x"]).claude_args == (flag, "x")
    assert parse([f"{flag}=x"]).claude_args == (f"{flag}=x",)


@pytest.mark.parametrize(
    ("slip", "meant"),
    [
        ("--mod", "--mode"),
        ("--modle", "--model"),
        ("--prot", "--port"),
        ("--filter-teir", "--filter-tier"),
        ("--filter_tier", "--filter-tier"),
        ("--filter", "--filter-tier"),
        ("--proxyonly", "--proxy-only"),
        ("--proxy", "--proxy-only"),
        ("--stub-tool", "--stub-tools"),
        ("--no-recrod", "--no-record"),
        ("--Mode", "--mode"),
        ("-mode", "--mode"),
        ("--deb", "--debug"),
        ("--checksetup", "--check-setup"),
        ("--no-proxy-only", "--proxy-only"),
    ],
)
@pytest.mark.parametrize("ending", ["", "=local"])
def test_a_slip_is_refused_with_what_was_meant(slip: str, meant: str, ending: str) -> None:
    with pytest.raises(SettingsError) as refused:
        parse([slip + ending])
    assert f'"{slip}"' in refused.value.message
    assert f"mean {meant}?" in refused.value.message


@pytest.mark.parametrize(
    "words", [["--mode"], ["--port", "--host"], ["--config"], ["--record", "--no-record"], ["--completion"]]
)
def test_a_missing_value_is_refused(words: list[str]) -> None:
    with pytest.raises(SettingsError, match=f"{words[0]} needs a value"):
        parse(words)


@pytest.mark.parametrize("word", ["--no-record=x", "--no-stub-tools=1", "--check-setup=1", "--version=2"])
def test_a_value_where_none_belongs_is_refused(word: str) -> None:
    with pytest.raises(SettingsError, match="takes no value"):
        parse([word])


@pytest.mark.parametrize("word", ["--resume", "hello", "-p"])
def test_with_the_proxy_alone_there_is_no_one_to_give_a_word_to(word: str, tmp_path: Path) -> None:
    with pytest.raises(SettingsError, match="--proxy-only"):
        parse(["--proxy-only", word])
    with pytest.raises(SettingsError, match="--proxy-only"):
        parse([word, "--proxy-only"])
    by_variable, _ = load_settings({}, {"PROXY_ONLY": "true"}, cwd=tmp_path, home=tmp_path)
    with pytest.raises(SettingsError, match="--proxy-only"):
        parse([word]).refuse_strangers(by_variable)
    parse(["--mode", "local"]).refuse_strangers(by_variable)


def test_in_mode_claude_the_model_goes_to_claude(tmp_path: Path) -> None:
    arguments = parse(["--mode", "claude", "--model", "opus", "-p", "x"])
    passthrough, _ = load_settings(arguments.flags, {}, cwd=tmp_path, home=tmp_path)
    assert arguments.for_claude(passthrough) == ("--model", "opus", "-p", "x")
    arguments = parse(["--model", "opus", "-p", "x"])
    translating, _ = load_settings(arguments.flags, {}, cwd=tmp_path, home=tmp_path)
    assert arguments.for_claude(translating) == ("-p", "x")


@given(
    st.lists(st.sampled_from([*FLAGS, *PROGRAM_FLAGS, "--", "x", "1", "", "-p", "--mode=local", "--prot", "=", "--="]))
)
def test_any_line_is_read_or_refused_and_loses_no_word_of_claudes(words: list[str]) -> None:
    try:
        arguments = parse(words)
    except SettingsError:
        return
    theirs = list(arguments.claude_args)
    position = 0
    for word in words:  # a subsequence, in order
        if position < len(theirs) and theirs[position] == word:
            position += 1
    assert position == len(theirs)


def test_help_names_every_flag_and_its_examples_are_right() -> None:
    text = parse(["--help"]).text
    assert text is not None
    assert text == parse(["-h"]).text
    for flag in (*FLAGS, *PROGRAM_FLAGS):
        assert flag in text
    for command, _ in EXAMPLES:
        assert command in text
        if command.startswith("anyclaude"):
            parse(command.replace('"', "").split()[1:])


def test_version() -> None:
    assert parse(["--version"]).text == f"anyclaude {__version__}"


def test_an_unknown_shell_is_refused() -> None:
    with pytest.raises(SettingsError, match="bash, zsh, fish"):
        parse(["--completion", "tcsh"])


@pytest.mark.parametrize("shell", ["zsh", "fish"])
def test_completion_offers_every_flag(shell: str) -> None:
    text = parse(["--completion", shell]).text
    assert text is not None
    for flag in (*FLAGS, *PROGRAM_FLAGS):
        assert flag.removeprefix("--") in text
    if program := shutil.which(shell):
        subprocess.run([program, "-n"], input=text.encode(), check=True, timeout=300)


@pytest.mark.skipif(sys.platform == "win32" or not shutil.which("bash"), reason="no bash")
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        (["anyclaude", "--mo"], {"--mode", "--model"}),
        (["anyclaude", "--mode", "l"], {"local"}),
        (["anyclaude", "--filter-tier", "m"], {"minimal", "moderate"}),
        (["anyclaude", "--proxy-only", "--de"], {"--debug"}),
    ],
)
def test_bash_completes(line: list[str], offered: set[str]) -> None:
    words = " ".join(f"'{word}'" for word in line)
    asked = f"COMP_WORDS=({words}); COMP_CWORD={len(line) - 1}; _anyclaude; printf '%s\\n' \"${{COMPREPLY[@]}}\""
    script = f"{parse(['--completion=bash']).text}\n{asked}"
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, timeout=300)
    assert set(done.stdout.split()) == offered
