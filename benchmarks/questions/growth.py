"""What does a request cost as its conversation grows, from 10 to 1,000 turns?

Each part of the way is timed on the request of turn k+1, after that of turn k went the same way. `--keep` draws it.
"""

from __future__ import annotations

import statistics
from collections import defaultdict
from functools import partial
from pathlib import Path

import orjson

from anyclaude_lab.engine import embedded
from anyclaude_lab.exchange.model_files import FolderFiles
from anyclaude_lab.prompt.pipeline import Plan, run
from anyclaude_lab.proxy.retry_join import twin_key
from anyclaude_lab.render.count import count_request
from anyclaude_lab.views.prefix import outline
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_dialect import MLX_LM
from anyclaude_lab.wire.openai_request import to_openai
from anyclaude_lab.wire.request import Request, parse_request
from anyclaude_lab.wire.tool_names import ToolNames
from benchmarks.questions.history import request
from benchmarks.questions.timing import settled, timed
from benchmarks.results import Number, Options, Table

TURNS, ASKED = (10, 30, 100, 300, 1000), 5
PLAN = Plan(tier="aggressive")


def figures(options: Options) -> Table:
    """A row for each length, a column for each part."""
    files = FolderFiles(embedded.folder())
    rows = {f"{turns} turns": _row(files, turns) for turns in TURNS}
    return Table(rows, f"CPU ms of one request, medians of n = {ASKED} turns; the demonstration model's template")


def publish(table: Table, kept: Path) -> None:
    """`growth.svg`: milliseconds over turns, on logarithmic axes; what is linear has the dotted line's slope."""
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot as plt

    _, axes = plt.subplots(figsize=(7, 4.5))
    for column in [name for name in next(iter(table.rows.values())) if name.endswith("_ms")]:
        ms = [float(row[column] or 0) for row in table.rows.values()]
        style = {"color": "black", "linewidth": 2.5} if column == "total_ms" else {}
        axes.loglog(TURNS, ms, marker="o", label=column.removesuffix("_ms"), **style)
    axes.loglog(TURNS, [0.2 * turns for turns in TURNS], ":", color="gray", label="0.2 ms a turn")
    axes.set(xlabel="turns in the history", ylabel="CPU ms of the next request")
    axes.legend(fontsize="small")
    plt.savefig(kept.with_name("growth.svg"), metadata={"Date": None}, bbox_inches="tight")


def _row(files: FolderFiles, turns: int) -> dict[str, Number]:
    parts: dict[str, list[float]] = defaultdict(list)
    for turn in range(turns, turns + ASKED + 1):
        raw = request(turn).raw
        settled()
        for name, ms in _way(files, raw).items():
            if turn > turns:  # the first one warms what is remembered
                parts[name].append(ms)
    medians: dict[str, Number] = {f"{name}_ms": statistics.median(each) for name, each in parts.items()}
    total = statistics.median(map(sum, zip(*parts.values(), strict=True)))
    return {"kb": len(raw) // 1000, **medians, "total_ms": total, "us_per_turn": 1000 * total / turns}


def _way(files: FolderFiles, raw: bytes) -> dict[str, float]:
    asked, read_ms = timed(partial(parse_request, raw))
    _, twin_ms = timed(partial(twin_key, "lane", asked))
    (sent, _, _), work_ms = timed(partial(run, asked, PLAN))
    body, translate_ms = timed(partial(_translated, sent))
    _, count_ms = timed(partial(count_request, body, files.counter, files.template))
    _, write_ms = timed(partial(orjson.dumps, body))
    _, outline_ms = timed(partial(outline, sent))
    return {
        "read": read_ms,
        "join_key": twin_ms,
        "prompt_work": work_ms,
        "translate": translate_ms,
        "render_count": count_ms,
        "write": write_ms,
        "outline": outline_ms,
    }


def _translated(sent: Request) -> JsonObject:
    return to_openai(sent, MLX_LM, model="", names=ToolNames.for_tools(sent.offered_tools()))[0]
