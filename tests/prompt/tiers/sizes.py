"""How large the system text of each release and family is at every tier, as a Markdown table.

`python -m tests.prompt.tiers.sizes FOLDER [TOKENIZER.json]` records the releases into FOLDER, or reads what was
recorded there. Tokens by that tokenizer; by characters (3.5 a token) without one.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from anyclaude_lab.prompt.billing import remove_billing
from anyclaude_lab.prompt.tiers import TIERS, filter_system
from anyclaude_lab.render.tokens import characters, from_tokenizer_json
from anyclaude_lab.wire.request import Request, text_of
from tests.prompt.live import RECORDED, Recording, recording

Count = Callable[[str], int]


def rows(recorded: Recording, count: Count) -> list[Sequence[str]]:
    """For each family of a release, the request with the longest system text: tokens at every tier, and what is over
    a budget."""
    longest: dict[str, tuple[int, Request]] = {}
    for sent in recorded.sent:
        request = remove_billing(sent.request)
        family = filter_system(request, "off", count).family
        size = count(text_of(request.body.get("system")))
        longest[family] = max(longest.get(family, (-1, request)), (size, request), key=lambda pair: pair[0])
    return [_row(recorded.release, family, request, count) for family, (_, request) in sorted(longest.items())]


def _row(release: str, family: str, request: Request, count: Count) -> Sequence[str]:
    done = {tier: filter_system(request, tier, count) for tier in TIERS}
    extreme = done[TIERS[-1]].sections
    core = sum(row.tokens for row in extreme if row.why.startswith("core prompt: stands"))
    protected = sum(row.tokens for row in extreme if row.kept) - core
    sizes = [f"{count(text_of(each.request.body.get('system'))):,}" for each in done.values()]
    notices = [_notices(each.request, count) for each in done.values()]
    shorter = f"{notices[0]:,} to {notices[-1]:,}" if notices[0] else ""
    unmet = ", ".join(f"{tier} {each.budget_unmet_tokens:,}" for tier, each in done.items() if each.budget_unmet_tokens)
    return [release, family, *sizes, f"{protected:,}", shorter, unmet or "none"]


def _notices(request: Request, count: Count) -> int:
    return sum(count(text_of(m.get("content"))) for m in request.messages if m.get("role") == "system")


def main(folder: Path, tokenizer: Path | None = None) -> None:
    """Print the table."""
    counter = from_tokenizer_json(tokenizer.read_bytes()) if tokenizer else characters()
    heads = ["release", "family", *TIERS, "protected", "system messages (off to extreme)", "budget unmet"]
    print(f"Tokens of `system` by {tokenizer.name if tokenizer else counter.method}, attribution block removed.\n")
    print("| " + " | ".join(heads) + " |")
    print("|---" * len(heads) + "|")
    for release in RECORDED:
        for row in rows(recording(release, folder / release), cache(counter.count)):
            print("| " + " | ".join(row) + " |")


if __name__ == "__main__":
    main(*map(Path, sys.argv[1:]))
