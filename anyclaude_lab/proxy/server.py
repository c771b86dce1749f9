"""The HTTP surface: routes, the guard at the door, start and stop."""

from __future__ import annotations

import asyncio
import errno
import logging
import socket
from collections.abc import Awaitable, Callable
from contextlib import nullcontext

from aiohttp import web

from anyclaude_lab.errors import AnyclaudeError, BackendFailed, NotFound, SettingsError, Unauthenticated, WrongMethod
from anyclaude_lab.proxy.admin import breaker_metrics, live, metrics, nodes, ready
from anyclaude_lab.proxy.dashboard import asset, page, recording
from anyclaude_lab.proxy.log import Log
from anyclaude_lab.proxy.messages import messages
from anyclaude_lab.proxy.relay import keep_as_sent, relay
from anyclaude_lab.proxy.serving import CLIENT_LEFT, GIVEN, MAX_BODY_BYTES, Serving, error_response, new_request_id
from anyclaude_lab.proxy.tokens import count_tokens, describe_model, list_models
from anyclaude_lab.settings import PREFERRED_PORT

ANY_ADDRESS = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104  # listened on, and how this machine reaches it
SHUTDOWN_S = 5.0  # for answers that are being given to come to their end
CANCELLED_S = 1.0  # for what was cancelled then to let go of its backend and be accounted for

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
BEGUN = web.RequestKey("begun", web.StreamResponse)


