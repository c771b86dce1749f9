"""What the attribution block costs a local model: time to the first content with it and without, turn by turn.

Every request of the bundled sessions gets a block whose last field differs each time, as the client sends it; then both
ways are replayed on the embedded engine. `python -m benchmarks.lab.billing [TURNS PER SESSION]` (6).
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import orjson

import anyclaude_lab as lab
from anyclaude_lab.lab.metrics.statistics import geometric_speedup
from anyclaude_lab.prompt.billing import PREFIX
from anyclaude_lab.trace.read import read_trace
from anyclaude_lab.trace.record import Encoder, Entry, Recording
from anyclaude_lab.trace.redaction import Redaction

TRACES = Path(__file__).parents[2] / "traces"
BLOCK = f"{PREFIX} cc_version=0.0.0; cc_entrypoint=sample; cch={{:05x}};"


def billed(source: Path) -> bytes:
    """The session with a block before every system prompt."""
    encoder = Encoder(Redaction(b"k"))
    data = [encoder.start()]
    for number, exchange in enumerate(read_trace(source).in_order()):
        body = orjson.loads(exchange.body)
        body["system"] = [{"type": "text", "text": BLOCK.format(number * 7919)}, *body.get("system", [])]
        facts = {name: exchange.data[name] for name in ("lane", "agent", "request_class", "request_id")}
        pieces = [(at_s, text.encode()) for at_s, text in exchange.pieces]
        recording = Recording(exchange.data["started_s"], pieces)
        data.append(encoder.lines(Entry(exchange.session, facts, 200, orjson.dumps(body), recording))[0])
    return b"".join(data)


def main(turns_per_session: int = 6) -> None:
    """Replay both, pair the turns, print the ratio with its interval."""
    variants = [
        lab.variant("with the block", backend="embedded", strip_billing=False, stabilise=False),
        lab.variant("without", backend="embedded", strip_billing=True, stabilise=False),
    ]
    with tempfile.TemporaryDirectory() as folder:
        for source in TRACES.glob("*.jsonl"):
            if source.stem != "broken-prefix":
                Path(folder, source.name).write_bytes(billed(source))
        Path(folder, "broken-prefix.jsonl").write_bytes((TRACES / "broken-prefix.jsonl").read_bytes())
        run = lab.replay(lab.load(folder), variants, turns_per_session=turns_per_session)
    table = run.compare().dropna(subset=["ttft_s", "ttft_s_baseline"])
    later = table[table["turn"] > 0]
    for name, part in (("all turns", table), ("all but the first of a conversation", later)):
        cold, warm = [float(x) for x in part["ttft_s_baseline"]], [float(x) for x in part["ttft_s"]]
        found = geometric_speedup(cold, warm, [str(x) for x in part["session"]])
        print(f"{name}: first content {found} times sooner without the block (n={found.n}, sessions={found.clusters})")
    summary = run.summary()[["variant", "prompt_tokens_mean", "reported_hit_rate", "ttft_median_s"]]
    print(summary.to_string(index=False))


if __name__ == "__main__":
    main(int(sys.argv[1]) if len(sys.argv) > 1 else 6)
