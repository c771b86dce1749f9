"""`mlx_lm.server` for one model, and what its folder must hold."""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from pathlib import Path

from anyclaude_lab.engine.blas import find_openblas
from anyclaude_lab.engine.spec import PORT, ServerSpec
from anyclaude_lab.errors import SettingsError

ENGINE = "mlx_lm.server"
# On a CPU a step's attention is computed for what is masked too: a cold prompt of 2,300 tokens took a third less time
# in steps of 512 than of 2048 (mlx-lm's default, which is right for a GPU).
CPU_ARGUMENTS = ("--prefill-step-size", "512") if sys.platform == "linux" else ()
HUB_ID = re.compile(r"[A-Za-z0-9][\w.-]*/[\w.-]+")

# One of each line must be there. Sources: transformers' tokenizer and chat template file names.
TOKENIZERS = ("tokenizer.json", "tokenizer.model", "tekken.json", "tiktoken.model", "vocab.json")
TEMPLATES = ("chat_template.jinja", "chat_template.json")


def mlx_lm_server(model: str | Path, *, port: int | None = None, startup_timeout_s: float = 120.0) -> ServerSpec:
    """A stock server for the model in a folder, or for one with a hub id, which is downloaded on first use.

    Raises SettingsError: mlx-lm is not installed, there is no such folder, something is missing in it.
    """
    ground = ground_for(model)
    return ServerSpec(
        engine=ENGINE,
        program="mlx_lm",
        arguments=(
            *("server", "--model", ground.model, "--host", "127.0.0.1", "--port", PORT, "--log-level", "INFO"),
            *CPU_ARGUMENTS,
        ),
        # quirk(mlx-lm): any other name but the very string of --model is loaded (or downloaded) in its place.
        model_name="default_model",
        # quirk(mlx-lm): /health and /v1/models answer while the model is still loading, a request waits for it.
        ready_path="/v1/chat/completions",
        ready_body={"messages": [{"role": "user", "content": "Hello"}], "max_tokens": 1},
        environment=ground.environment,
        identity=ground.identity,
        port=port,
        startup_timeout_s=startup_timeout_s,
        remarks=ground.remarks,
    )


@dataclass(frozen=True, slots=True)
class Ground:
    """What any server on mlx-lm needs for one model: see `ServerSpec`."""

    model: str
    environment: tuple[tuple[str, str], ...]
    identity: tuple[str, ...]
    remarks: tuple[str, ...]


def ground_for(model: str | Path) -> Ground:
    """Looks at what is installed and at the model's folder. Raises SettingsError, as `mlx_lm_server` does."""
    require_mlx_lm()
    folder = Path(model).expanduser()
    environment = []
    identity = [f"mlx-lm {package_version('mlx-lm')}", f"mlx {package_version('mlx')}"]
    if folder.exists() or not HUB_ID.fullmatch(str(model)):
        folder = folder.resolve()
        check_model_folder(folder)
        model = folder
        environment += [("HF_HUB_OFFLINE", "1"), ("TRANSFORMERS_OFFLINE", "1")]
        identity += sorted(file_stamp(file) for file in folder.iterdir() if file.is_file())
    blas = find_openblas()
    if blas:
        environment.append(("LD_PRELOAD", str(blas)))
    remarks = (f"model {model}", f"BLAS: {blas or blas_words()}")
    return Ground(str(model), tuple(environment), tuple(identity), remarks)


def require_mlx_lm() -> None:
    """Raises SettingsError where mlx-lm cannot run."""
    if sys.platform == "win32" or find_spec("mlx") is None or find_spec("mlx_lm") is None:
        raise SettingsError(
            "No model can be started here, because mlx-lm is not installed (it exists for Apple silicon and Linux). "
            "Set LOCAL_URL to a server that runs already, for example LOCAL_URL=http://127.0.0.1:11434/v1 for Ollama."
        )


def check_model_folder(folder: Path) -> None:
    """Raises SettingsError with one sentence when mlx-lm could not serve what is in `folder`."""
    if folder.is_file():
        hint = "a .gguf file is for llama.cpp: start llama-server and set LOCAL_URL" if folder.suffix == ".gguf" else ""
        raise SettingsError(f"{folder} is a file, but a model for mlx-lm is a folder{f' ({hint})' if hint else ''}.")
    if not folder.is_dir():
        raise SettingsError(
            f"There is no model folder {folder}. Give a folder with config.json, tokenizer and safetensors, "
            "or a hub id such as mlx-community/NAME."
        )
    if missing := missing_part(folder):
        raise SettingsError(
            f"The model folder {folder} has no {missing}. A model for mlx-lm consists of config.json, a tokenizer with "
            "a chat template, and safetensors: download it again as a whole, or name another folder."
        )


def blas_words() -> str:
    """Which BLAS mlx uses when none is found to replace it."""
    if sys.platform != "linux":
        return "the system's"
    return "the one mlx brings, slow on this machine: install OpenBLAS (apt install libopenblas0-pthread)"


def missing_part(folder: Path) -> str | None:
    """What a model's folder lacks, in words; None when all is there."""
    try:
        config = json.loads((folder / "config.json").read_bytes())
        if not isinstance(config, dict) or "model_type" not in config:
            return "model_type in its config.json"
    except FileNotFoundError:
        return "config.json"
    except (OSError, ValueError):
        return "readable config.json"
    if not any((folder / name).exists() for name in TOKENIZERS) and not list(folder.glob("*.tiktoken")):
        return f"tokenizer (none of {', '.join(TOKENIZERS)})"
    if not any((folder / name).exists() for name in TEMPLATES) and not _json(folder / "tokenizer_config.json").get(
        "chat_template"
    ):
        return "chat template (in tokenizer_config.json or chat_template.jinja), which a model that chats needs"
    shards = _json(folder / "model.safetensors.index.json").get("weight_map")
    for shard in sorted(set(map(str, shards.values()))) if isinstance(shards, dict) else ():
        if not (folder / shard).exists():
            return f"{shard}, which its model.safetensors.index.json names"
    return None if list(folder.glob("*.safetensors")) else "weights (*.safetensors)"


def _json(path: Path) -> dict[str, object]:
    try:
        value = json.loads(path.read_bytes())
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}


def file_stamp(file: Path) -> str:
    """Changes when the file does, so that a replaced model is not answered from the old one."""
    about = file.stat()
    return f"{file.name} {about.st_size} {about.st_mtime_ns}"


def package_version(package: str) -> str:
    """The installed version; "unknown" where it is not installed."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
