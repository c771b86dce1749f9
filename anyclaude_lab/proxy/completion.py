"""Shell completion, written from the same tables as the command line itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from anyclaude_lab.errors import SettingsError

Flags = Mapping[str, Sequence[str] | None]


def script(shell: str, program: str, flags: Flags, commands: Sequence[str] = ()) -> str:
    """The completion script of one shell. `flags`: the words that may follow each, () for free text, None for none.

    Raises `SettingsError` for a shell that is not known.
    """
    writers = {"bash": _bash, "zsh": _zsh, "fish": _fish}
    if shell not in writers:
        raise SettingsError(f'--completion is "{shell}"; allowed: {", ".join(writers)}.')
    return writers[shell](program, flags, commands)


def _function(program: str) -> str:
    return "_" + program.replace("-", "_")


def _bash(program: str, flags: Flags, commands: Sequence[str]) -> str:
    cases = [
        f'    {name}) COMPREPLY=($(compgen -W "{" ".join(words)}" -- "$word")); return ;;'
        for name, words in flags.items()
        if words
    ]
    cases += [
        f'    {name}) COMPREPLY=($(compgen -f -- "$word")); return ;;' for name, words in flags.items() if words == ()
    ]
    return "\n".join(
        [
            f"# bash completion for {program}",
            f"{_function(program)}() {{",
            '  local word="${COMP_WORDS[COMP_CWORD]}" before="${COMP_WORDS[COMP_CWORD-1]}"',
            '  case "$before" in',
            *cases,
            "  esac",
            f'  COMPREPLY=($(compgen -W "{" ".join((*commands, *flags))}" -- "$word"))',
            "}",
            f"complete -o default -F {_function(program)} {program}",
        ]
    )


def _zsh(program: str, flags: Flags, commands: Sequence[str]) -> str:
    specs = []
    for name, words in flags.items():
        value = "" if words is None else f":value:({' '.join(words)})" if words else ":value:_files"
        specs.append(f"    '{name}{value}' \\")
    first = f"    '1:command:({' '.join(commands)})' \\" if commands else None
    return "\n".join(
        [
            f"#compdef {program}",
            f"{_function(program)}() {{",
            "  _arguments -S \\",
            *specs,
            *([first] if first else []),
            "    '*:argument:_files'",
            "}",
            f"compdef {_function(program)} {program}",
        ]
    )


def _fish(program: str, flags: Flags, commands: Sequence[str]) -> str:
    lines = [f"# fish completion for {program}"]
    if commands:
        lines.append(f"complete -c {program} -n __fish_use_subcommand -f -a '{' '.join(commands)}'")
    for name, words in flags.items():
        value = "" if words is None else f" -x -a '{' '.join(words)}'" if words else " -r"
        lines.append(f"complete -c {program} -l {name.removeprefix('--')}{value}")
    return "\n".join(lines)
