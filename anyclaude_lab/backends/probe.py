"""Which server is it? By what it answers, never by its port."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from urllib.parse import urlsplit

from anyclaude_lab.backends.ask import MODELS, Ask, entries
from anyclaude_lab.backends.http import Budgets, HttpLeg, is_loopback
from anyclaude_lab.backends.profiles import GENERIC, LOCAL_SERVERS, ServerProfile

NEAR_S, FAR_S = 2.0, 6.0  # patience with a server on this machine, and with another
SEED_PORTS = (8081, 8082)  # where the predecessor of this program had its servers
DEFAULT_PORTS = tuple(dict.fromkeys([*(p.port for p in LOCAL_SERVERS if p.port), *SEED_PORTS]))
_VERSION_AT_END = re.compile(r"/v\d+\Z")


@dataclass(frozen=True, slots=True)
class FoundServer:
    """A server that runs. `url` is what to set as its address; the window is in tokens, None if it does not say."""

    kind: str
    url: str
    models: tuple[str, ...]
    window_tokens: int | None

    @property
    def label(self) -> str:
        """How sentences for people call it."""
        return next((p.label for p in LOCAL_SERVERS if p.kind == self.kind), "an OpenAI-compatible server")


def split_base(url: str) -> tuple[str, str]:
    """An address as (root, api): `http://host:1234/v1` is (`http://host:1234`, `/v1`); no path at all means `/v1`."""
    base = url.rstrip("/").removesuffix("/chat/completions")
    if version := _VERSION_AT_END.search(base):
        return base[: version.start()], version[0]
    return base, "" if urlsplit(base).path.strip("/") else "/v1"


async def identify(ask: Ask) -> ServerProfile | None:
    """The profile that fits what the server answers, GENERIC if none does.

    None where nobody answers, or not enough to tell: a wrong guess would be worse, a model could be dropped for it.
    """
    paths = list(dict.fromkeys([MODELS, *(path for profile in LOCAL_SERVERS for path in profile.tells)]))
    answers = await asyncio.gather(*(ask.raw(path) for path in paths))
    facts = {path: answer for path, answer in zip(paths, answers, strict=True) if answer is not None}
    for profile in LOCAL_SERVERS:
        if all(path in facts for path in profile.tells) and profile.recognises(facts):
            return profile
    return GENERIC if len(facts) == len(paths) else None


async def find_running(ports: Iterable[int] = DEFAULT_PORTS, host: str = "127.0.0.1") -> list[FoundServer]:
    """The model servers on these ports of this machine, in their order."""
    found = await asyncio.gather(*(_look(f"http://{host}:{port}") for port in ports))
    return [server for server in found if server is not None]


async def _look(root: str) -> FoundServer | None:
    leg = HttpLeg(root, budgets=Budgets(connect_s=1.0, silence_s=NEAR_S))
    ask = Ask(leg, "/v1", timeout_s=NEAR_S)
    try:
        profile = await identify(ask)
        if profile is None or (profile is GENERIC and not isinstance((await ask.get(MODELS)).get("data"), list)):
            return None  # something else listens there
        listed = entries(await ask.get(MODELS), "data")
        model = await profile.pick_model(ask, None)
        window = await profile.window(ask, model) if model else None
        return FoundServer(profile.kind, f"{root}/v1", tuple(str(m.get("id")) for m in listed), window)
    finally:
        await leg.close()


def patience_s(url: str) -> float:
    """How long a small question to that server may take."""
    return NEAR_S if is_loopback(urlsplit(url).hostname or "") else FAR_S
