"""`record`, `import`, `verify`, `scrub`, `export`: what happens to traces before they are replayed."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from anyclaude_lab.cli.command import GATE_FAILED, OK, USAGE_ERROR, Flags
from anyclaude_lab.errors import SettingsError

if TYPE_CHECKING:
    from anyclaude_lab.trace.files import Source
    from anyclaude_lab.trace.read import Trace

DOCS = {
    "record": "record a session of Claude Code (starts proxy and client)",
    "import": "turn recordings of other programs into traces: anyclaude's and Claude Code's own, claude-trace, HAR",
    "verify": "check every line, hash and blob of traces, and look for secrets",
    "scrub": "copies of traces fit to be shared: secrets out, or nothing left but their shape",
    "export": "traces for other tools",
}


def record(words: Sequence[str]) -> int:
    """The proxy and Claude Code, with recording on."""
    from anyclaude_lab.proxy.__main__ import main

    ours, _, theirs = _divided(words)
    flags = Flags("record", DOCS["record"])
    flags.add_argument("--out", type=Path, default=Path("traces"), help="folder for the traces (default: traces)")
    known, rest = flags.parse_known_args(ours)
    if "claude" in theirs[:1]:
        theirs = theirs[1:]
    return main(["--record", str(known.out), *rest, "--", *theirs])


def import_(words: Sequence[str]) -> int:
    """Exit code 1 where something was left out, 2 where nothing was found."""
    from anyclaude_lab.trace.imports import import_all

    flags = Flags("import", DOCS["import"])
    flags.add_argument("sources", nargs="+", type=Path, metavar="SOURCE", help="files or folders")
    flags.add_argument("--out", type=Path, required=True, help="folder for the traces")
    given = flags.parse_args(words)
    done = import_all(given.sources, given.out)
    _complain(done.complaints)
    for file in done.files:
        print(file)
    print(f"{done.exchanges} exchanges in {len(done.files)} traces, {len(done.complaints)} things left out")
    return USAGE_ERROR if not done.exchanges else GATE_FAILED if done.complaints else OK


def verify(words: Sequence[str]) -> int:
    """Exit code 1 where anything is damaged or looks like a secret, 2 where there is no trace."""
    from anyclaude_lab.trace.verify import secrets_in

    flags = Flags("verify", DOCS["verify"])
    flags.add_argument("traces", nargs="+", type=Path, metavar="TRACES", help="trace files or folders")
    found = traces = exchanges = 0
    for _, trace, complaints in _read(flags.parse_args(words).traces):
        complaints = [*complaints, *(secrets_in(trace) if trace else ())]
        _complain(complaints)
        found += len(complaints)
        if trace is not None:
            traces, exchanges = traces + 1, exchanges + len(trace.exchanges)
            print(f"{'ok' if not complaints else 'DAMAGED':8} {len(trace.exchanges):5} exchanges  {trace.name}")
    print(f"{exchanges} exchanges in {traces} traces, {found} complaints")
    return USAGE_ERROR if not traces and not found else GATE_FAILED if found else OK


def scrub(words: Sequence[str]) -> int:
    """Writes copies; exit code 1 where something was left out."""
    from anyclaude_lab.trace.scrub import MODES, scrubbed, target

    flags = Flags("scrub", DOCS["scrub"])
    flags.add_argument("traces", nargs="+", type=Path, metavar="TRACES", help="trace files or folders")
    flags.add_argument("--mode", choices=MODES, default="secrets", help="what is taken out (default: secrets)")
    flags.add_argument("--out", type=Path, default=Path("scrubbed"), help="folder for the copies (default: scrubbed)")
    given = flags.parse_args(words)
    left_out = 0
    for source, trace, complaints in _read(given.traces):
        _complain(complaints)
        left_out += len(complaints)
        if trace is not None:
            file = target(source, given.out)
            if file.exists():
                raise SettingsError(f"{file} exists; name another folder with --out, or remove it.")
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(scrubbed(trace, given.mode))
            print(file)
    return GATE_FAILED if left_out else OK


def export(words: Sequence[str]) -> int:
    """One file with all exchanges, or tables; exit code 1 where something was left out."""
    from anyclaude_lab.trace.exports import FORMATS

    flags = Flags("export", DOCS["export"])
    flags.add_argument("traces", nargs="+", type=Path, metavar="TRACES", help="trace files or folders")
    flags.add_argument("--to", choices=[*FORMATS, "parquet"], required=True, help="the format")
    flags.add_argument("--out", type=Path, help="file, or folder of the tables (default: beside the first trace)")
    given = flags.parse_args(words)
    out = given.out or given.traces[0].with_suffix("")
    if given.to == "parquet":
        from anyclaude_lab.lab.frames import write_parquet
        from anyclaude_lab.lab.load import load

        for file in write_parquet(load(given.traces), out):
            print(file)
        return OK
    suffix, exported = FORMATS[given.to]
    traces: list[Trace] = []
    left_out = 0
    for _, trace, complaints in _read(given.traces):
        _complain(complaints)
        left_out += len(complaints)
        traces += [trace] if trace else []
    file = given.out or out.with_name(out.name + suffix)
    file.write_bytes(exported(traces))
    print(file)
    return GATE_FAILED if left_out else OK


def _read(paths: Sequence[Path]) -> Iterator[tuple[Source, Trace | None, list[str]]]:
    """Every trace at `paths`, and what is wrong with it; None where nothing of it can be read."""
    from anyclaude_lab.trace.files import DamagedTrace, Source, sources
    from anyclaude_lab.trace.read import read_trace

    for path in paths:
        try:
            found, complaints = sources(path)
        except DamagedTrace as damage:
            raise SettingsError(damage.message) from None
        if not found and not complaints:
            raise SettingsError(f"There is no trace in {path}; a trace is a .jsonl, .jsonl.gz or .zip file.")
        if complaints:
            yield Source(path), None, complaints
        for source in found:
            try:
                trace = read_trace(source)
            except DamagedTrace as damage:
                yield source, None, [damage.message]
            else:
                yield source, trace, trace.complaints


def _complain(sentences: Sequence[str]) -> None:
    for sentence in sentences:
        print(f"anyclaude-bench: {sentence}", file=sys.stderr)


def _divided(words: Sequence[str]) -> tuple[list[str], str, list[str]]:
    """Before and behind `--`."""
    place = list(words).index("--") if "--" in words else len(words)
    return list(words[:place]), "--", list(words[place + 1 :])
