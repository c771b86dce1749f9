"""`replay`, `report`, `compare`, `combine`: traces asked again, and what came of it."""

from __future__ import annotations

import itertools
import os
import sys
import tomllib
from argparse import ArgumentTypeError, Namespace
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from anyclaude_lab.cli.command import BACKEND_ERROR, GATE_FAILED, INSUFFICIENT, OK, STOPPED, Flags
from anyclaude_lab.errors import SettingsError

if TYPE_CHECKING:
    from anyclaude_lab.lab.gate import Limit
    from anyclaude_lab.lab.run import Run
    from anyclaude_lab.lab.variant import Variant

DOCS = {
    "replay": "ask recorded sessions again in several ways, and tell what each saves and whether it still behaves",
    "report": "tables and one self-contained page of HTML from results",
    "compare": "two results, variant by variant",
    "breaks": "where and why prompts do not continue the one before, in the tokens that a model reads",
    "tune": "search tiers and stubs for the least that still behaves; answers with a config to paste",
    "combine": "shards of one run put together",
}
MOST_VARIANTS = 64
FIRST_LOOK_TURNS = 14  # of a session where nothing is chosen: enough to decide, and a minute on two cores


def replay(words: Sequence[str]) -> int:
    """Exit codes: 1 a limit is broken, 3 too little evidence (with --strict), 4 no variant got an answer,
    130 stopped by Ctrl-C."""
    given = _replay_flags().parse_args(words)
    from anyclaude_lab.lab.cells import head_of
    from anyclaude_lab.lab.gate import checks, parse_limit
    from anyclaude_lab.lab.load import load
    from anyclaude_lab.lab.run import Run, load_run

    engine = _engine(given)
    limits = [parse_limit(text, "under") for text in given.fail_under]
    limits += [parse_limit(text, "over") for text in given.fail_over]
    baseline = load_run(given.baseline) if given.baseline else None
    traces = load(given.traces)
    for complaint in traces.complaints:
        print(f"anyclaude-bench: {complaint}", file=sys.stderr)
    if given.turns is None and not (given.backend or given.grid or given.tier or given.stub_tools or given.adapter):
        given.turns = FIRST_LOOK_TURNS
        print(
            f"A first look on the demonstration model: {FIRST_LOOK_TURNS} turns of each session, asked in three ways. "
            "--turns asks for more, --backend asks another.",
            file=sys.stderr,
        )
    options = {"repeat": given.repeat, "seed": given.seed, "out": given.out, "pace": given.pace}
    asked = variants(given)
    checks(Run(head_of(asked), []), limits, baseline)  # a figure that nobody has is refused before hours of asking
    try:
        run = engine(traces, asked, turns_per_session=given.turns, **options)
    except KeyboardInterrupt:
        kept = f"what is whole is in {given.out}, and the same command goes on" if given.out else "--out would keep it"
        print(f"\nanyclaude-bench: stopped; {kept}.", file=sys.stderr)
        return STOPPED
    return _told(run, given, limits, baseline)


def report(words: Sequence[str]) -> int:
    """Writes the report beside the results, or to --out."""
    flags = Flags("report", DOCS["report"])
    flags.add_argument("results", type=Path, metavar="RESULTS", help="folder that replay --out wrote")
    flags.add_argument("--out", type=Path, help="folder for the report (default: the results' own)")
    flags.add_argument("--prices", type=Path, metavar="FILE", help="TOML of prices that go before those of the package")
    flags.add_argument("--slo", action="append", default=[], metavar="TIME=S", help="limit, such as ttft_s=2: goodput")
    _format_flag(flags)
    given = flags.parse_args(words)
    from anyclaude_lab.lab import report as reports
    from anyclaude_lab.lab.run import load_run

    run = load_run(given.results)
    if not run.cells:
        raise SettingsError(f"{given.results} holds no turn (a shard may have none); there is nothing to report.")
    run = run.priced(given.prices) if given.prices else run
    _complain(run)
    print(reports.written(reports.short(run) if given.format == "table" else run.summary(), given.format))
    if given.slo:
        print(reports.written(run.goodput(**_limits(given.slo)), given.format))
    for file in reports.write(run, given.out or given.results):
        print(file, file=sys.stderr)
    return OK


