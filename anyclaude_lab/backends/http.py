"""The HTTP leg under every backend: ask, read what has arrived, hang up at once.

A leg adds nothing to a request but `Host`, `Content-Length` and `Connection`, and takes nothing from an answer:
headers keep their order and spelling, bodies their encoding, unless it is told to inflate them. Redirects are not
followed, cookies not kept.
"""

from __future__ import annotations

import asyncio
import io
import ipaddress
import os
import socket
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self
from urllib.parse import SplitResult, unquote, urlsplit
from urllib.request import getproxies, proxy_bypass

import aiohttp
import orjson
from multidict import CIMultiDict
from yarl import URL

from anyclaude_lab.backends.base import PROMPT_TOKEN_S, RawHeaders, Taker
from anyclaude_lab.backends.connection import HEADER_LIMIT_BYTES, NoHttp, connected, request_head
from anyclaude_lab.backends.inflate import inflated
from anyclaude_lab.backends.source import Source
from anyclaude_lab.backends.tls import tls_context
from anyclaude_lab.errors import (
    AnyclaudeError,
    BackendFailed,
    BackendTimeout,
    BackendUnavailable,
    InvalidRequest,
    SettingsError,
    StreamCut,
)
from anyclaude_lab.wire.events import JsonObject

REFUSED_RETRY_S = 5  # ten retries of the client give a person close to a minute to start the server
ANSWER_LIMIT_BYTES = 16 * 1024 * 1024
NOT_OURS = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")  # what aiohttp would add by itself


@dataclass(frozen=True, slots=True)
class Budgets:
    """How long to wait for what. Comments are bytes too; a stream has no total.

    The first byte of an answer's body may take `silence_s` and, on top, what computing the prompt takes a slow machine;
    a later one `gap_s`, or `silence_s` where that is shorter.
    """

    connect_s: float = 10.0  # name, connection, TLS
    silence_s: float = 600.0
    prompt_token_s: float = PROMPT_TOKEN_S
    gap_s: float = 300.0  # longer than the client's own patience

    def first_byte_s(self, prompt_tokens: int | None) -> float:
        """For a prompt of which so many tokens have to be computed; None where nobody knows."""
        return self.silence_s + (prompt_tokens or 0) * self.prompt_token_s

    def next_byte_s(self) -> float:
        return min(self.gap_s, self.silence_s)


@dataclass(frozen=True, slots=True)
class Answer:
    """A small answer, complete."""

    status: int
    headers: RawHeaders
    body: bytes

    @property
    def ok(self) -> bool:
        return 200 <= self.status < 300

    def json(self) -> JsonObject:
        """The body's JSON object, whatever the status; `{}` where it is anything else."""
        try:
            value = orjson.loads(self.body)
        except orjson.JSONDecodeError:
            return {}
        return value if isinstance(value, dict) else {}


class Incoming:
    """An answer whose head is known and whose body is still arriving. Iterating reads on demand, a piece per read.

    Raises StreamCut where the connection breaks before the end of the body, BackendTimeout after too long a silence.
    """

    def __init__(
        self, status: int, raw_headers: Sequence[tuple[bytes, bytes]], source: Source, leg: HttpLeg, first_byte_s: float
    ) -> None:
        self.status = status
        self.headers: RawHeaders = [(_text(name), _text(value)) for name, value in raw_headers]
        self._source = inflated(source, self.header("content-encoding"), leg.url) if leg.inflates else source
        self._leg = leg
        self._patience_s = first_byte_s
        self._later_s = leg.budgets.next_byte_s()

    def header(self, name: str) -> str:
        """The first header of that name, in any case; "" where it is missing."""
        wanted = name.lower()
        return next((value for key, value in self.headers if key.lower() == wanted), "")

    @property
    def content_type(self) -> str:
        """The media type in lower case, without parameters; "" where none was sent."""
        return self.header("content-type").partition(";")[0].strip().lower()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        try:
            # Only what the backend takes counts, not what the client takes to read.
            data = await self._source.read(self._patience_s)
        except TimeoutError:
            raise BackendTimeout(self._leg.silence_sentence("in the middle of its answer", self._patience_s)) from None
        except (aiohttp.ClientError, OSError, NoHttp) as error:
            url = self._leg.url
            raise StreamCut(f"{url} closed the connection in the middle of its answer ({error})") from None
        if not data:
            raise StopAsyncIteration
        self._patience_s = self._later_s
        return data

    def hand_to(self, taker: Taker | None) -> None:
        """See `Reply.hand_to`."""
        self._source.hand_to(taker, self._later_s)

    async def read(self, limit_bytes: int = ANSWER_LIMIT_BYTES) -> bytes:
        """The rest of the body, cut off at the limit."""
        body = bytearray()
        async for piece in self:
            body += piece
            if len(body) >= limit_bytes:
                break
        return bytes(body[:limit_bytes])

    async def close(self) -> None:
        """Hang up now, without a goodbye: a backend that still generates sees its next write fail."""
        self._source.abort()


