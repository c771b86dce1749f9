"""The kinds of server that answer chat completions: what tells them apart, and what each can say about itself.

One `ServerProfile` per kind, in the order in which an unknown server is compared with them. What differs on the wire
stands in the profile's `dialect`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from anyclaude_lab.backends.ask import CHAT, MODELS, Ask, entries, tokens_of
from anyclaude_lab.backends.base import Call
from anyclaude_lab.backends.http import Answer
from anyclaude_lab.backends.model_folder import trained_window_tokens
from anyclaude_lab.wire import openai_dialect
from anyclaude_lab.wire.events import JsonObject
from anyclaude_lab.wire.openai_dialect import Dialect

COUNT_TIMEOUT_S = 10.0

Facts = Mapping[str, Answer]  # path -> what the server answered there


@dataclass(frozen=True, slots=True)
class Model:
    """A model of a server: the id that requests carry, and the name that says what it is ("" if nobody knows)."""

    id: str
    name: str


def _named(found: Iterable[JsonObject], name: str, key: str = "id") -> JsonObject:
    return next((entry for entry in found if entry.get(key) == name), {})


# -- what most servers do ------------------------------------------------------------------------------------------


def _model(name: object) -> Model | None:
    return Model(str(name), str(name)) if name else None


async def _first_model(ask: Ask, wanted: str | None) -> Model | None:
    return _model(wanted or next((entry["id"] for entry in await ask.models() if entry.get("id")), None))


async def _listed_window(ask: Ask, model: Model) -> int | None:
    entry = _named(await ask.models(), model.id)
    return tokens_of(entry, "max_model_len", "context_length", "context_window", "max_context_length")


async def _is_loaded(ask: Ask, model: Model) -> bool:
    return True


def _unrecognised(facts: Facts) -> bool:
    return False


@dataclass(frozen=True, slots=True)
class ServerProfile:
    """One kind of server: `pick_model` answers None where it has none, `count` is None where it cannot count."""

    kind: str
    dialect: Dialect
    port: int | None = None
    start_hint: str = "check the address, and that the server runs"
    tells: tuple[str, ...] = ()  # GET paths whose answers give it away
    recognises: Callable[[Facts], bool] = _unrecognised
    health: str = MODELS
    pick_model: Callable[[Ask, str | None], Awaitable[Model | None]] = _first_model
    window: Callable[[Ask, Model], Awaitable[int | None]] = _listed_window
    count: Callable[[Ask, JsonObject], Awaitable[int | None]] | None = None
    loaded: Callable[[Ask, Model], Awaitable[bool]] = _is_loaded  # whether a question would load nothing
    version: tuple[str, str] | None = None  # where it tells its version: a path, and a field of the answer
    costs: bool = False  # each question
    window_is_fixed: bool = False  # not asked again while the server answers
    one_model: bool = False  # asking for another model drops the loaded one and its cache
    loses_prefill_on_abort: bool = False
    hears_lanes: bool = False  # told which conversation a request belongs to, and whether it stands beside one
    figures: str | None = None  # where it tells of its cache, as our engine does: see docs/engine.md
    hears_tools: bool = False  # told which tools may be called, where the prompt has them short or not at all

    @property
    def label(self) -> str:
        """How sentences for people call it."""
        return self.dialect.label

    async def version_at(self, ask: Ask) -> str:
        """As the server tells it; "" where it does not."""
        path, name = self.version or ("", "")
        return str((await ask.get(path)).get(name) or "") if path else ""


@dataclass(frozen=True, slots=True)
class Server:
    """What is known of a server that has been asked: its kind, and the models for the two kinds of request."""

    profile: ServerProfile
    main: Model
    small: Model
    version: str = ""  # where it was asked for

    def model_for(self, call: Call) -> Model:
        return self.small if call.background else self.main


# -- mlx-lm --------------------------------------------------------------------------------------------------------

LOADED = "default_model"


def _is_mlx_lm(facts: Facts) -> bool:
    health, nowhere = facts["/health"], facts["/props"]
    says_how_it_is = health.json() in ({"status": "ok"}, {"status": "unavailable"})
    return says_how_it_is and (nowhere.status, nowhere.body) == (404, b"Not Found")


async def _mlx_lm_model(ask: Ask, wanted: str | None) -> Model | None:
    # quirk(mlx-lm): any other name than this and the very spelling of --model drops the loaded model and loads, or
    # downloads, that one. So a wanted name is sent only if its files are already there; a folder only ever as loaded.
    listed = [str(entry["id"]) for entry in await ask.models() if entry.get("id")]
    folders = [name for name in listed if Path(name).is_absolute()]
    if wanted in listed and wanted not in folders:
        return _model(wanted)
    # The server lists the folder it was started with, and every model of the hub's cache; a single one must be it.
    return Model(LOADED, (folders or (listed if len(listed) == 1 else [""]))[0])


async def _mlx_lm_window(ask: Ask, model: Model) -> int | None:
    return trained_window_tokens(model.name)  # the server checks no lengths and tells none


MLX_LM = ServerProfile(
    "mlx-lm",
    openai_dialect.MLX_LM,
    port=8080,
    start_hint="start it with: mlx_lm.server --model MODEL",
    tells=("/health", "/props"),
    recognises=_is_mlx_lm,
    health="/health",
    pick_model=_mlx_lm_model,
    window=_mlx_lm_window,
    one_model=True,
    loses_prefill_on_abort=True,
)


# -- our own engine -------------------------------------------------------------------------------------------------


def _is_engine(facts: Facts) -> bool:
    return facts["/health"].json().get("server") == "anyclaude-engine"


async def _engine_model(ask: Ask, wanted: str | None) -> Model | None:
    return await _first_model(ask, None)  # it has one model and reads no names


async def _engine_count(ask: Ask, body: JsonObject) -> int | None:
    return tokens_of(await ask.post("/tokenize", body, timeout_s=COUNT_TIMEOUT_S), "count")


ENGINE = ServerProfile(
    "anyclaude",
    openai_dialect.ENGINE,
    port=8080,
    start_hint="start it with: python -m anyclaude_lab.engine --model MODEL",
    tells=("/health",),
    recognises=_is_engine,
    health="/health",
    pick_model=_engine_model,
    count=_engine_count,
    figures="/metrics",
    one_model=True,
    hears_lanes=True,
    hears_tools=True,
)


# -- llama.cpp -----------------------------------------------------------------------------------------------------


def _is_llama_cpp(facts: Facts) -> bool:
    props = facts["/props"]
    loading = props.status == 503 and b"Loading model" in props.body
    owners = {entry.get("owned_by") for entry in entries(facts[MODELS].json(), "data")}
    return loading or "default_generation_settings" in props.json() or "llamacpp" in owners


async def _llama_cpp_window(ask: Ask, model: Model) -> int | None:
    props = await ask.get("/props")
    return tokens_of(_part(props, "default_generation_settings"), "n_ctx")


async def _llama_cpp_count(ask: Ask, body: JsonObject) -> int | None:
    counted = {name: value for name, value in body.items() if name not in ("stream", "stream_options")}
    answer = await ask.post(f"{CHAT}/input_tokens", counted, timeout_s=COUNT_TIMEOUT_S)
    return tokens_of(answer, "input_tokens")


LLAMA_CPP = ServerProfile(
    "llama.cpp",
    openai_dialect.LLAMA_CPP,
    version=("/props", "build_info"),
    port=8080,
    start_hint="start it with: llama-server -m MODEL.gguf --jinja",
    tells=("/props", MODELS),
    recognises=_is_llama_cpp,
    health="/health",
    window=_llama_cpp_window,
    count=_llama_cpp_count,
)


# -- Ollama --------------------------------------------------------------------------------------------------------


def _is_ollama(facts: Facts) -> bool:
    return facts["/"].body.startswith(b"Ollama is running")


async def _ollama_model(ask: Ask, wanted: str | None) -> Model | None:
    if wanted:
        return _model(wanted)
    found = entries(await ask.get("/api/ps"), "models") or entries(await ask.get("/api/tags"), "models")
    return _model(next((m["name"] for m in found if m.get("name") and not _embeds(m)), None))


def _embeds(model: JsonObject) -> bool:
    return "bert" in str(_part(model, "details").get("family"))


async def _ollama_loaded(ask: Ask, model: Model) -> bool:
    names = [entry.get("name") for entry in entries(await ask.get("/api/ps"), "models")]
    return model.id in names or f"{model.id}:latest" in names


async def _ollama_window(ask: Ask, model: Model) -> int | None:
    """The window it is loaded with; before that the Modelfile's, else what it was trained with."""
    running = entries(await ask.get("/api/ps"), "models")
    # quirk(ollama): a name without a tag means the tag "latest", and is listed with it.
    loaded = tokens_of(
        _named(running, model.id, "name") or _named(running, f"{model.id}:latest", "name"), "context_length"
    )
    if loaded is not None:
        return loaded
    shown = await ask.post("/api/show", {"model": model.id})
    for line in str(shown.get("parameters") or "").splitlines():
        name, _, value = line.strip().partition(" ")
        if name == "num_ctx" and value.strip().isdigit():
            return int(value)
    info = _part(shown, "model_info")
    return tokens_of(info, f"{info.get('general.architecture')}.context_length")


