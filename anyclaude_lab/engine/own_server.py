"""Our own engine (`engine/serve/`) as a server that is started for the user."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from anyclaude_lab.engine.mlx_server import ground_for
from anyclaude_lab.engine.spec import PORT, ServerSpec

ENGINE = "anyclaude"


@dataclass(frozen=True, slots=True)
class EngineOptions:
    """What can be chosen; None is the engine's own default. `disk`: where computed prefixes outlive the process."""

    window_tokens: int | None = None
    memory_mb: int | None = None
    disk: Path | None = None
    disk_mb: int | None = None
    disk_bits: int | None = None
    warm: bool = True
    grammar: bool = False

    def arguments(self) -> tuple[str, ...]:
        """For the command line of `python -m anyclaude_lab.engine`."""
        chosen = {
            "--window": self.window_tokens,
            "--memory-mb": self.memory_mb,
            "--disk": self.disk,
            "--disk-mb": self.disk_mb,
            "--disk-bits": self.disk_bits,
        }
        named = (word for flag, value in chosen.items() if value is not None for word in (flag, str(value)))
        switches = {"--warm": self.warm and self.disk is not None, "--grammar": self.grammar}
        return (*named, *(flag for flag, on in switches.items() if on))


def own_server(
    model: str | Path,
    options: EngineOptions | None = None,
    *,
    port: int | None = None,
    startup_timeout_s: float = 120.0,
) -> ServerSpec:
    """Our engine for the model in a folder, or for one with a hub id, which is downloaded on first use.

    Raises SettingsError: mlx-lm is not installed, there is no such folder, something is missing in it.
    """
    ground = ground_for(model)
    return ServerSpec(
        engine=ENGINE,
        program="anyclaude_lab.engine",
        arguments=("--model", ground.model, "--port", PORT, *(options or EngineOptions()).arguments()),
        model_name=ENGINE,  # it has one model and reads no names
        ready_path="/health",  # 503 while the model is loading
        environment=ground.environment,
        identity=ground.identity,
        port=port,
        startup_timeout_s=startup_timeout_s,
        remarks=ground.remarks,
        refusal_code=2,
    )
