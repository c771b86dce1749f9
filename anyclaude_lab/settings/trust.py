"""What a project's own file may not decide before its user has read it.

A repository is cloned and entered without a thought; its `.anyclauderc.json` must not be able to send the user's code
and keys elsewhere, open the proxy to the network, or have a model loaded from its folder. Such a file is approved once,
by `anyclaude --trust`; what is remembered is the hash of its bytes, so that a change has to be approved anew.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.settings.kinds import Hosts, Key, Kind, Nodes, Url
from anyclaude_lab.settings.sources import Layer
from anyclaude_lab.settings.table import ROWS

APPROVED = Path(".anyclaude", "trusted.json")  # below the home folder
ONLY_NAMED = ("backends.openrouter.siteUrl",)  # an address that is told, never asked
LOOPBACK_NAMES = ("localhost", "127.0.0.1", "::1")


def refuse_untrusted(
    layer: Layer, path: Path, home: Path, *, loads_model: bool = False, gets_key: Sequence[str] = ()
) -> None:
    """Raise `SettingsError` where the project's file at `path` decides such things and was not approved as it is.

    `loads_model` says that a model server would be started because of it, `gets_key` names what it sets of where a key
    goes: to another port of this machine is elsewhere too.
    """
    found = [*dangers(layer), *(f"{key} (where your key is sent)" for key in gets_key)]
    found += ["the model that is loaded"] * loads_model
    if found and not approved(path, home):
        raise SettingsError(
            f"{path} sets {found[0]}, which a project's own file may do only after you have read it and approved it: "
            "run `anyclaude --trust` in that folder (again whenever the file changes), or set it in "
            "~/.anyclauderc.json, by a variable or by a flag."
        )


def dangers(layer: Layer) -> Iterator[str]:
    """What a file's values would do that needs an approval, as `key (why)`."""
    for key, value in layer.values.items():
        kind = ROWS[key].kind
        if isinstance(kind, Key):
            yield f"{key} (a key)"
        elif key not in ONLY_NAMED and not all(map(is_this_machine, _addresses(kind, value.value))):
            yield f"{key} (an address of another machine)"
        elif isinstance(kind, Hosts):
            yield f"{key} (the machines that a model is started on, and their ports)"
        elif key == "host" and value.value not in LOOPBACK_NAMES:
            yield f"{key} (the proxy would answer other machines)"
        elif key == "caBundle":
            yield f"{key} (whom TLS trusts)"
        elif key == "record" and isinstance(value.value, str) and not _below(layer.folder, value.value):
            yield f"{key} (a folder outside of the project)"


def is_this_machine(url: str) -> bool:
    """Whether an address stays on this machine."""
    host = urlsplit(url).hostname or ""
    return host in LOOPBACK_NAMES or (host.startswith("127.") and host.replace(".", "").isdigit())


def approved(path: Path, home: Path) -> bool:
    """Whether the file is, byte for byte, one that the user approved."""
    return _read(home).get(str(path.resolve())) == _digest(path)


def approve(path: Path, home: Path) -> None:
    """Remember the file as it is. Raises `SettingsError` where that cannot be written."""
    store = home / APPROVED
    known = _read(home) | {str(path.resolve()): _digest(path)}
    try:
        store.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        beside = store.with_suffix(".new")
        with os.fdopen(os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w", encoding="utf-8") as file:
            json.dump(known, file, indent=1)
        beside.replace(store)
    except OSError as error:
        raise SettingsError(f"{store} cannot be written ({error.strerror or error}).") from None


def _addresses(kind: Kind, value: Any) -> list[str]:
    if isinstance(kind, Url):
        return [value]
    return [node.url for node in value] if isinstance(kind, Nodes) else []


def _below(folder: Path, name: str) -> bool:
    return not name.startswith("~") and (folder / name).resolve().is_relative_to(folder.resolve())


def _read(home: Path) -> dict[str, str]:
    try:
        known = json.loads((home / APPROVED).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return {}
    return {str(path): str(digest) for path, digest in known.items()} if isinstance(known, dict) else {}


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