OLLAMA = ServerProfile(
    "ollama",
    openai_dialect.OLLAMA,
    port=11434,
    start_hint="start it with: OLLAMA_CONTEXT_LENGTH=32768 ollama serve",
    tells=("/",),
    recognises=_is_ollama,
    health="/api/version",
    pick_model=_ollama_model,
    loaded=_ollama_loaded,
    version=("/api/version", "version"),
    window=_ollama_window,
)


# -- LM Studio -----------------------------------------------------------------------------------------------------

LM_STUDIO_MODELS = "/api/v0/models"


def _is_lm_studio(facts: Facts) -> bool:
    listed = facts[LM_STUDIO_MODELS].json()
    return isinstance(listed.get("data"), list) and all("state" in entry for entry in entries(listed, "data"))


async def _lm_studio_model(ask: Ask, wanted: str | None) -> Model | None:
    if wanted:
        return _model(wanted)
    found = entries(await ask.get(LM_STUDIO_MODELS), "data")
    answering = [m for m in found if m.get("id") and m.get("type") != "embeddings"]
    answering.sort(key=lambda m: m.get("state") != "loaded")
    return _model(answering[0]["id"]) if answering else None


async def _lm_studio_loaded(ask: Ask, model: Model) -> bool:
    return _named(entries(await ask.get(LM_STUDIO_MODELS), "data"), model.id).get("state") == "loaded"


