"""Where settings come from: flags, variables and files. Each becomes a layer of checked values with their origin."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from enum import IntEnum
from pathlib import Path
from typing import Any

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.settings.kinds import Key, Nodes, Refused, Url
from anyclaude_lab.settings.rows.general import LEGACY_BLOCKS, MODE_KEY
from anyclaude_lab.settings.rows.row import Setting, Status
from anyclaude_lab.settings.table import FLAGS, ROWS, TABLE

FILE_NAME = ".anyclauderc.json"


def home_folder() -> Path:
    """The user's home. Raises `SettingsError` where the system knows none, as for a user of a container."""
    try:
        return Path.home()
    except RuntimeError:
        raise SettingsError("Your home folder is not known here: set HOME to a folder that can be written.") from None


class Rank(IntEnum):
    """Who wins: the higher."""

    DEFAULT = 0
    HOME_FILE = 1
    FILE = 2
    ENVIRONMENT = 3
    FLAG = 4


@dataclass(frozen=True, slots=True)
class Value:
    """One checked value: `origin` says in words where it was found, `folder` what relative paths in it start from."""

    value: Any
    rank: Rank
    origin: str
    folder: Path | None = None


@dataclass(slots=True)
class Layer:
    """The values of one source by key, and what is to be said about them: (key, sentence)."""

    rank: Rank
    folder: Path
    values: dict[str, Value] = field(default_factory=dict)
    warnings: list[tuple[str, str]] = field(default_factory=list)

    def add(self, row: Setting, value: Any, *, found: object, spelled: str, origin: str) -> None:
        """Take a value in, or refuse a removed setting. `spelled` is how the user wrote its name, `found` its value."""
        where = origin if spelled in origin else f"{spelled} ({origin})"
        if row.status is Status.REMOVED:
            if asks_for_something(found):
                raise SettingsError(f"{where} was removed: {row.instead}.")
            return
        if row.status is Status.NO_EFFECT and value not in row.harmless:
            self.warn(row.key, f"{where} has no effect: {row.instead}.")
        elif remark := row.kind.remark(found):  # e.g. an old name for the value
            self.warn(row.key, f"{where}: {_shown(row, found)} {remark}.")
        if value is not None:
            self.values[row.key] = Value(value, self.rank, origin, self.folder)

    def warn(self, key: str, sentence: str) -> None:
        """`sentence` is printed if `key` matters in the mode that is chosen."""
        self.warnings.append((key, sentence))


def flag_layer(flags: Mapping[str, Any], folder: Path) -> Layer:
    """Flags by name (`{"filter_tier": "off", "record": False}`), as text or typed. Raises `SettingsError`."""
    layer = Layer(Rank.FLAG, folder)
    for name, found in flags.items():
        if found is None:
            continue
        named = [flag for flag in FLAGS.values() if flag.setting == name]
        if not named:
            raise SettingsError(
                f'There is no flag "{name}".{suggestion(name, [flag.setting for flag in FLAGS.values()])}'
            )
        flag = next((flag for flag in named if flag.off is (found is False)), named[0])
        for row in flag.rows:
            value = _read(row, found, spelled=flag.name, text=isinstance(found, str))
            layer.add(row, value, found=found, spelled=flag.name, origin=f"flag {flag.name}")
    return layer


def environment_layer(environ: Mapping[str, str], folder: Path) -> Layer:
    """Variables; an empty one counts as unset. Raises `SettingsError`."""
    layer = Layer(Rank.ENVIRONMENT, folder)
    for row in TABLE:
        name = next((name for name in row.variables if environ.get(name, "").strip()), None)
        if name is None:
            continue
        origin = f"environment {name}"
        value = _read(row, environ[name], spelled=origin, text=True)
        layer.add(row, not value if name in row.off_env else value, found=environ[name], spelled=name, origin=origin)
        if name in row.old_env:
            layer.warn(row.key, f"{origin} is deprecated: use {row.env[0]}.")
    return layer


def file_layer(path: Path, rank: Rank) -> Layer:
    """One configuration file. Raises `SettingsError` if it cannot be read, is not JSON or holds something wrong."""
    try:
        data = json.loads(path.read_text(encoding="utf-8-sig"))
    except json.JSONDecodeError as error:
        raise SettingsError(f"{path} is not JSON: {error.msg} at line {error.lineno}, column {error.colno}.") from None
    except UnicodeDecodeError:
        raise SettingsError(f"{path} cannot be read: it is not UTF-8.") from None
    except OSError as error:
        raise SettingsError(f"{path} cannot be read: {error.strerror}.") from None
    except (ValueError, RecursionError):
        raise SettingsError(f"{path} cannot be read: it holds a number or a nesting beyond all bounds.") from None
    if not isinstance(data, dict):
        raise SettingsError(f"{path} holds {_short(data)}; allowed is a JSON object.")
    return _object_layer(data, path, rank, path.parent)


def given_layer(data: Mapping[str, Any], where: str, folder: Path) -> Layer:
    """Settings a program gives, named and nested as in a file. `where` it does so opens every complaint.

    Paths are taken from `folder`. Raises `SettingsError`.
    """
    return _object_layer(dict(data), where, Rank.FLAG, folder)


