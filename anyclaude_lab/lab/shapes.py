"""`lab.load_shapes(path)`: what caches make of recordings that hold no content, only lengths and shared blocks."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

import numpy as np
import pandas as pd

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.frames import frame
from anyclaude_lab.lab.metrics.reuse import SEQUENCES, MlxCache
from anyclaude_lab.trace.files import DamagedTrace
from anyclaude_lab.trace.imports.shapes import Shape, read_shapes

COLUMNS = ("session", "lane", "turn", "started_s", "model", "prompt_tokens", "output_tokens", "block_tokens")


def load_shapes(path: str | Path, *, sequences: int = SEQUENCES) -> pd.DataFrame:
    """A row for each request of Mooncake's or WEKA's traces in the order of arrival at one server.

    `ideal_tokens` is what a cache that forgets nothing would reuse, `expected_tokens` what one that keeps so many
    `sequences` as `mlx_lm.server` does; both in whole blocks, and never the last token. `.attrs["complaints"]` has a
    sentence for everything left out. Raises SettingsError where no request was found.
    """
    complaints: list[str] = []
    try:
        shapes = read_shapes(Path(path), complaints.append)
    except DamagedTrace as damage:
        raise SettingsError(damage.message) from None
    if not shapes:
        reason = complaints[0] if complaints else "there is no .json, .jsonl, .jsonl.gz or .zip file"
        raise SettingsError(f"No request was found in {path}: {reason}")
    return frame(_rows(shapes, sequences), COLUMNS, complaints=complaints, sequences=sequences)


def _rows(shapes: list[Shape], sequences: int) -> list[dict[str, object]]:
    numbers: dict[tuple[str, int], int] = {}
    turns: dict[tuple[str, str], int] = defaultdict(int)
    caches: dict[int, MlxCache] = {}  # blocks of another size are no beginning of these
    rows: list[dict[str, object]] = []
    for shape in shapes:
        known = len(numbers)
        blocks = [
            numbers.setdefault((f"{shape.scope}/{shape.block_tokens}", one), len(numbers)) for one in shape.blocks
        ]
        ideal = next((place for place, one in enumerate(blocks) if one >= known), len(blocks))
        cache = caches.setdefault(shape.block_tokens, MlxCache(sequences))
        stored = np.asarray(blocks, dtype=np.int32)
        prompt = np.append(stored, np.int32(-1))  # the part behind the last whole block
        expected = cache.reused(prompt)
        cache.store(prompt, stored)
        turn = turns[shape.session, shape.lane]
        turns[shape.session, shape.lane] += 1
        told = {name: getattr(shape, name) for name in COLUMNS if name != "turn"}
        reused = {"ideal_tokens": _tokens(ideal, shape), "expected_tokens": _tokens(expected, shape)}
        rows.append(told | {"turn": turn} | reused)
    return [{name: row[name] for name in (*COLUMNS, "ideal_tokens", "expected_tokens")} for row in rows]


def _tokens(blocks: int, shape: Shape) -> int:
    return min(blocks * shape.block_tokens, max(0, shape.prompt_tokens - 1))
