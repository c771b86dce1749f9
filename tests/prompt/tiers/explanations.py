"""Explanations of the bundled prompts at every tier, as people read them.

`python -m tests.prompt.tiers.explanations` writes them anew; the difference is for a person to judge.
"""

from __future__ import annotations

from pathlib import Path

from anyclaude_lab.prompt.tiers import TIERS
from anyclaude_lab.prompt.tiers.filter import filter_texts
from anyclaude_lab.render.tokens import characters
from tests.prompt.tiers.prompts import PROMPTS

FOLDER = Path(__file__).with_name("golden")


def explanation(name: str) -> str:
    """What every tier does to the bundled prompt of that name; tokens are counted by characters."""
    lines = []
    for tier in TIERS:
        done = filter_texts(PROMPTS[name], tier, characters().count)
        kept, gone = (sum(row.tokens for row in done.sections if row.kept is want) for want in (True, False))
        lines.append(f"{tier}: {done.family}, {kept} tokens stay, {gone} go")
        lines += [f"  {'+' if row.kept else '-'} {row.tokens:4} {row.title} | {row.why}" for row in done.sections]
    return "\n".join([*lines, ""])


def main() -> None:
    FOLDER.mkdir(exist_ok=True)
    for name in PROMPTS:
        (FOLDER / f"{name}.txt").write_text(explanation(name), encoding="utf-8")


if __name__ == "__main__":
    main()
