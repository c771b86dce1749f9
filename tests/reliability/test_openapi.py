"""The surface is what docs/openapi.yaml says, for requests that follow it and for those that do not."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import schemathesis
import yaml  # type: ignore[import-untyped]  # it has no types
from hypothesis import HealthCheck, settings
from schemathesis.checks import not_a_server_error
from schemathesis.core.failures import FailureGroup
from schemathesis.specs.openapi.checks import content_type_conformance, response_schema_conformance

from anyclaude_lab.proxy.server import Server
from anyclaude_lab.proxy.threaded import Proxy
from tests.proxy.conftest import StartProxy, start
from tests.standins.http import DEADLINE_S, running
from tests.standins.openai_api import OpenAIStandIn
from tests.standins.script import reply

__all__ = ["start"]

DOCUMENT = yaml.safe_load((Path(__file__).parents[2] / "docs" / "openapi.yaml").read_text("utf-8"))
CHECKS = [not_a_server_error, content_type_conformance, response_schema_conformance]
SURFACE = schemathesis.openapi.from_dict(DOCUMENT).exclude(path="/v1/live")  # it never ends
GENERATED = settings(max_examples=5, deadline=None, derandomize=True, suppress_health_check=list(HealthCheck))


@pytest.fixture(scope="module")
def url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    with (
        pytest.MonkeyPatch.context() as here,
        running(OpenAIStandIn(lambda body: reply("fine"))) as backend,
    ):
        home = tmp_path_factory.mktemp("home")
        here.setenv("HOME", str(home))
        here.chdir(home)
        proxy = Proxy(backends={"local": {"baseUrl": f"{backend.url}/v1"}}, circuitBreaker={"enabled": False})
        asyncio.run(proxy.start())
        yield proxy.url
        asyncio.run(proxy.stop())


@SURFACE.parametrize()
@GENERATED
def test_every_answer_is_as_described(case: schemathesis.Case[Any], url: str) -> None:
    case.call_and_validate(base_url=url, checks=CHECKS, timeout=DEADLINE_S)


def test_an_answer_that_is_not_as_described_is_found(url: str) -> None:
    wrong = yaml.safe_load(yaml.safe_dump(DOCUMENT))
    answer = wrong["paths"]["/health/live"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
    answer["properties"]["status"]["const"] = "planted"
    case = schemathesis.openapi.from_dict(wrong)["/health/live"]["GET"].Case()
    with pytest.raises(FailureGroup) as found:
        case.call_and_validate(base_url=url, checks=CHECKS)
    assert "planted" in str(found.value.exceptions)


async def test_every_route_is_described_and_every_description_is_a_route(start: StartProxy) -> None:
    proxy = await start("http://127.0.0.1:9")
    app: Any = Server(proxy.serving)._app()
    routes = {
        (route.method, route.resource.canonical)
        for route in app.router.routes()
        if route.method != "*" and (route.method != "HEAD" or route.resource.canonical in ("/", "/api/hello"))
    }
    served = {(method, path.rstrip("/") or "/") for method, path in routes}
    told = {(method.upper(), path) for path, item in DOCUMENT["paths"].items() for method in item}
    assert served == told
