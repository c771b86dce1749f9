"""A dated table of list prices, and the price of a model by any of the names that it goes by."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path
from typing import Any

from anyclaude_lab.errors import SettingsError

RATES = ("input", "cache_write", "cache_read", "output")
TOKENS = re.compile("[0-9]{1,12}")
_SUFFIX = re.compile(r"(\[1m\]|-latest|-\d{8}|@\d{8})$")


@dataclass(frozen=True, slots=True)
class Price:
    """US dollars per million tokens. `cache_write` and `cache_read` are `input` where nothing else is told."""

    input: float
    output: float
    cache_write: float
    cache_read: float

    @property
    def caches(self) -> bool:
        """Whether it matters where a prompt token came from."""
        return not self.cache_write == self.cache_read == self.input


@dataclass(frozen=True, slots=True)
class Prices:
    """Prices by model; of each, by the prompt length above which they apply. `date` is when they were looked up."""

    date: str
    models: Mapping[str, tuple[tuple[int, Price], ...]] = field(repr=False)

    def of(self, model: str, prompt_tokens: int = 0) -> Price | None:
        """What a model costs for a prompt of that length; None where the table does not have it."""
        bands = self.models.get(model) or self.models.get(plain_name(model)) or ()
        return next((price for over, price in reversed(bands) if prompt_tokens > over or over == 0), None)


def prices(path: str | Path | None = None) -> Prices:
    """The table of the package; with `path`, a TOML file of the same form over it. Raises SettingsError."""
    own = _read(resources.files(__package__).joinpath("prices.toml").read_text("utf-8"), "prices.toml")
    if path is None:
        return own
    try:
        text = Path(path).read_text("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} cannot be read as a price table: {error}.") from None
    given = _read(text, str(path))
    return Prices(f"{given.date} ({path}), else {own.date}", {**own.models, **given.models})


def plain_name(model: str) -> str:
    """Claude's models by one name: without date, `[1m]`, provider, and with `-` in the version."""
    name = model.lower().removeprefix("anthropic/")
    if not name.startswith("claude-"):
        return name
    name = _SUFFIX.sub("", _SUFFIX.sub("", name)).replace(".", "-")
    old = re.fullmatch(r"claude-(\d)(?:-(\d))?-(opus|sonnet|haiku)", name)
    return "-".join(filter(None, ("claude", old[3], old[1], old[2]))) if old else name


def _read(text: str, where: str) -> Prices:
    try:
        found = tomllib.loads(text)
    except (ValueError, RecursionError) as error:  # a number of thousands of digits, tables in thousands of tables
        raise SettingsError(f"{where} is not TOML that can be read: {error}.") from None
    date, models = found.get("date"), found.get("models")
    if not isinstance(models, dict) or date is None:
        raise SettingsError(f'{where}: give date = "2026-11-25" and a table [models."NAME"] for each model.')
    return Prices(str(date), {str(name): tuple(_bands(table, f"{where}, {name}")) for name, table in models.items()})


def _bands(table: Any, where: str) -> list[tuple[int, Price]]:
    over = table.get("over_prompt_tokens", {}) if isinstance(table, dict) else {}
    if not isinstance(over, dict) or not all(TOKENS.fullmatch(bound) for bound in over):
        raise SettingsError(f"{where}: over_prompt_tokens holds tables by a number of tokens.")
    longer = [(int(bound), _price(rates, f"{where}, over {bound} tokens")) for bound, rates in over.items()]
    return [(0, _price(table, where)), *sorted(longer, key=lambda band: band[0])]


def _price(table: Any, where: str) -> Price:
    rates: dict[str, Any] = {name: table.get(name) for name in RATES} if isinstance(table, dict) else {}
    strangers = sorted(set(table) - {*RATES, "over_prompt_tokens"}) if isinstance(table, dict) else []
    wrong = [name for name, rate in rates.items() if rate is not None and not _is_price(rate)]
    if strangers or wrong or rates.get("input") is None or rates.get("output") is None:
        about = f'"{strangers[0]}" is no price; ' if strangers else ""
        raise SettingsError(
            f"{where}: {about}give input and output, and cache_write and cache_read where they differ from input, "
            "as dollars per million tokens."
        )
    base = float(rates["input"])
    own = {name: base if rates[name] is None else float(rates[name]) for name in ("cache_write", "cache_read")}
    return Price(base, float(rates["output"]), own["cache_write"], own["cache_read"])


def _is_price(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < 1e6