def compare(words: Sequence[str]) -> int:
    """B against A: variants of the same name."""
    flags = Flags("compare", DOCS["compare"])
    flags.add_argument("first", type=Path, metavar="A", help="results, the baseline")
    flags.add_argument("second", type=Path, metavar="B", help="results")
    _format_flag(flags)
    given = flags.parse_args(words)
    from anyclaude_lab.lab.gate import against
    from anyclaude_lab.lab.report import written
    from anyclaude_lab.lab.run import load_run

    table = against(load_run(given.second), load_run(given.first))
    kept = [c for c in table.columns if c == "variant" or c.endswith(("_ratio", "_difference"))]
    print(written(table[kept], given.format))
    return OK


def combine(words: Sequence[str]) -> int:
    """Writes one results folder out of several."""
    flags = Flags("combine", DOCS["combine"])
    flags.add_argument("results", type=Path, nargs="+", metavar="RESULTS", help="folders of shards")
    flags.add_argument("--out", type=Path, default=Path("combined"), help="folder for the whole (default: combined)")
    given = flags.parse_args(words)
    from anyclaude_lab.lab.cells import combine as combined
    from anyclaude_lab.lab.run import Run

    run = Run(*combined(given.results))
    _complain(run)
    run.save(given.out)
    print(f"{len(run.cells)} turns of {len(run.variants)} variants in {given.out}")
    return OK


def breaks(words: Sequence[str]) -> int:
    """Nothing is generated; exit code 0 whatever is found."""
    flags = Flags("breaks", DOCS["breaks"])
    flags.add_argument("traces", nargs="+", type=Path, metavar="TRACES", help="trace files or folders")
    flags.add_argument("--tier", default="off", help="filter tier (default: off)")
    flags.add_argument("--adapter", default="none", help="adapter (default: none)")
    flags.add_argument("--stub-tools", action="store_true", help="with tool stubs")
    flags.add_argument("--untouched", action="store_true", help="without any of our prompt work")
    flags.add_argument("--order", default="lane", choices=["lane", "arrival"], help="what a prompt is held against")
    _format_flag(flags)
    given = flags.parse_args(words)
    from anyclaude_lab.lab.load import load
    from anyclaude_lab.lab.prefixes import prefix_breaks
    from anyclaude_lab.lab.report import written
    from anyclaude_lab.lab.variant import variant

    ours = None if not given.untouched else False
    chosen = variant(
        "chosen", backend="scripted", tier=given.tier, adapter=given.adapter, stub_tools=given.stub_tools,
        strip_billing=ours, stabilise=ours,
    )  # fmt: skip
    table = prefix_breaks(load(given.traces), chosen, order=given.order)
    if given.format == "table":
        kept = ["session", "turn", "cause", "pointer", "transform_blamed", "break_token", "tokens_lost", "fixed_tokens"]
        table["session"] = table["session"].str.slice(0, 8)
        print(written(table[kept], "table"))
        print(f"{len(table)} breaks; rendered with the {table.attrs['tokenizer']}", file=sys.stderr)
    else:
        print(written(table, given.format))
    return OK


def tune(words: Sequence[str]) -> int:
    """The table of the arms that were worth it, and the configuration of the best; exit code 3 as for replay."""
    flags = Flags("tune", DOCS["tune"])
    flags.add_argument("traces", nargs="+", type=Path, metavar="TRACES", help="trace files or folders")
    flags.add_argument("--backend", default="embedded", metavar="B", help="who answers (default: embedded)")
    flags.add_argument("--objective", default="tokens", metavar="tokens|ttft", help="what is to be little")
    flags.add_argument("--constraint", default="fidelity within 0.05 of unfiltered", help="what must be kept")
    flags.add_argument("--out", type=Path, help="folder for the results")
    flags.add_argument("--strict", action="store_true", help="exit 3 where the evidence is too little")
    _format_flag(flags)
    given = flags.parse_args(words)
    import json

    from anyclaude_lab.lab import report as reports
    from anyclaude_lab.lab.load import load
    from anyclaude_lab.lab.tune import tune as tuned

    run = tuned(load(given.traces), backend=given.backend, objective=given.objective, constraint=given.constraint)
    print(reports.written(reports.short(run) if given.format == "table" else run.summary(), given.format))
    chosen = run.head["tuned"]
    print(f"\n{chosen['variant']} ({chosen['verdict']}); in .anyclauderc.json:", file=sys.stderr)
    print(json.dumps(chosen["config"], indent=2), file=sys.stderr)
    if given.out:
        run.save(given.out)
    return INSUFFICIENT if given.strict and chosen["insufficient"] else OK


