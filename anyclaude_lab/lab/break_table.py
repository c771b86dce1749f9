"""The table of prefix breaks: a DataFrame like the others, with a view of its own in a notebook."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import pandas as pd

from anyclaude_lab.lab.frames import frame, records
from anyclaude_lab.lab.rows import Row
from anyclaude_lab.views.breaks import breaks_view
from anyclaude_lab.views.figures import plural


class PrefixBreaks(pd.DataFrame):
    """A row for each break. What is cut out of it is a plain DataFrame."""

    @classmethod
    def of(cls, rows: Iterable[Row], columns: Iterable[str], **attrs: Any) -> PrefixBreaks:
        """The table of those rows; `attrs` say what it rests on."""
        table = frame(rows, columns, **attrs)
        made = cls(table)
        made.attrs = table.attrs
        return made

    @property
    def _constructor(self) -> type[pd.DataFrame]:
        return pd.DataFrame

    def _repr_html_(self) -> str:
        rows = records(self)
        lost = sum(row["tokens_lost"] or 0 for row in rows)
        told = [self.attrs.get("variant"), self.attrs.get("tokenizer")]
        title = f"{plural(len(self), 'break')}, {plural(lost, 'token')} lost"
        return breaks_view(title, rows, "; ".join(filter(None, told)) or None)
