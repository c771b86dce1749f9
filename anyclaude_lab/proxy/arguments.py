"""The command line of `anyclaude`: which words are ours, which are Claude Code's.

Ours is what the table of settings gives a flag, and the few in `PROGRAM_FLAGS`; everything else goes to `claude`
unchanged and in order. Nothing is abbreviated: a word that only looks like one of ours is refused with a suggestion,
so that a slip never reaches Claude Code as something else.
"""

from __future__ import annotations

import difflib
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyclaude_lab import __version__
from anyclaude_lab.errors import SettingsError
from anyclaude_lab.settings import Settings
from anyclaude_lab.settings.kinds import Choice, Integer
from anyclaude_lab.settings.table import FLAGS

SHELLS = ("bash", "zsh", "fish")

# Flags of Claude Code that resemble ours (--config, --debug); listed by `claude --help` of 1.0, 2.0 and 2.1.
CLAUDE_FLAGS_LIKE_OURS = {"--mcp-config", "--mcp-debug"}
CLOSE = 0.75  # similarity from which a word counts as a slip: "prot" for "port" has it, no other flag of claude does


@dataclass(frozen=True, slots=True)
class ProgramFlag:
    """A flag that says what the program does, rather than setting something. `value` is how help calls its value."""

    name: str
    doc: str
    value: str | None = None


PROGRAM_FLAGS: dict[str, ProgramFlag] = {
    flag.name: flag
    for flag in (
        ProgramFlag("--config", "Read this file instead of .anyclauderc.json here and in the home folder.", "FILE"),
        ProgramFlag("--check-setup", "Say what is found on this machine and what is missing, then end."),
        ProgramFlag("--test-model", "Send the backend one small request, print its answer, then end."),
        ProgramFlag("--disk", "List what is kept on disk (prefixes, logs, traces), then end."),
        ProgramFlag(
            "--prune", "With --disk: remove the oldest of each until it is below this size, as in 500MB.", "SIZE"
        ),
        ProgramFlag("--yes", "Answer yes: download the model, remove what --prune names."),
        ProgramFlag("--trust", "Approve the .anyclauderc.json of this folder as it is now, after you have read it."),
        ProgramFlag("--completion", f"Print completion for a shell ({', '.join(SHELLS)}).", "SHELL"),
        ProgramFlag("--help", "Print this text (Claude Code's own: anyclaude -- --help)."),
        ProgramFlag("--version", "Print the version."),
    )
}

EXAMPLES = (
    ("anyclaude", "Claude Code on the model that is configured, or on the small one that comes along"),
    ('anyclaude -p "explain this repository"', "what is not ours goes to claude"),
    ("anyclaude --mode openrouter --model z-ai/glm-4.6", "a cheap model, with OPENROUTER_API_KEY set"),
    ("anyclaude --mode claude --record traces/", "Claude itself, every session recorded"),
    ("anyclaude --proxy-only --port 8000", "the proxy alone, for a claude started elsewhere"),
    ("anyclaude --check-setup", "what is there, what is missing"),
    ("anyclaude --model mlx-community/NAME --yes", "a model from the hub, downloaded without a question"),
    ("anyclaude --disk --prune 500MB", "the oldest prefixes, logs and traces make room"),
    ("anyclaude --test-model", "one small request, answered or explained"),
    ("anyclaude -- --debug api", "behind -- everything is Claude's"),
    ('eval "$(anyclaude --completion bash)"', "completion in this shell"),
)


@dataclass(frozen=True, slots=True)
class Arguments:
    """What the command line says. `flags` go to `load_settings`; `text`, if any, is all there is to do."""

    flags: Mapping[str, Any] = field(default_factory=dict)
    config_file: Path | None = None
    check_setup: bool = False
    test_model: bool = False
    trust: bool = False
    disk: bool = False
    prune: str | None = None
    yes: bool = False
    text: str | None = None
    claude_args: tuple[str, ...] = ()

    def refuse_strangers(self, settings: Settings) -> None:
        """With the proxy alone there is no Claude Code to hand an unknown word to. Raises `SettingsError`."""
        if settings.proxy_only and self.claude_args:
            raise SettingsError(_stranger(self.claude_args[0]))

    def for_claude(self, settings: Settings) -> tuple[str, ...]:
        """The arguments of `claude`: in mode claude `--model` is its own and goes back to it."""
        chosen = settings.origins.get("backends.claude.model", "default") != "default"
        model = ("--model", settings.model) if settings.mode == "claude" and settings.model and chosen else ()
        return (*model, *self.claude_args)


def parse(argv: Sequence[str]) -> Arguments:
    """The command line without the program's name. Raises `SettingsError`: exit code 2."""
    flags: dict[str, Any] = {}
    program: dict[str, str] = {}
    theirs: list[str] = []
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            theirs += words
            break
        name, equals, value = word.partition("=")
        name = "--help" if name == "-h" else name
        given = value if equals else None
        if name in FLAGS:
            flags[FLAGS[name].setting] = _setting_value(name, given, words)
        elif name in PROGRAM_FLAGS:
            program[name] = _program_value(PROGRAM_FLAGS[name], given, words)
        else:
            _refuse_slip(name)
            theirs.append(word)
    if flags.get("proxy_only") is True and theirs:
        raise SettingsError(_stranger(theirs[0]))
    return Arguments(
        flags,
        config_file=Path(program["--config"]) if "--config" in program else None,
        check_setup="--check-setup" in program,
        test_model="--test-model" in program,
        trust="--trust" in program,
        disk="--disk" in program or "--prune" in program,
        prune=program.get("--prune"),
        yes="--yes" in program,
        text=_text_to_print(program),
        claude_args=tuple(theirs),
    )


