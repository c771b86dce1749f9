"""The HTTP surface: routes, the guard at the door, start and stop."""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable
from importlib import resources

from aiohttp import web

from anyclaude_lab.errors import AnyclaudeError, BackendFailed, Forbidden, NotFound, SettingsError
from anyclaude_lab.proxy.admin import breaker_metrics, live, metrics, ready
from anyclaude_lab.proxy.messages import messages
from anyclaude_lab.proxy.relay import relay
from anyclaude_lab.proxy.serving import MAX_BODY_BYTES, Serving, error_response, new_request_id
from anyclaude_lab.proxy.tokens import count_tokens, list_models
from anyclaude_lab.settings import PREFERRED_PORT

LOOPBACK_NAMES = ("127.0.0.1", "localhost", "::1")
SHUTDOWN_S = 5.0

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


class Server:
    """One proxy on one port."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        # The production runner cancels a handler when its client leaves; that is what stops the backend's decoding.
        self._runner = web.AppRunner(
            self._app(), handler_cancellation=True, access_log=None, shutdown_timeout=SHUTDOWN_S
        )
        self.url = ""

    async def start(self, host: str, port: int | None) -> str:
        """Listen; returns the URL. `port` None: the usual one, or a free one if that is taken. 0: a free one."""
        await self._runner.setup()
        listener = _bind(host, port)
        await web.SockSite(self._runner, listener).start()
        shown = f"[{host}]" if ":" in host else host
        self.url = f"http://{shown}:{listener.getsockname()[1]}"
        return self.url

    async def stop(self) -> None:
        """Finish or end what runs. The backend is its owner's to close."""
        await self._runner.cleanup()
        await self.serving.grace.close()
        for service in self.serving.search:
            await service.close()

    def _app(self) -> web.Application:
        serving = self.serving
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._guard, self._account])
        add = app.router.add_route

        def bound(handler: Callable[[web.Request, Serving], Awaitable[web.StreamResponse]]) -> Handler:
            async def call(http: web.Request) -> web.StreamResponse:
                return await handler(http, serving)

            return call

        add("GET", "/health/live", _alive)
        add("GET", "/health/ready", bound(ready))
        add("GET", "/v1/metrics", bound(metrics))
        add("GET", "/v1/circuit-breaker/metrics", bound(breaker_metrics))
        add("GET", "/v1/live", bound(live))
        add("GET", "/", _dashboard, name="dashboard")
        if serving.variant.backend.translating:
            add("HEAD", "/", _head)
            add("HEAD", "/api/hello", _head)
            add("POST", "/v1/messages", bound(messages))
            add("POST", "/v1/messages/count_tokens", bound(count_tokens))
            add("GET", "/v1/models", bound(list_models))
            add("*", "/{path:.*}", _unknown)
        else:
            add("*", "/{path:.*}", bound(relay))
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """A web page that was talked into resolving its name to this machine gets nothing."""
        name = (
            request.host.rsplit(":", 1)[0].strip("[]") if not request.host.endswith("]") else request.host.strip("[]")
        )
        if self.serving.settings.host in LOOPBACK_NAMES and name not in LOOPBACK_NAMES:
            failure = Forbidden(f"This proxy answers on {', '.join(LOOPBACK_NAMES)} only; the request named {name!r}.")
            return error_response(failure, new_request_id())
        return await handler(request)

    @web.middleware
    async def _account(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count every request, and turn a defect of ours into one sentence."""
        serving = self.serving
        endpoint = _endpoint(request)
        status = 499
        serving.metrics.active.inc()
        with serving.metrics.duration_s.labels(endpoint).time():
            try:
                response = await handler(request)
                status = response.status
                return response
            except AnyclaudeError as failure:
                status = failure.status
                return error_response(failure, new_request_id())
            except web.HTTPException as answer:
                status = answer.status
                raise
            except (ConnectionError, TimeoutError):
                raise
            except Exception as error:
                request_id = new_request_id()
                serving.log.crash(request_id, error)
                status = 500
                return error_response(
                    BackendFailed(
                        f"The proxy failed on this request ({type(error).__name__}); its log has the details."
                    ),
                    request_id,
                )
            finally:
                serving.metrics.active.dec()
                serving.metrics.requests.labels(endpoint, str(status)).inc()


ENDPOINTS = ("/v1/messages", "/v1/messages/count_tokens", "/v1/models", "/v1/metrics", "/v1/live", "/")


def _endpoint(http: web.Request) -> str:
    return http.path if http.path in ENDPOINTS or http.path.startswith("/health/") else "other"


async def _alive(http: web.Request) -> web.Response:
    return web.json_response({"status": "alive"})


async def _head(http: web.Request) -> web.Response:
    return web.Response()


async def _unknown(http: web.Request) -> web.Response:
    raise NotFound(f"There is no {http.method} {http.path} here; the Messages API is at POST /v1/messages.")


async def _dashboard(http: web.Request) -> web.Response:
    page = resources.files("anyclaude_lab.proxy").joinpath("pages/dashboard.html").read_text("utf-8")
    return web.Response(
        text=page,
        content_type="text/html",
        headers={"content-security-policy": "default-src 'self' 'unsafe-inline'", "x-content-type-options": "nosniff"},
    )


def _bind(host: str, port: int | None) -> socket.socket:
    wanted = PREFERRED_PORT if port is None else port
    try:
        return _listener(host, wanted)
    except OSError as error:
        if port is None:
            return _listener(host, 0)
        raise SettingsError(
            f"Port {wanted} on {host} cannot be used ({error.strerror or error}); choose another with --port, "
            "or leave it out to get a free one."
        ) from None


def _listener(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if hasattr(socket, "SO_EXCLUSIVEADDRUSE"):  # Windows would share the port otherwise
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        else:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((host, port))
        listener.listen(512)
    except OSError:
        listener.close()
        raise
    return listener
