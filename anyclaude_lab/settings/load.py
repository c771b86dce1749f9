"""Flags over variables over files over defaults, and what they come to together."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyclaude_lab.settings.build import build, model_to_load
from anyclaude_lab.settings.model import Mode, Settings
from anyclaude_lab.settings.resolved import Resolved
from anyclaude_lab.settings.sources import (
    FILE_NAME,
    Layer,
    Rank,
    environment_layer,
    file_layer,
    flag_layer,
    given_layer,
)
from anyclaude_lab.settings.table import FLAGS
from anyclaude_lab.settings.trust import refuse_untrusted


@dataclass(frozen=True, slots=True)
class Loaded:
    """The settings, what is to be said about them, and the value of every key."""

    settings: Settings
    warnings: list[str]
    resolved: Resolved


def load_settings(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    cwd: Path,
    home: Path,
    config_file: Path | None = None,
    given: tuple[str, Mapping[str, Any]] | None = None,
) -> tuple[Settings, list[str]]:
    """The settings and the warnings to print.

    `flags` by name (`{"mode": "local", "filter_tier": "off"}`). Without `config_file` the file in `cwd` is read, and
    the one in `home` for what the first leaves open; that in `cwd` may not decide everything (see `trust`). `given`:
    who gives settings in code, and which, named as in a file; they are as strong as flags. Raises `SettingsError`:
    exit code 2.
    """
    loaded = load(flags, environ, cwd=cwd, home=home, config_file=config_file, given=given)
    return loaded.settings, loaded.warnings


def load(
    flags: Mapping[str, Any],
    environ: Mapping[str, str],
    *,
    cwd: Path,
    home: Path,
    config_file: Path | None = None,
    given: tuple[str, Mapping[str, Any]] | None = None,
) -> Loaded:
    """As `load_settings`, with every value."""
    layers = [flag_layer(flags, cwd), environment_layer(environ, cwd)]
    if given is not None:
        layers.append(given_layer(given[1], given[0], cwd))
    here, at_home = cwd / FILE_NAME, home / FILE_NAME
    project = None
    if config_file is not None:
        layers.append(file_layer(cwd / config_file, Rank.FILE))
    else:
        if at_home.is_file():
            layers.append(file_layer(at_home, Rank.HOME_FILE))
        if here.is_file() and here.resolve() != at_home.resolve():
            project = file_layer(here, Rank.FILE)
            layers.append(project)
    resolved = Resolved(layers)
    settings = build(resolved, home=home)
    if project is not None:
        starts = settings.mode == "local" and settings.local.source == "start"
        refuse_untrusted(
            project,
            here,
            home,
            loads_model=starts and model_to_load(resolved) in project.values.values(),
            gets_key=_addresses_with_keys(resolved, project),
        )
    mine = f"backends.{settings.mode}"
    warnings = [
        sentence
        for layer in layers
        for key, sentence in layer.warnings
        if not key.startswith("backends.") or key.startswith(mine)
    ]
    return Loaded(settings, [*dict.fromkeys(warnings), *_unused_flags(flags, settings.mode)], resolved)


def missing(settings: Settings) -> str | None:
    """What the chosen mode cannot start without, in one sentence; None when nothing is missing."""
    if settings.mode == "openrouter" and settings.openrouter.api_key is None:
        return (
            "Mode openrouter needs a key: set OPENROUTER_API_KEY, or backends.openrouter.apiKey in ~/.anyclauderc.json "
            "(keys are made at https://openrouter.ai/keys)."
        )
    if settings.mode == "mlx-cluster" and not settings.cluster.nodes:
        return (
            "Mode mlx-cluster needs nodes: list them in backends.mlx-cluster.discovery.nodes, or set "
            'MLX_CLUSTER_NODES=\'[{"id": "mac-1", "url": "http://10.0.0.2:8080/v1"}]\'.'
        )
    if settings.mode == "local" and settings.local.distributed.hosts and settings.local.source != "start":
        return (
            "backends.local.distributed says on which machines a model runs, but none is started: set "
            "backends.local.modelPath to a model that is at the same path on all of them."
        )
    if settings.mode == "local" and settings.local.source == "url" and settings.local.base_url is None:
        return "autoStartServer is false and no address is set: set LOCAL_URL (or backends.local.baseUrl)."
    return None


def _addresses_with_keys(resolved: Resolved, project: Layer) -> list[str]:
    """Addresses that a project's file decides although a key goes there: one set elsewhere, or the client's own."""
    keyed = [mode for mode in ("local", "openrouter") if resolved.of(f"backends.{mode}.apiKey").value is not None]
    addresses = [f"backends.{mode}.baseUrl" for mode in (*keyed, "claude")]
    if "local" in keyed and resolved.of("backends.local.baseUrl").value is None:
        addresses.append("backends.local.port")
    if resolved.of("backends.mlx-cluster.apiKey").value is not None:
        addresses.append("backends.mlx-cluster.discovery.nodes")
    return [key for key in addresses if key in project.values and resolved.of(key) is project.values[key]]


def _unused_flags(flags: Mapping[str, Any], mode: Mode) -> list[str]:
    """Flags that say something about other modes only (`--filter-tier` in mode claude)."""
    return [
        f"{flag.name} has no effect in mode {mode}."
        for flag in FLAGS.values()
        if flags.get(flag.setting) is not None
        and flag.off is (flags[flag.setting] is False and flag.setting != "proxy_only")
        and all(row.key.startswith("backends.") for row in flag.rows)
        and not any(row.key.startswith(f"backends.{mode}.") for row in flag.rows)
    ]
