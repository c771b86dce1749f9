"""A variant made able to answer: its backend opened the way the proxy opens it, its prompt plan, its model's tokenizer.

The only place in the lab that knows settings. Servers started here are a run's own: no earlier prompt is in their
cache.
"""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from anyclaude_lab import exchange
from anyclaude_lab.compose import composed
from anyclaude_lab.engine import embedded
from anyclaude_lab.exchange.count import PromptCounter
from anyclaude_lab.exchange.lanes import Lanes
from anyclaude_lab.lab.breaks import Sent
from anyclaude_lab.lab.metrics.reuse import EngineCache, IdealCache, MlxCache
from anyclaude_lab.lab.rendered import Renderer
from anyclaude_lab.lab.scripted import ScriptedBackend
from anyclaude_lab.lab.variant import Variant
from anyclaude_lab.prompt.pipeline import Plan
from anyclaude_lab.settings import load_settings
from anyclaude_lab.trace.read import Recorded

EMBEDDED_MAX_TOKENS = 96  # the demonstration model writes one short call, or goes on for ever


@dataclass(slots=True)
class Served:
    """One opened backend, what renders its prompts, and the model of its cache."""

    base: exchange.Variant
    renderer: Renderer | None
    expected: MlxCache | EngineCache
    ideal: IdealCache


@dataclass(slots=True)
class Arm:
    """A variant and repeat ready to be asked. Lanes are its own; `last` is what each lane sent before."""

    variant: Variant
    way: exchange.Variant
    served: Served
    last: dict[str, Sent] = field(default_factory=dict)


class Backends:
    """The backends of a run, each opened once. Made by `opened`."""

    def __init__(self, stack: AsyncExitStack, answers: Callable[[str], Recorded | None]) -> None:
        self._stack, self._answers = stack, answers
        self._served: dict[tuple[str, str], Served] = {}
        self._caches: dict[str, tuple[MlxCache | EngineCache, IdealCache]] = {}  # one for each server, whoever asks it
        self._home = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="anyclaude-lab-")))

    async def arm(self, variant: Variant) -> Arm:
        """The variant with lanes of its own. Raises SettingsError."""
        key = (variant.backend, variant.adapter)
        if key not in self._served:
            caches = self._caches.setdefault(variant.backend, _caches(variant))
            self._served[key] = Served(*await self._open(variant), *caches)
        served = self._served[key]
        way = dataclasses.replace(
            served.base,
            name=variant.name,
            plan=plan_of(variant, served.base.plan),
            output_cap_tokens=dict(variant.sampling).get(
                "max_tokens", EMBEDDED_MAX_TOKENS if variant.kind == "embedded" else None
            ),
            lanes=Lanes(),
        )
        return Arm(variant, way, served)

    async def _open(self, variant: Variant) -> tuple[exchange.Variant, Renderer | None]:
        if variant.kind == "scripted":
            backend = ScriptedBackend(self._answers)
            base = exchange.Variant("scripted", backend, Plan(), PromptCounter(backend))
            return base, embedded_renderer(variant.adapter)
        flags, environment = _settings_of(variant)
        settings, _ = load_settings(flags, environment, cwd=self._home, home=self._home)
        parts = await self._stack.enter_async_context(composed(settings, state_folder=self._home))
        return parts.variant, embedded_renderer(variant.adapter) if variant.kind == "embedded" else None


@asynccontextmanager
async def opened(answers: Callable[[str], Recorded | None]) -> AsyncIterator[Backends]:
    """Backends that are closed, and servers ended, with the block. `answers` finds what was recorded, by turn key."""
    async with AsyncExitStack() as stack:
        yield Backends(stack, answers)


def embedded_renderer(adapter: str = "none") -> Renderer:
    """That of the model that comes with the package."""
    return Renderer(embedded.folder(), adapter)


def plan_of(variant: Variant, base: Plan | None = None) -> Plan:
    """The prompt work of a variant. Adapters are none of it: they belong to the backend."""
    wanted: dict[str, Any] = {"tier": variant.tier, "stub_tools": variant.stub_tools}
    for name in ("strip_billing", "stabilise"):
        chosen = getattr(variant, name)
        wanted[name] = variant.translates if chosen is None else chosen
    return dataclasses.replace(base or Plan(), **wanted)


def _caches(variant: Variant) -> tuple[MlxCache | EngineCache, IdealCache]:
    return EngineCache() if variant.kind == "embedded" else MlxCache(), IdealCache()


def _settings_of(variant: Variant) -> tuple[dict[str, Any], dict[str, str]]:
    """Flags and environment with which the proxy would have this backend. Keys come from the real environment."""
    keys = {name: os.environ[name] for name in _KEYS[variant.kind] if name in os.environ}
    flags: dict[str, Any] = {"proxy_only": True, "adapter": variant.adapter}
    if variant.kind == "mlx":
        return flags, keys | {"LOCAL_URL": variant.target}
    if variant.kind in ("openrouter", "claude"):
        return flags | {"mode": variant.kind, "model": variant.target}, keys
    return flags, keys


_KEYS: dict[str, tuple[str, ...]] = {
    "embedded": (),
    "mlx": ("LOCAL_API_KEY", "LOCAL_MODEL"),
    "openrouter": ("OPENROUTER_API_KEY", "OPENROUTER_BASE_URL"),
    "claude": ("ANTHROPIC_API_KEY", "ANYCLAUDE_CLAUDE_URL"),
}
