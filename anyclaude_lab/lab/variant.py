"""A variant: one way of answering, as the lab compares them. Plain values; nothing is opened here."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import orjson

from anyclaude_lab.errors import SettingsError
from anyclaude_lab.lab.frames import CATEGORIES
from anyclaude_lab.wire.events import JsonObject

KINDS = {"embedded": "", "mlx": "URL", "openrouter": "MODEL", "claude": "MODEL", "scripted": ""}
_CREDENTIALS = re.compile(r"(?<=//)[^/]*@")
SAMPLING = ("temperature", "top_p", "top_k", "max_tokens")


@dataclass(frozen=True, slots=True)
class Variant:
    """`backend` is `embedded`, `mlx=URL`, `openrouter=MODEL`, `claude=MODEL` or `scripted`.

    `strip_billing` and `stabilise` None: on for backends that translate, off for `claude=`. `sampling` replaces what
    the recorded request asked for; `max_tokens` in it only lowers.
    """

    name: str
    backend: str
    tier: str = "off"
    adapter: str = "none"
    stub_tools: bool = False
    strip_billing: bool | None = None
    stabilise: bool | None = None
    sampling: tuple[tuple[str, Any], ...] = ()

    @property
    def kind(self) -> str:
        """The word before `=`."""
        return self.backend.partition("=")[0]

    @property
    def target(self) -> str:
        """What stands behind `=`: an address or a model."""
        return self.backend.partition("=")[2]

    @property
    def told(self) -> str:
        """`backend` without the password of an address: results are handed on."""
        return _CREDENTIALS.sub("***@", self.backend)

    def __repr__(self) -> str:
        return f"<Variant {self.name}: {self.told}, tier {self.tier}, adapter {self.adapter}>"

    @property
    def translates(self) -> bool:
        return self.kind != "claude"

    @property
    def fingerprint(self) -> str:
        """12 hex digits of everything but the name."""
        told = asdict(self) | {"name": None}
        return hashlib.sha256(orjson.dumps(told)).hexdigest()[:12]

    def as_json(self) -> JsonObject:
        """For a results file."""
        written = {"backend": self.told, "sampling": dict(self.sampling), "fingerprint": self.fingerprint}
        return asdict(self) | written


_TYPES: dict[str, tuple[tuple[type, ...], str]] = {
    **dict.fromkeys(("name", "backend"), ((str,), "a text")),
    "stub_tools": ((bool,), "true or false"),
    **dict.fromkeys(("strip_billing", "stabilise"), ((bool, type(None)), "true, false or None")),
    **dict.fromkeys(("temperature", "top_p"), ((int, float), "a number")),
    **dict.fromkeys(("top_k", "max_tokens"), ((int,), "a whole number")),
}


def _refuse_wrong_types(given: Mapping[str, Any]) -> None:
    """Raises SettingsError."""
    for name, (types, allowed) in _TYPES.items():
        if name not in given:
            continue
        value = given[name]
        if not isinstance(value, types) or (isinstance(value, bool) and bool not in types):
            raise SettingsError(f"{name} of a variant is {value!r}; allowed is {allowed}.")
    if not given["name"]:
        raise SettingsError("A variant needs a name.")


def checked(found: object) -> Variant:
    """What has to be a variant. Raises SettingsError where it is something else, such as its name alone."""
    if not isinstance(found, Variant):
        raise SettingsError(f"{found!r} is no variant; make one: lab.variant(name, backend=...).")
    return found


class _Variants:
    """`lab.variant(...)` makes one; `lab.variant.from_settings()` is what the proxy would do."""

    def __call__(
        self,
        name: str,
        *,
        backend: str,
        tier: str = "off",
        adapter: str = "none",
        stub_tools: bool = False,
        strip_billing: bool | None = None,
        stabilise: bool | None = None,
        **sampling: Any,
    ) -> Variant:
        """A checked variant. Raises SettingsError."""
        flags = {"stub_tools": stub_tools, "strip_billing": strip_billing, "stabilise": stabilise}
        _refuse_wrong_types({"name": name, "backend": backend, **flags, **sampling})
        kind, _, target = backend.partition("=")
        if kind not in KINDS or bool(target) != bool(KINDS[kind]):
            known = ", ".join(f"{word}={what}" if what else word for word, what in KINDS.items())
            raise SettingsError(f'"{backend}" is no backend; there are: {known}.')
        for value, column in ((tier, "tier"), (adapter, "adapter")):
            if value not in CATEGORIES[column]:
                raise SettingsError(f'"{value}" is no {column}; there are: {", ".join(CATEGORIES[column])}.')
        strangers = sorted(set(sampling) - set(SAMPLING))
        if strangers:
            raise SettingsError(f'"{strangers[0]}" is nothing a variant has; sampling is {", ".join(SAMPLING)}.')
        chosen = tuple(sorted(sampling.items()))
        return Variant(name, backend, tier, adapter, stub_tools, strip_billing, stabilise, chosen)

    def from_settings(self) -> Variant:
        """What the proxy would do here and now. Raises SettingsError."""
        from anyclaude_lab.settings import home_folder, load_settings

        settings, _ = load_settings({}, os.environ, cwd=Path.cwd(), home=home_folder())
        if settings.mode == "openrouter":
            backend = f"openrouter={settings.model or settings.openrouter.model}"
        elif settings.mode == "claude":
            backend = f"claude={settings.model or 'claude-sonnet-4-5'}"
        elif settings.mode == "local" and settings.local.source == "url":
            backend = f"mlx={settings.local.base_url}"
        elif settings.mode == "local" and settings.local.source == "embedded":
            backend = "embedded"
        else:
            raise SettingsError(
                "The lab asks one server at a time: name it with mlx=URL, or start it and set LOCAL_URL."
            )
        if settings.mode == "claude":  # byte for byte
            return self("settings", backend=backend)
        return self(
            "settings",
            backend=backend,
            tier=settings.filter_tier,
            adapter=settings.adapter,
            stub_tools=settings.stub_tools,
            strip_billing=settings.strip_billing,
            stabilise=settings.stabilise,
        )


variant = _Variants()
