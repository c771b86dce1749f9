"""Who is answered: programs of this machine; with a token, those of others; never a web page of a stranger."""

from __future__ import annotations

import hmac
from base64 import b64decode
from collections.abc import Sequence
from urllib.parse import urlsplit

from aiohttp import web

from anyclaude_lab.backends.base import RawHeaders
from anyclaude_lab.backends.http import is_loopback
from anyclaude_lab.errors import AnyclaudeError, Forbidden, Unauthenticated
from anyclaude_lab.proxy.client_environment import TOKEN_HEADER
from anyclaude_lab.settings import Secret

CARRIERS = (TOKEN_HEADER, "authorization", "x-api-key")
OPEN_TO_ALL = ("/health/live",)


class Door:
    """Judge of every request to a proxy that listens on `host`.

    A web page can name this machine as it likes (DNS rebinding) but cannot forge `Host` and `Origin`. Beyond this
    machine nobody is answered without `token`; without a token nobody at all.
    """

    def __init__(self, host: str, token: Secret | None) -> None:
        self._only_here = is_loopback(host)
        self._token = token.reveal().encode() if token is not None else None

    def refusal(self, http: web.Request) -> AnyclaudeError | None:
        """Why this request is not answered; None where it is."""
        named = [_host_of(f"//{value}") for value in http.headers.getall("host", ())]
        named += _host_asked(http)
        if self._only_here and (stranger := _not_here(next((name for name in named if not is_loopback(name)), None))):
            return stranger
        foreign = next((page for page in http.headers.getall("origin", ()) if not _is_own_page(http, page)), None)
        if foreign is not None:
            return Forbidden(f"A page of {foreign!r} may not ask this proxy; it has pages of its own only.")
        if self._only_here:
            return None
        if http.path in OPEN_TO_ALL or (is_loopback(http.remote or "") and all(map(is_loopback, named))):
            return None
        if self._token is not None and any(hmac.compare_digest(one, self._token) for one in _offered(http)):
            return None
        return Unauthenticated(
            "This proxy answers other machines only with its token, as ANTHROPIC_AUTH_TOKEN, as x-api-key, or in the "
            f"header {TOKEN_HEADER}; whoever started it was shown the token, or set it in ANYCLAUDE_ACCESS_TOKEN."
        )

    def without_token(self, headers: Sequence[tuple[str, str]]) -> RawHeaders:
        """The headers that may travel on: our token is nobody else's business."""
        if self._token is None:
            return headers
        ours = self._token.decode()
        return [(n, v) for n, v in headers if n.lower() != TOKEN_HEADER and not (n.lower() in CARRIERS and ours in v)]


def _is_own_page(http: web.Request, origin: str) -> bool:
    """Whether the page came from here. Another server's of this machine did not: it could not read the answers either,
    only spend what they cost.
    """
    return origin.partition("://")[2].lower() in {host.lower() for host in http.headers.getall("host", ())}


def _not_here(stranger: str | None) -> Forbidden | None:
    if stranger is None:
        return None
    return Forbidden(
        f"This proxy answers programs on this machine only (127.0.0.1, localhost, ::1); the request named "
        f"{stranger!r}. Started with --host 0.0.0.0 it answers every machine that has its token."
    )


def _offered(http: web.Request) -> list[bytes]:
    """Every word of the request that could be the token; a browser sends it as the password it was asked for."""
    found = []
    for name in CARRIERS:
        for value in http.headers.getall(name, ()):
            scheme, _, rest = value.partition(" ")
            if scheme.lower() == "basic":
                found.append(_password(rest))
            found.append((rest if scheme.lower() == "bearer" else value).encode("utf-8", "surrogateescape"))
    return found


def _password(pair: str) -> bytes:
    try:
        return b64decode(pair, validate=True).partition(b":")[2]
    except ValueError:
        return b""


def _host_asked(http: web.Request) -> list[str]:
    """The host of the whole URL: a request line may name one too, and then it counts, not the header."""
    try:
        return [http.url.host] if http.url.host and "host" in http.headers else []
    except ValueError:
        return ["?"]


def _host_of(url: str) -> str:
    """The host's name or address; what cannot be read is handed on as it is."""
    try:
        return urlsplit(url).hostname or url
    except ValueError:
        return url
