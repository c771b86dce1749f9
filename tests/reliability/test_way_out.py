"""The way out: proxies, private authorities and redirects; a key goes to the origin it was given for alone."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from anyclaude_lab.backends import tls
from anyclaude_lab.errors import SettingsError
from tests.proxy.conftest import ASK, StartProxy, said, start
from tests.requirements import require_openssl
from tests.standins.anthropic_api import AnthropicStandIn
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.profiles import OpenRouter
from tests.standins.script import Refusal, Turn, reply
from tests.standins.way_out import Certificates, ConnectProxy, TlsFront, certificates

__all__ = ["start"]

HOST = "far.example"
KEYS = {"openrouter": OpenRouter.key, "claude": "sk-ant-api03-private"}


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    return certificates(require_openssl(), tmp_path_factory.mktemp("certificates"), HOST)


@pytest.fixture(autouse=True)
def _trust_begins_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tls._Trust, "bundle", None)
    monkeypatch.setattr(tls._Trust, "context", None)


def standin(mode: str, *turns: Turn) -> OpenAIStandIn | AnthropicStandIn:
    if mode == "claude":
        return AnthropicStandIn(list(turns))
    return OpenAIStandIn(list(turns), profile="openrouter" if mode == "openrouter" else "openai")


def settings(mode: str, url: str) -> dict[str, str]:
    if mode == "claude":
        return {"ANYCLAUDE_CLAUDE_URL": url}
    model = OpenRouter.default_model
    return {"OPENROUTER_BASE_URL": f"{url}/v1", "OPENROUTER_API_KEY": KEYS[mode], "OPENROUTER_MODEL": model}


@asynccontextmanager
async def far_away(
    mode: str, made: Certificates, status: int = 200
) -> AsyncIterator[tuple[OpenAIStandIn | AnthropicStandIn, ConnectProxy]]:
    """The service behind TLS, reached through a CONNECT proxy only."""
    async with (
        standin(mode, reply("from far away")) as service,
        TlsFront(service.port, made) as front,
        ConnectProxy(front.port, status) as proxy,
    ):
        yield service, proxy


@pytest.mark.parametrize("mode", KEYS)
@pytest.mark.parametrize("how", ["caBundle", "SSL_CERT_FILE"])
async def test_a_service_is_reached_through_a_companys_proxy(
    start: StartProxy, monkeypatch: pytest.MonkeyPatch, made: Certificates, mode: str, how: str
) -> None:
    async with far_away(mode, made) as (service, way_out):
        monkeypatch.setenv("HTTPS_PROXY", way_out.url.replace("//", "//me:secret@"))
        env = settings(mode, f"https://{HOST}")
        if how == "caBundle":
            env["ANYCLAUDE_CA_BUNDLE"] = str(made.authority)
        else:
            monkeypatch.setenv("SSL_CERT_FILE", str(made.authority))
        proxy = await start(env=env, flags={"mode": mode, "record": False})
        answer = await proxy.http.post("/v1/messages", json=ASK, headers={"x-api-key": KEYS["claude"]})
        assert "from far away" in said(answer)
        assert service.violations == []
        heads = way_out.heads
        assert all(head.startswith(f"CONNECT {HOST}:443 ") for head in heads)
        assert "proxy-authorization: basic" in heads[0].lower()
        assert not any(key in head for head in heads for key in KEYS.values())


@pytest.mark.parametrize("mode", KEYS)
async def test_an_unknown_authority_is_not_trusted_and_the_remedy_is_named(
    start: StartProxy, monkeypatch: pytest.MonkeyPatch, made: Certificates, mode: str
) -> None:
    async with far_away(mode, made) as (service, way_out):
        monkeypatch.setenv("https_proxy", way_out.url)
        proxy = await start(env=settings(mode, f"https://{HOST}"), flags={"mode": mode, "record": False})
        refused = await proxy.ask()
        assert refused.status_code == 529
        assert "caBundle" in refused.json()["error"]["message"]
        assert service.exchanges == []


@pytest.mark.parametrize("mode", KEYS)
async def test_no_proxy_is_kept(
    start: StartProxy, monkeypatch: pytest.MonkeyPatch, made: Certificates, mode: str
) -> None:
    async with far_away(mode, made) as (_, way_out):
        monkeypatch.setenv("HTTPS_PROXY", way_out.url)
        monkeypatch.setenv("NO_PROXY", f"localhost,{HOST}")
        proxy = await start(env=settings(mode, f"https://{HOST}"), flags={"mode": mode, "record": False})
        assert (await proxy.ask()).status_code == 529
        assert way_out.heads == []


async def test_a_proxy_that_refuses_is_named_without_its_password(
    start: StartProxy, monkeypatch: pytest.MonkeyPatch, made: Certificates
) -> None:
    async with far_away("claude", made, status=407) as (_, way_out):
        monkeypatch.setenv("HTTPS_PROXY", way_out.url.replace("//", "//me:secret@"))
        proxy = await start(env=settings("claude", f"https://{HOST}"), flags={"mode": "claude", "record": False})
        told = (await proxy.ask()).json()["error"]["message"]
        assert f"127.0.0.1:{way_out.port}" in told and "407" in told and "secret" not in told


@pytest.mark.parametrize("content", [None, "", "no certificate"])
async def test_a_bundle_without_certificates_is_refused_at_the_start(
    start: StartProxy, tmp_path: Path, content: str | None
) -> None:
    bundle = tmp_path / "ca.pem"
    if content is not None:
        bundle.write_text(content)
    with pytest.raises(SettingsError, match=r"caBundle .*ca\.pem"):
        await start("http://127.0.0.1:9", env={"ANYCLAUDE_CA_BUNDLE": str(bundle)})


@pytest.mark.parametrize("mode", ["local", *KEYS])
@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_not_followed(start: StartProxy, mode: str, status: int) -> None:
    async with AnthropicStandIn() as thief:
        move = Refusal(status, body=b"", headers=(("location", f"{thief.url}/v1/messages"),))
        async with standin(mode, move) as service:
            env = {"LOCAL_URL": f"{service.url}/v1", "LOCAL_API_KEY": "private-key-of-mine"}
            env = env if mode == "local" else settings(mode, service.url)
            proxy = await start(env=env, flags={"mode": mode, "record": False})
            answer = await proxy.http.post("/v1/messages", json=ASK, headers={"x-api-key": KEYS["claude"]})
            # Claude mode hands on what the API says; a translated answer never sends a client elsewhere.
            assert answer.status_code == (status if mode == "claude" else 500)
            assert mode == "claude" or "location" not in answer.headers
        assert thief.exchanges == [] and thief.connections_opened == 0