def _setting_value(name: str, given: str | None, words: list[str]) -> object:
    """The value of one of our flags, taken from `words` if it stands apart. The settings judge it, not we."""
    flag = FLAGS[name]
    row = flag.rows[0]
    if flag.off:
        _refuse_value(name, given)
        return False
    if given is None and row.flag_alone is not None:
        number_follows = isinstance(row.kind, Integer) and bool(words) and words[0].isdecimal()
        if not number_follows:  # the next word is not ours: `anyclaude --debug "fix the bug"`
            return row.flag_alone
    return _value(name, given, words, row.flag_value or "VALUE")


def _program_value(flag: ProgramFlag, given: str | None, words: list[str]) -> str:
    if flag.value is not None:
        return _value(flag.name, given, words, flag.value)
    _refuse_value(flag.name, given)
    return ""


def _value(name: str, given: str | None, words: list[str], what: str) -> str:
    if given is None and (not words or words[0].startswith("--")):
        raise SettingsError(f"{name} needs a value: {name} {what}.")
    return words.pop(0) if given is None else given


def _refuse_value(name: str, given: str | None) -> None:
    if given is not None:
        raise SettingsError(f'{name} takes no value; found "{given}".')


def _refuse_slip(name: str) -> None:
    """A word that is nearly one of ours is a slip, unless it is known to be Claude Code's."""
    word = name.lstrip("-")
    if not name.startswith("-") or len(word) < 3 or name in CLAUDE_FLAGS_LIKE_OURS:
        return
    ours = [flag.removeprefix("--") for flag in (*FLAGS, *PROGRAM_FLAGS)]
    spelled = word.lower().replace("_", "-")
    longer = [flag for flag in ours if flag.startswith(spelled)]
    swapped = [flag for flag in ours if sorted(flag) == sorted(spelled)]
    close = longer or swapped or difflib.get_close_matches(spelled, ours, n=1, cutoff=CLOSE)
    if close:
        raise SettingsError(
            f'Unknown flag "{name}". Did you mean --{close[0]}? (For a flag of Claude Code\'s: anyclaude -- {name})'
        )


def _stranger(word: str) -> str:
    return f'"{word}" is no flag of anyclaude, and with --proxy-only there is no Claude Code to give it to; see --help.'


def _text_to_print(program: Mapping[str, str]) -> str | None:
    if "--help" in program:
        return help_text()
    if "--version" in program:
        return f"anyclaude {__version__}"
    if "--completion" in program:
        from anyclaude_lab.proxy.completion import script

        return script(program["--completion"], "anyclaude", completable())
    return None


def completable() -> dict[str, tuple[str, ...] | None]:
    """Every flag with the words that may follow it: a list, () for free text, None for nothing."""
    ours: dict[str, tuple[str, ...] | None] = {}
    for name, flag in FLAGS.items():
        row = flag.rows[0]
        if flag.off or (row.flag_alone is not None and row.flag_value is None):
            ours[name] = None
        elif isinstance(row.kind, Choice):
            ours[name] = row.kind.values
        elif isinstance(row.kind, Integer) and row.kind.highest < 10:
            ours[name] = tuple(str(number) for number in range(row.kind.lowest, row.kind.highest + 1))
        else:
            ours[name] = ()
    for name, program in PROGRAM_FLAGS.items():
        ours[name] = None if program.value is None else SHELLS if program.value == "SHELL" else ()
    return ours


def help_text() -> str:
    """What --help prints: every flag from the tables, one example per use."""
    lines = ["anyclaude [FLAGS] [ARGUMENTS FOR claude]", ""]
    lines += [
        "Runs Claude Code on a model of your choice. Flags are ours as --x VALUE or --x=VALUE;",
        _REST,
        "",
        "Flags",
    ]
    lines += [_help_line(*entry) for entry in _help_entries()]
    lines += [
        "",
        "Every setting, with its variable and its key in .anyclauderc.json: anyclaude-bench settings",
        "",
        "Examples",
    ]
    width = max(len(command) for command, _ in EXAMPLES)
    lines += [f"  {command:<{width}}  {what}" for command, what in EXAMPLES]
    return "\n".join(lines)


_REST = "everything else goes to claude as it is, and so does all that stands behind --."


def _help_entries() -> list[tuple[str, str]]:
    entries = []
    for name, flag in FLAGS.items():
        if flag.off:
            continue
        row = flag.rows[0]
        value = (
            ""
            if row.flag_value is None
            else f" [{row.flag_value}]"
            if row.flag_alone is not None
            else f" {row.flag_value}"
        )
        off = f" | {row.off_flag}" if row.off_flag else ""
        allowed = f" One of: {row.kind.allowed}." if isinstance(row.kind, Choice) else ""
        later = f" ({row.instead})" if row.instead else ""
        entries.append((name + value + off, row.doc + allowed + later))
    entries += [(f"{flag.name} {flag.value or ''}".rstrip(), flag.doc) for flag in PROGRAM_FLAGS.values()]
    return entries


def _help_line(flag: str, doc: str) -> str:
    indent = 34
    lines = textwrap.wrap(doc, 110 - indent)
    return f"  {flag:<{indent - 3}} " + f"\n{' ' * indent}".join(lines)