def variants(given: Namespace) -> list[Variant]:
    """The variants of the flags or of the grid; the first is the baseline."""
    from anyclaude_lab.lab.variant import variant

    if given.grid is not None:
        if given.backend or given.tier or given.adapter or given.stub_tools:
            raise SettingsError("--grid says all of it: leave out --backend, --tier, --adapter and --stub-tools.")
        return _grid(given.grid)
    backends = given.backend or ["embedded"]
    if not (given.tier or given.adapter or given.stub_tools):
        made = []
        for backend in backends:
            label = f"{backend}: " if len(backends) > 1 else ""
            made += [
                variant(f"{label}untouched", backend=backend, strip_billing=False, stabilise=False),
                variant(f"{label}as the proxy", backend=backend, tier="aggressive", adapter="auto"),
                variant(f"{label}with stubs", backend=backend, tier="aggressive", adapter="auto", stub_tools=True),
            ]
        return made
    tiers, adapters = given.tier or ["off"], given.adapter or ["none"]
    stubs = [word == "on" for word in (given.stub_tools or "off").split(",")]
    product = list(itertools.product(backends, tiers, adapters, stubs))
    if len(product) > MOST_VARIANTS:
        raise SettingsError(f"These flags make {len(product)} variants; {MOST_VARIANTS} are allowed.")
    return [
        variant(_name(backend, tier, adapter, stub), backend=backend, tier=tier, adapter=adapter, stub_tools=stub)
        for backend, tier, adapter, stub in product
    ]


def _name(backend: str, tier: str, adapter: str, stub: bool) -> str:
    parts = [backend.partition("=")[0], f"tier {tier}", adapter if adapter != "none" else "", "stubs" if stub else ""]
    return ", ".join(part for part in parts if part) + (f" ({backend.partition('=')[2]})" if "=" in backend else "")


def _grid(file: Path) -> list[Variant]:
    """`[[variant]]` tables with the arguments of `lab.variant`."""
    from anyclaude_lab.lab.variant import variant

    try:
        tables = tomllib.loads(file.read_text("utf-8")).get("variant")
    except OSError as error:
        raise SettingsError(f"{file} cannot be read: {error.strerror or error}.") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{file} is not TOML: {error}.") from None
    if not isinstance(tables, list) or not all(isinstance(t, dict) and {"name", "backend"} <= t.keys() for t in tables):
        raise SettingsError(f"{file}: give [[variant]] tables, each with a name and a backend.")
    try:
        return [variant(**table) for table in tables]
    except SettingsError as mistake:
        raise SettingsError(f"{file}: {mistake.message}") from None


def _told(run: Run, given: Namespace, limits: Sequence[Limit], baseline: Run | None) -> int:
    from anyclaude_lab.lab import gate
    from anyclaude_lab.lab import report as reports

    print(reports.written(reports.short(run) if given.format == "table" else run.summary(), given.format))
    for note in reports.notes(run):
        print(note, file=sys.stderr)
    found = gate.checks(run, limits, baseline)
    failed = [check for check in found if not check.passed]
    for check in failed:
        print(f"anyclaude-bench: FAILED {check}", file=sys.stderr)
    if given.junit:
        given.junit.write_bytes(gate.junit(found))
    summary = given.summary or os.environ.get("GITHUB_STEP_SUMMARY")
    if summary:
        with Path(summary).open("a", encoding="utf-8") as file:
            lines = [
                reports.written(reports.short(run), "markdown"),
                "",
                *(f"- failed: {check}" for check in failed),
                "",
            ]
            file.write("\n".join(lines))
    if run.cells and all(cell.get("error") for cell in run.cells):
        return BACKEND_ERROR
    if failed:
        return GATE_FAILED
    return INSUFFICIENT if given.strict and gate.insufficient(run) else OK