class _Pooled:
    """The body of an answer on a connection of aiohttp's."""

    def __init__(self, response: aiohttp.ClientResponse) -> None:
        self._response = response
        self._broken: Exception | None = None

    async def read(self, patience_s: float) -> bytes:
        if self._broken is not None:
            raise self._broken
        try:
            async with asyncio.timeout(patience_s):
                return await self._response.content.readany()
        except TimeoutError:
            raise
        except (aiohttp.ClientError, OSError) as error:
            self._broken = error
            # quirk(aiohttp): a broken connection hides what arrived before it broke and was not read yet
            if data := self._response.content._read_nowait(-1):
                return data
            raise

    def hand_to(self, taker: Taker | None, patience_s: float) -> None:
        pass

    def abort(self) -> None:
        connection = self._response.connection
        if connection is not None and connection.transport is not None:
            connection.transport.abort()
        self._response.close()


_Head = tuple[int, Sequence[tuple[bytes, bytes]], Source]  # status, headers, and the body to come


class HttpLeg:
    """The way to one server.

    `hint` is the sentence that mends a refused connection. Credentials in the URL become basic authentication and are
    never shown. A proxy of the environment is used unless the server is on this machine or in NO_PROXY. `inflates`:
    bodies are given as they were before they were compressed.
    """

    def __init__(
        self, base_url: str, *, budgets: Budgets | None = None, hint: str = "", inflates: bool = False
    ) -> None:
        parts = _split(base_url)
        host = parts.netloc.rpartition("@")[2]
        self.url = f"{parts.scheme}://{host}{parts.path.rstrip('/')}"
        self.budgets = budgets or Budgets()
        self.hint, self.inflates = hint, inflates
        self._authorization = _basic(parts)
        self._local = is_loopback(parts.hostname or "")
        self._direct = self._local and parts.scheme == "http"
        self._host, self._base_path = host, parts.path.rstrip("/")
        self._address = (parts.hostname or "", parts.port or 80)
        proxied = not self._local and not proxy_bypass(host)
        self._proxy = _with_scheme(getproxies().get(parts.scheme)) if proxied else None
        self._lazy_session: aiohttp.ClientSession | None = None

    async def open(
        self,
        method: str,
        path_qs: str,
        *,
        headers: RawHeaders = (),
        body: bytes = b"",
        prompt_tokens: int | None = None,
    ) -> Incoming:
        """Send a request; returns when the head of the answer is there. `prompt_tokens` have to be computed for it.

        Raises BackendUnavailable where nobody answers, BackendTimeout where no answer comes in time. Cancelling hangs
        up.
        """
        began, first_byte_s = asyncio.get_running_loop().time(), self.budgets.first_byte_s(prompt_tokens)
        if not path_qs.startswith("/"):  # or it would lengthen the name of the host
            raise InvalidRequest(f"{path_qs[:100]!r} is no path; one begins with a slash.")
        if self._authorization and not any(name.lower() == "authorization" for name, _ in headers):
            headers = [*headers, ("Authorization", self._authorization)]
        ask = self._ask_directly if self._direct else self._ask_pooled
        try:
            status, raw_headers, source = await ask(method, path_qs, headers, body, first_byte_s)
        except (aiohttp.ClientError, OSError, NoHttp) as error:
            raise self._failure(error, first_byte_s) from None
        left_s = first_byte_s - (asyncio.get_running_loop().time() - began)
        return Incoming(status, raw_headers, source, self, max(left_s, self.budgets.next_byte_s()))

    async def ask(
        self, method: str, path: str, *, headers: RawHeaders = (), body: bytes = b"", timeout_s: float = 3.0
    ) -> Answer | None:
        """A small question and its whole answer; None when it does not come in time."""
        try:
            return await self.insist(method, path, headers=headers, body=body, timeout_s=timeout_s)
        except AnyclaudeError:
            return None

    async def insist(
        self, method: str, path: str, *, headers: RawHeaders = (), body: bytes = b"", timeout_s: float = 3.0
    ) -> Answer:
        """The same, but what keeps the answer away is raised, as `open` does; BackendTimeout after `timeout_s`."""
        try:
            async with asyncio.timeout(timeout_s):
                incoming = await self.open(method, path, headers=headers, body=body)
                try:
                    return Answer(incoming.status, incoming.headers, await incoming.read())
                finally:
                    await incoming.close()
        except TimeoutError:
            raise BackendTimeout(f"{self.url} did not answer within {timeout_s:g} s; it may be busy") from None

    async def close(self) -> None:
        """Let go of every connection."""
        if self._lazy_session is not None:
            await self._lazy_session.close()
            self._lazy_session = None

    def silence_sentence(self, when: str, waited_s: float) -> str:
        return f"{self.url} sent nothing for {waited_s:.3g} s {when}"

    async def _ask_directly(
        self, method: str, path_qs: str, headers: RawHeaders, body: bytes, patience_s: float
    ) -> _Head:
        """On a connection of its own: on this machine it costs nothing, and a stale one would cost an error."""
        head = request_head(method, self._base_path + path_qs, self._host, headers, len(body))
        connect_s = min(self.budgets.connect_s, patience_s)
        try:
            async with asyncio.timeout(connect_s):
                connection = await connected(method, *self._address)
        except TimeoutError:
            raise self._unconnected(connect_s) from None
        except OSError as error:
            raise self._refused(error) from None
        try:
            connection.send(head, body)
            answer = await connection.answered(patience_s)
        except BaseException:
            connection.abort()
            raise
        return answer.code, answer.raw_headers, connection

    async def _ask_pooled(
        self, method: str, path_qs: str, headers: RawHeaders, body: bytes, patience_s: float
    ) -> _Head:
        async with asyncio.timeout(patience_s):
            response = await self._session().request(
                method,
                URL(self.url + path_qs, encoded=True),
                headers=CIMultiDict(headers),
                data=io.BytesIO(body) if body else None,  # a stream of known size: sent in pieces, with its length
                skip_auto_headers=NOT_OURS,
                allow_redirects=False,
                proxy=self._proxy,
            )
        return response.status, response.raw_headers, _Pooled(response)

    def _session(self) -> aiohttp.ClientSession:
        if self._lazy_session is None:
            tls = tls_context() if self.url.startswith("https") else True
            connector = aiohttp.TCPConnector(limit=0, force_close=self._local, ssl=tls)
            self._lazy_session = aiohttp.ClientSession(
                connector=connector,
                timeout=aiohttp.ClientTimeout(total=None, connect=self.budgets.connect_s),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                max_line_size=HEADER_LIMIT_BYTES,
                max_field_size=HEADER_LIMIT_BYTES,
            )
        return self._lazy_session

    def _failure(self, error: Exception, first_byte_s: float) -> AnyclaudeError:
        """What a request that got no answer means. Most special first: aiohttp's errors are each other's bases."""
        if isinstance(error, aiohttp.ClientProxyConnectionError | aiohttp.ClientHttpProxyError):
            proxy = (self._proxy or "").rpartition("@")[2]
            why = f"it answered {error.status}" if isinstance(error, aiohttp.ClientHttpProxyError) else "no connection"
            return self._unavailable(f"the proxy {proxy} does not let us through: {why}")
        if isinstance(error, aiohttp.ConnectionTimeoutError):
            return self._unconnected(self.budgets.connect_s)
        if isinstance(error, TimeoutError):
            return BackendTimeout(self.silence_sentence("after the request", first_byte_s))
        if isinstance(error, aiohttp.ClientConnectorDNSError):
            return self._unavailable("the name of the host is unknown")
        if isinstance(error, aiohttp.ClientConnectorCertificateError | aiohttp.ClientSSLError):
            trust = "behind a proxy that reads along, name its certificates in caBundle or SSL_CERT_FILE"
            return self._unavailable(f"no trusted TLS connection: {error}; {trust}")
        if isinstance(error, aiohttp.ClientConnectorError):
            return self._refused(error.os_error)
        if isinstance(error, aiohttp.ClientConnectionError | OSError):
            return BackendUnavailable(f"{self.url} closed the connection without an answer", retry_after_s=1)
        return BackendFailed(f"{self.url} does not speak HTTP as expected: {error}")

    def _unconnected(self, waited_s: float) -> BackendUnavailable:
        return self._unavailable(f"no connection within {waited_s:g} s")

    def _refused(self, error: OSError) -> BackendUnavailable:
        if isinstance(error, socket.gaierror):
            return self._unavailable("the name of the host is unknown")
        # asyncio's own words name a function and a tuple; the number of the error has plain ones
        return self._unavailable(os.strerror(error.errno).lower() if error.errno else "connection failed")

    def _unavailable(self, why: str) -> BackendUnavailable:
        sentence = f"Nothing answers at {self.url} ({why})" + (f"; {self.hint}" if self.hint else "")
        return BackendUnavailable(sentence, hint=self.hint or None, retry_after_s=REFUSED_RETRY_S)


def _with_scheme(proxy: str | None) -> str | None:
    return proxy if proxy is None or "://" in proxy else f"http://{proxy}"


@lru_cache(maxsize=256)
def is_loopback(host: str) -> bool:
    """Whether a host name or address means this machine."""
    if host.lower() == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _split(base_url: str) -> SplitResult:
    parts = urlsplit(base_url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        shown = base_url.rpartition("@")[2]
        raise SettingsError(f"{shown!r} is no server address; use one like http://127.0.0.1:8080/v1")
    return parts


def credentials_of(url: str) -> tuple[str, ...]:
    """What an address says that nobody else may read: its password, and both words as the header carries them."""
    parts = urlsplit(url)
    return (unquote(parts.password), _basic(parts).removeprefix("Basic ")) if parts.password else ()


def _basic(parts: SplitResult) -> str:
    if not parts.username:
        return ""
    pair = f"{unquote(parts.username)}:{unquote(parts.password or '')}"
    return "Basic " + b64encode(pair.encode()).decode()


def _text(raw: bytes) -> str:
    return raw.decode("utf-8", "surrogateescape")
