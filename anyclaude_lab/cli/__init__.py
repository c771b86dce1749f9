"""`anyclaude-bench`: parse, call, print."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Sequence
from pathlib import Path

from anyclaude_lab import __version__
from anyclaude_lab.cli import replay, traces
from anyclaude_lab.cli.command import BACKEND_ERROR, OK, STOPPED, USAGE_ERROR, Command
from anyclaude_lab.errors import AnyclaudeError, SettingsError, extras
from anyclaude_lab.settings.sources import suggestion


def print_settings(words: Sequence[str]) -> int:
    """Every setting with its value and origin, as these flags of `anyclaude` would have it."""
    from anyclaude_lab.proxy.arguments import parse
    from anyclaude_lab.settings import home_folder, missing
    from anyclaude_lab.settings.document import listing
    from anyclaude_lab.settings.load import load

    arguments = parse(words)
    if arguments.claude_args:
        raise SettingsError(f'"{arguments.claude_args[0]}" is no flag of anyclaude; see anyclaude --help.')
    loaded = load(arguments.flags, os.environ, cwd=Path.cwd(), home=home_folder(), config_file=arguments.config_file)
    lines = list(listing(loaded.resolved))
    key_width, value_width = max(len(line.key) for line in lines), 44
    for line in lines:
        print(f"{line.key:<{key_width}}  {line.value:<{value_width}}  {line.origin}")
    for sentence in (*loaded.warnings, missing(loaded.settings)):
        if sentence:
            print(f"anyclaude-bench: {sentence}", file=sys.stderr)
    return 0


COMMANDS: dict[str, Command] = {
    command.name: command
    for command in (
        Command(
            "record",
            "[--out FOLDER] [FLAGS OF anyclaude] -- [ARGS FOR claude]",
            traces.DOCS["record"],
            "anyclaude-bench record --out traces -- -p 'mend the test'",
            traces.record,
        ),
        Command(
            "import",
            "SOURCE... --out FOLDER",
            traces.DOCS["import"],
            "anyclaude-bench import ~/.anyclaude/traces/claude session.har --out traces",
            traces.import_,
        ),
        Command("verify", "TRACES", traces.DOCS["verify"], "anyclaude-bench verify traces/", traces.verify),
        Command(
            "scrub",
            "TRACES --mode secrets|shape [--out FOLDER]",
            traces.DOCS["scrub"],
            "anyclaude-bench scrub traces/ --mode shape --out shared",
            traces.scrub,
        ),
        Command(
            "export",
            "TRACES --to har|otel|mooncake|parquet [--out FILE]",
            traces.DOCS["export"],
            "anyclaude-bench export traces/short-fix.jsonl --to har",
            traces.export,
        ),
        Command(
            "replay",
            "TRACES [--grid FILE | --tier T... --stub-tools off,on --backend B...] [--out FOLDER] [LIMITS]",
            replay.DOCS["replay"],
            "anyclaude-bench replay traces/ --backend scripted --fail-under fidelity=0.9",
            replay.replay,
        ),
        Command(
            "report",
            "RESULTS [--out FOLDER]",
            replay.DOCS["report"],
            "anyclaude-bench report results/",
            replay.report,
        ),
        Command(
            "compare",
            "A B",
            replay.DOCS["compare"],
            "anyclaude-bench compare results/before results/now",
            replay.compare,
        ),
        Command(
            "breaks",
            "TRACES [--untouched] [--tier T] [--stub-tools]",
            replay.DOCS["breaks"],
            "anyclaude-bench breaks traces/ --untouched",
            replay.breaks,
        ),
        Command(
            "tune",
            "TRACES [--backend B] [--objective tokens|ttft] [--constraint TEXT]",
            replay.DOCS["tune"],
            "anyclaude-bench tune traces/ --objective ttft",
            replay.tune,
        ),
        Command(
            "combine",
            "RESULTS... [--out FOLDER]",
            replay.DOCS["combine"],
            "anyclaude-bench combine shard-1 shard-2 --out results",
            replay.combine,
        ),
        Command(
            "settings",
            "[FLAGS OF anyclaude]",
            "every setting with its value and where it is from; keys are hidden",
            "anyclaude-bench settings --mode openrouter",
            print_settings,
        ),
    )
}


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code. A user's mistake is one sentence on stderr and code 2."""
    words = list(sys.argv[1:] if argv is None else argv)
    try:
        with extras():
            code = _run(words)
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        print("\nanyclaude-bench: stopped.", file=sys.stderr)
        return STOPPED
    except BrokenPipeError:  # whoever read it has read enough, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return OK
    except OSError as failure:
        place = f"{failure.filename} cannot be used: " if failure.filename else ""
        print(f"anyclaude-bench: {place}{failure.strerror or failure}.", file=sys.stderr)
        return BACKEND_ERROR if failure.errno in (errno.ENOSPC, errno.EDQUOT, errno.EIO) else USAGE_ERROR
    except SettingsError as mistake:
        print(f"anyclaude-bench: {mistake.message}", file=sys.stderr)
        return USAGE_ERROR
    except AnyclaudeError as failure:
        print(f"anyclaude-bench: {failure.message}", file=sys.stderr)
        return BACKEND_ERROR


def _run(words: list[str]) -> int:
    first = words[0] if words else "--help"
    if first in ("--help", "-h", "help"):
        print(help_text())
        return 0
    if first == "--version":
        print(f"anyclaude-bench {__version__}")
        return 0
    if first.partition("=")[0] == "--completion":
        print(_completion(first.partition("=")[2] or " ".join(words[1:2])))
        return 0
    if first not in COMMANDS:
        hint = suggestion(first, COMMANDS)
        raise SettingsError(
            f'There is no command "{first}"; there are: {", ".join(COMMANDS)}, --help, --version.{hint}'
        )
    if first == "record":  # it starts Claude Code, whose files are the user's own affair; the recorder minds its own
        return COMMANDS[first].run(words[1:])
    before = os.umask(0o077)  # what is written holds prompts
    try:
        return COMMANDS[first].run(words[1:])
    finally:
        os.umask(before)


def _completion(shell: str) -> str:
    from anyclaude_lab.proxy.arguments import completable
    from anyclaude_lab.proxy.completion import script

    return script(shell, "anyclaude-bench", completable(), tuple(COMMANDS))


def help_text() -> str:
    """What --help prints: every command that works, with an example."""
    lines = ["anyclaude-bench COMMAND", ""]
    for command in COMMANDS.values():
        lines += [f"  {command.name} {command.arguments}", f"      {command.doc}", f"      {command.example}"]
    lines += ["", "  --version, --help, --completion bash|zsh|fish"]
    return "\n".join(lines)