def _replay_flags() -> Flags:
    flags = Flags("replay", DOCS["replay"])
    flags.add_argument("traces", nargs="+", type=Path, metavar="TRACES", help="trace files or folders")
    flags.add_argument("--grid", type=Path, help="TOML file with [[variant]] tables, the first is the baseline")
    flags.add_argument("--tier", nargs="+", metavar="T", help="filter tiers, the first is the baseline")
    flags.add_argument("--adapter", nargs="+", metavar="A", help="adapters")
    flags.add_argument("--stub-tools", metavar="off,on", choices=["on", "off", "on,off", "off,on"], help="tool stubs")
    flags.add_argument(
        "--backend", nargs="+", metavar="B", help="embedded, mlx=URL, openrouter=MODEL, claude=MODEL, scripted"
    )
    flags.add_argument("--repeat", type=_positive, default=1, metavar="N", help="ask everything N times")
    flags.add_argument("--seed", type=int, default=0, help="of the order of sessions")
    flags.add_argument("--shard", metavar="i/n", help="only the i-th of n parts of the sessions")
    flags.add_argument("--engine", choices=["local", "ray"], default="local", help="ray: workers of a Ray cluster")
    flags.add_argument("--workers", type=_positive, metavar="N", help="with --engine ray: how many (default: 2)")
    flags.add_argument("--turns", type=_positive, metavar="N", help="only the first N turns of a session")
    flags.add_argument(
        "--pace", choices=["fast", "think", "recorded"], default="fast", help="wait as was waited, or not"
    )
    flags.add_argument("--out", type=Path, help="folder for results; a run that was stopped is taken up again there")
    flags.add_argument("--baseline", type=Path, help="earlier results to compare with")
    flags.add_argument("--fail-under", action="append", default=[], metavar="METRIC=V", help="exit 1 below this")
    flags.add_argument("--fail-over", action="append", default=[], metavar="METRIC=V", help="exit 1 above this")
    flags.add_argument("--strict", action="store_true", help="exit 3 where the evidence is too little")
    flags.add_argument("--junit", type=Path, help="write the limits as a JUnit file")
    flags.add_argument("--summary", type=Path, help="append the table as Markdown (default: $GITHUB_STEP_SUMMARY)")
    _format_flag(flags)
    return flags


def _format_flag(flags: Flags) -> None:
    flags.add_argument("--format", choices=["table", "json", "csv", "markdown"], default="table", help="of the table")


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is no whole number from 1 on")
    return int(text)


def _shard(text: str | None) -> tuple[int, int] | None:
    if text is None:
        return None
    first, _, second = text.partition("/")
    if not (first.isdigit() and second.isdigit() and 1 <= int(first) <= int(second)):
        raise SettingsError(f'"{text}" is no shard; write i/n with 1 <= i <= n, such as 1/4.')
    return int(first), int(second)


def _engine(given: Namespace) -> Callable[..., Run]:
    """What runs the replay: this process, or the workers of a Ray cluster."""
    if given.engine == "local":
        if given.workers is not None:
            raise SettingsError("--workers belongs to --engine ray.")
        from anyclaude_lab.lab.replay import replay as replayed

        return partial(replayed, shard=_shard(given.shard))
    if given.shard is not None:
        raise SettingsError("--engine ray divides the sessions itself; leave out --shard.")
    from anyclaude_lab.lab.on_ray import WORKERS, replay_on_ray

    return partial(replay_on_ray, workers=given.workers or WORKERS)


def _limits(words: Sequence[str]) -> dict[str, float]:
    """`NAME=SECONDS` as numbers."""
    found = {}
    for word in words:
        name, _, limit = word.partition("=")
        try:
            found[name] = float(limit)
        except ValueError:
            raise SettingsError(f'"{word}" is no limit; write a time and its seconds, such as ttft_s=2.') from None
    return found


def _complain(run: Run) -> None:
    for complaint in run.complaints:
        print(f"anyclaude-bench: {complaint}", file=sys.stderr)