async def _lm_studio_window(ask: Ask, model: Model) -> int | None:
    entry = _named(entries(await ask.get(LM_STUDIO_MODELS), "data"), model.id)
    return tokens_of(entry, "loaded_context_length", "max_context_length")


LM_STUDIO = ServerProfile(
    "lmstudio",
    openai_dialect.LM_STUDIO,
    port=1234,
    start_hint="start it in the Developer tab, or with: lms server start",
    # quirk(LM Studio): an unknown path is answered with status 200, so only the content of an answer counts.
    tells=(LM_STUDIO_MODELS,),
    recognises=_is_lm_studio,
    pick_model=_lm_studio_model,
    loaded=_lm_studio_loaded,
    window=_lm_studio_window,
)


# -- vLLM ----------------------------------------------------------------------------------------------------------


def _is_vllm(facts: Facts) -> bool:
    return any(entry.get("owned_by") == "vllm" for entry in entries(facts[MODELS].json(), "data"))


async def _vllm_count(ask: Ask, body: JsonObject) -> int | None:
    rendered = ("model", "messages", "tools", "chat_template_kwargs", "continue_final_message", "add_generation_prompt")
    asked = {"add_generation_prompt": True} | {name: body[name] for name in rendered if name in body}
    return tokens_of(await ask.post("/tokenize", asked, timeout_s=COUNT_TIMEOUT_S), "count")


VLLM = ServerProfile(
    "vllm",
    openai_dialect.VLLM,
    version=("/version", "version"),
    port=8000,
    start_hint="start it with: vllm serve MODEL --enable-auto-tool-choice --tool-call-parser PARSER",
    tells=(MODELS,),
    recognises=_is_vllm,
    health="/health",
    count=_vllm_count,
)


GENERIC = ServerProfile("generic", openai_dialect.GENERIC)
OPENROUTER = ServerProfile(
    "openrouter",
    openai_dialect.OPENROUTER,
    start_hint="check the network, and the proxy variables of the shell",
    health="{api}/key",
    costs=True,
    window_is_fixed=True,  # the list that tells it is long
)

LOCAL_SERVERS = (ENGINE, OLLAMA, LM_STUDIO, LLAMA_CPP, VLLM, MLX_LM)
PROFILES: dict[str, ServerProfile] = {p.kind: p for p in (*LOCAL_SERVERS, OPENROUTER, GENERIC)}


def _part(body: JsonObject, name: str) -> dict[str, Any]:
    value = body.get(name)
    return value if isinstance(value, dict) else {}
