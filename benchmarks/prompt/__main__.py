"""`python -m benchmarks.prompt savings|heads|turns|cost|price [--recordings FOLDER] [--tokenizer TOKENIZER.JSON]`"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from anyclaude_lab.engine import embedded
from anyclaude_lab.render.tokens import from_tokenizer_json
from benchmarks.prompt import cost, heads, price, savings, turns
from tests.prompt.live import RECORDED, recording

TABLES = {
    "savings": savings.table,
    "heads": heads.table,
    "turns": turns.table,
    "cost": cost.table,
    "price": price.table,
}
MINUTES = ("price",)  # each release takes minutes: only when named


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.prompt", description=__doc__)
    parser.add_argument("tables", nargs="*", metavar="TABLE", help=f"{', '.join(TABLES)}; all but price without one")
    parser.add_argument(
        "--recordings", type=Path, help="folder of recorded sessions; without it they are recorded anew"
    )
    parser.add_argument("--tokenizer", type=Path, default=embedded.folder() / "tokenizer.json")
    parser.add_argument("--release", action="append", choices=RECORDED, help="all without one")
    options = parser.parse_args()
    if unknown := set(options.tables) - set(TABLES):
        parser.error(f"there is no table {', '.join(sorted(unknown))}; there are {', '.join(TABLES)}")
    count = from_tokenizer_json(options.tokenizer.read_bytes()).count
    with tempfile.TemporaryDirectory(prefix="anyclaude-figures-") as scratch:
        folder = options.recordings or Path(scratch)
        recordings = [recording(release, folder / release) for release in options.release or RECORDED]
        for name in options.tables or [name for name in TABLES if name not in MINUTES]:
            print(f"\n{name}; tokens by {_named(options.tokenizer)}, one session of each release\n")
            for line in TABLES[name](recordings, count):
                print(line)


def _named(tokenizer: Path) -> str:
    return "the embedded model's tokenizer" if tokenizer.parent == embedded.folder() else str(tokenizer)


if __name__ == "__main__":
    main()