def _object_layer(data: dict[str, Any], where: Path | str, rank: Rank, folder: Path) -> Layer:
    layer = Layer(rank, folder)
    _read_object(layer, where, data, "", "")
    if isinstance(blocks := data.get("backends"), dict):
        _read_legacy_blocks(layer, where, blocks, data.get(MODE_KEY))
    return layer


def _origin(where: Path | str) -> str:
    return f"file {where}" if isinstance(where, Path) else where


def _read_object(layer: Layer, where: Path | str, data: dict[str, Any], prefix: str, spelled_prefix: str) -> None:
    """Every key of `data`: `prefix` stands before it in the table, `spelled_prefix` in the file."""
    for name, found in data.items():
        key, spelled = prefix + name, spelled_prefix + name
        # JSON knows no comments: anyclaude-local's files use such keys.
        if found is None or name.startswith(("//", "$")):
            continue
        if prefix == "backends." and name in LEGACY_BLOCKS:
            continue
        if key in ROWS and ROWS[key].in_file:
            value = _read(ROWS[key], found, spelled=f"{where}: {spelled}", text=False)
            origin = _origin(where) if spelled == key else f"{_origin(where)}, {spelled}"
            layer.add(ROWS[key], value, found=found, spelled=spelled, origin=origin)
        elif inner := children(key):
            if not isinstance(found, dict):
                raise SettingsError(
                    f"{where}: {spelled} is {_short(found)}; allowed: an object with {', '.join(inner)}."
                )
            _read_object(layer, where, found, key + ".", spelled + ".")
        else:
            raise SettingsError(_unknown_key(where, name, prefix, spelled_prefix))


def _read_legacy_blocks(layer: Layer, where: Path | str, blocks: dict[str, Any], backend: object) -> None:
    """`backends.lmstudio` and its like stand for `backends.local`: one of them, and only where that is missing."""
    names = sorted((name for name in LEGACY_BLOCKS if blocks.get(name) is not None), key=lambda name: name != backend)
    used = "local" if blocks.get("local") is not None else next(iter(names), None)
    for name in names:
        if not isinstance(blocks[name], dict):
            raise SettingsError(f"{where}: backends.{name} is {_short(blocks[name])}; allowed: an object.")
        block = Layer(layer.rank, layer.folder)
        _read_object(block, where, blocks[name], "backends.local.", f"backends.{name}.")
        if name == used:
            layer.warn("backends.local", f"backends.{name} ({_origin(where)}) is deprecated: call it backends.local.")
            layer.warnings += block.warnings
            layer.values |= block.values
        else:
            layer.warn("backends.local", f"backends.{name} ({_origin(where)}) is not used: backends.{used} is.")


def _read(row: Setting, found: object, *, spelled: str, text: bool) -> Any:
    try:
        return row.kind.read_text(str(found)) if text else row.kind.read(found)
    except Refused as refused:
        reason = f" {refused}" if str(refused) else ""
        hint = suggestion(found, row.kind.allowed.split(", ")) if isinstance(found, str) else ""
        raise SettingsError(f"{spelled} is {_shown(row, found)}; allowed: {row.kind.allowed}.{reason}{hint}") from None


def children(key: str) -> list[str]:
    """Names that may stand in the object `key` of a file ("" is the file itself): those that do something first."""
    prefix = key + "." if key else ""
    rows = [row for row in TABLE if row.in_file and row.key.startswith(prefix)]
    rows.sort(key=lambda row: row.status is not Status.WORKS)
    return list(dict.fromkeys(row.key.removeprefix(prefix).split(".")[0] for row in rows))


def _unknown_key(where: Path | str, name: str, prefix: str, spelled_prefix: str) -> str:
    allowed = children(prefix.rstrip("."))
    elsewhere = [key for key in ROWS if ROWS[key].in_file and key.split(".")[-1] == name]
    hint = suggestion(name, allowed, spelled_prefix) or (
        f" It belongs to {' or '.join(elsewhere)}." if elsewhere else ""
    )
    return f'{where}: unknown key "{spelled_prefix}{name}"; allowed there: {", ".join(allowed)}.{hint}'


def suggestion(found: str, allowed: Iterable[str], prefix: str = "") -> str:
    """` Did you mean "x"?` for a word close to an allowed one, else nothing."""
    by_lower = {word.lower(): word for word in allowed}
    close = difflib.get_close_matches(found.lower(), by_lower, n=1, cutoff=0.7)
    return f' Did you mean "{prefix}{by_lower[close[0]]}"?' if close else ""


def asks_for_something(found: object) -> bool:
    """Whether a removed setting was switched on, rather than left off as anyclaude-local's own files do."""
    if isinstance(found, dict):
        return found.get("enabled", bool(found)) is not False
    return found not in (False, None, [], "false", "0", "")


def _shown(row: Setting, found: object) -> str:
    """What the user wrote, for a message; never a key."""
    if isinstance(row.kind, Key):
        return "a text that is no key" if isinstance(found, str) else f"a JSON {type(found).__name__}"
    if isinstance(row.kind, Url | Nodes) and "@" in str(found):
        return "an address with credentials in it"
    return _short(found)


def _short(found: object) -> str:
    text = json.dumps(found, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else text[:57] + "..."