class Server:
    """One proxy on one port."""

    def __init__(self, serving: Serving) -> None:
        self.serving = serving
        # The production runner cancels a handler when its client leaves; that is what stops the backend's decoding.
        self._runner = web.AppRunner(
            self._app(),
            handler_cancellation=True,
            access_log=None,
            shutdown_timeout=SHUTDOWN_S / 2,  # quirk(aiohttp): it waits that long twice, and not for what it cancels
            auto_decompress=serving.variant.backend.translating,  # a relayed body stays as it came
            logger=_quiet_logger(serving.log),
        )
        self._answering: set[asyncio.Task[object]] = set()
        self.url = ""
        self.port = 0

    async def start(self, host: str, port: int | None) -> str:
        """Listen; returns the URL. `port` None: the usual one, or a free one if that is taken. 0: a free one."""
        await self._runner.setup()
        listener = _bind(host, port)
        await web.SockSite(self._runner, listener).start()
        self.port = listener.getsockname()[1]
        reached = ANY_ADDRESS.get(host, host)
        self.url = f"http://[{reached}]:{self.port}" if ":" in reached else f"http://{reached}:{self.port}"
        return self.url

    async def stop(self) -> None:
        """Finish or end what runs. The backend is its owner's to close."""
        await self._runner.cleanup()
        if self._answering:
            await asyncio.wait(self._answering, timeout=CANCELLED_S)
        await self.serving.joins.close()
        for service in self.serving.search:
            await service.close()

    def _app(self) -> web.Application:
        serving = self.serving
        app = web.Application(client_max_size=MAX_BODY_BYTES, middlewares=[self._guard, self._account])
        app.on_response_prepare.extend((keep_as_sent, _note_begun))
        app.on_shutdown.append(self._end_live_feeds)
        add, get = app.router.add_route, app.router.add_get

        def bound(handler: Callable[[web.Request, Serving], Awaitable[web.StreamResponse]]) -> Handler:
            async def call(http: web.Request) -> web.StreamResponse:
                return await handler(http, serving)

            return call

        get("/health/live", _alive)
        get("/health/ready", bound(ready))
        get("/v1/metrics", bound(metrics))
        get("/v1/circuit-breaker/metrics", bound(breaker_metrics))
        get("/v1/live", bound(live), allow_head=False)
        get("/v1/recording", bound(recording))
        add("POST", "/v1/recording", bound(recording))
        get("/v1/nodes", bound(nodes))
        add("POST", "/v1/nodes", bound(nodes))
        add("GET", "/", page)
        get("/dashboard/{name}", asset)
        if serving.variant.backend.translating:
            add("HEAD", "/", _head)
            add("HEAD", "/api/hello", _head)
            for slash in ("", "/"):  # some clients' base URLs end in one too many
                add("POST", "/v1/messages" + slash, bound(messages))
                add("POST", "/v1/messages/count_tokens" + slash, bound(count_tokens))
                get("/v1/models" + slash, bound(list_models))
            get("/v1/models/{model:.+}", bound(describe_model))
            add("*", "/{path:.*}", _unknown)
        else:
            add("*", "/{path:.*}", bound(relay))
        return app

    @web.middleware
    async def _guard(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        failure = self.serving.door.refusal(request)
        if failure is None:
            return await handler(request)
        response = error_response(failure, new_request_id())
        if isinstance(failure, Unauthenticated) and request.method == "GET":
            response.headers["www-authenticate"] = 'Basic realm="anyclaude: the token is the password"'
        return response

    @web.middleware
    async def _account(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Count every request, and turn a defect of ours into one sentence."""
        serving = self.serving
        endpoint = _endpoint(request)
        status = CLIENT_LEFT
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        active = nullcontext() if endpoint in OUR_PAGES else serving.metrics.active.track_inprogress()
        with active, serving.metrics.duration_s.labels(endpoint).time():
            try:
                response = await handler(request)
                status = response.status
                return response
            except AnyclaudeError as failure:
                status = failure.status
                return _cut_off(request) or error_response(failure, new_request_id())
            except web.HTTPException as answer:
                status = answer.status
                raise
            except (ConnectionError, TimeoutError):
                raise
            except Exception as error:
                request_id = new_request_id()
                serving.log.crash(request_id, error)
                status = 500
                return _cut_off(request) or error_response(
                    BackendFailed(
                        f"The proxy failed on this request ({type(error).__name__}); its log has the details."
                    ),
                    request_id,
                )
            finally:
                self._answering.discard(task)
                request.pop(BEGUN, None)  # an answer that was cut holds its request
                serving.metrics.requests.labels(endpoint, str(request.get(GIVEN, status))).inc()

    async def _end_live_feeds(self, app: web.Application) -> None:
        self.serving.live.close()  # an open dashboard would hold up the end


class _Noted(logging.Handler):
    """What aiohttp says of a request that is no HTTP goes to our log, as one line: the terminal is Claude Code's."""

    def __init__(self, log: Log) -> None:
        super().__init__(logging.WARNING)
        self._log = log

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        said = str(error).split("\n\n")[0] if error else ""
        self._log.note(f"{record.getMessage()} {' '.join(said.split())[:200]}".strip())


def _quiet_logger(log: Log) -> logging.Logger:
    logger = logging.Logger("anyclaude.http")  # not registered: one per proxy
    logger.addHandler(_Noted(log))
    return logger


async def _note_begun(http: web.Request, response: web.StreamResponse) -> None:
    http[BEGUN] = response


def _cut_off(http: web.Request) -> web.StreamResponse | None:
    """The answer that had begun, its connection closed: an error response would stand in the middle of its body."""
    begun = http.get(BEGUN)
    if begun is not None and http.transport is not None:
        http.transport.close()
    return begun


OUR_PAGES = (
    "/",
    "/health/live",
    "/health/ready",
    "/v1/metrics",
    "/v1/circuit-breaker/metrics",
    "/v1/live",
    "/v1/recording",
    "/v1/nodes",
)
ENDPOINTS = ("/v1/messages", "/v1/messages/count_tokens", "/v1/models", *OUR_PAGES)


def _endpoint(http: web.Request) -> str:
    """The label of a request in the metrics: few, whatever is asked for."""
    path = http.path.rstrip("/") or "/"
    return path if path in ENDPOINTS else "other"


async def _alive(http: web.Request) -> web.Response:
    return web.json_response({"status": "alive"})


async def _head(http: web.Request) -> web.Response:
    return web.Response()


async def _unknown(http: web.Request) -> web.Response:
    here = [resource for resource in http.app.router.resources() if resource.canonical == http.path]
    if allowed := ", ".join(sorted({route.method for resource in here for route in resource})):
        raise WrongMethod(f"{http.path} is asked with {allowed}, not with {http.method}.", allowed)
    raise NotFound(f"There is no {http.method} {http.path} here; the Messages API is at POST /v1/messages.")


def _bind(host: str, port: int | None) -> socket.socket:
    try:
        try:
            return _listener(host, PREFERRED_PORT if port is None else port)
        except OSError as error:
            if port is not None or error.errno not in TAKEN:
                raise
            return _listener(host, 0)
    except (OSError, TypeError, UnicodeError) as error:  # the last two: no name that a host can have
        why = (getattr(error, "strerror", None) or "no host name").lower()
        if isinstance(error, OSError) and error.errno in TAKEN:
            raise SettingsError(
                f"Port {port} on {host} cannot be used ({why}); choose another with --port, "
                "or leave it out to get a free one."
            ) from None
        raise SettingsError(
            f"The proxy cannot listen on {ascii(host)[1:-1]} ({why}); "
            "--host takes an address of this machine, usually 127.0.0.1."
        ) from None


TAKEN = (errno.EADDRINUSE, errno.EACCES)  # Windows says EACCES where a port is reserved


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
    except BaseException:
        listener.close()
        raise
    return listener
