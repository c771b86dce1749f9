"""Whom TLS connections of this process trust: the system's authorities, SSL_CERT_FILE, and what `caBundle` names."""

from __future__ import annotations

import ssl
from pathlib import Path

from anyclaude_lab.errors import SettingsError


class _Trust:
    """One context a process, made when the first connection needs it: reading the authorities takes a moment."""

    bundle: Path | None = None
    context: ssl.SSLContext | None = None


def trust_also(bundle: Path | None) -> None:
    """Trust the certificates in this file too (None: no file), from the next leg on.

    Raises `SettingsError` where it holds none.
    """
    if bundle == _Trust.bundle:
        return
    context = ssl.create_default_context()
    try:
        if bundle is not None:
            context.load_verify_locations(bundle)
    except OSError as error:  # an SSLError is one too
        raise SettingsError(f"caBundle {bundle} holds no certificates that can be read ({error.strerror}).") from None
    _Trust.bundle, _Trust.context = bundle, context


def tls_context() -> ssl.SSLContext:
    """The context of every leg."""
    if _Trust.context is None:
        _Trust.context = ssl.create_default_context()  # SSL_CERT_FILE and SSL_CERT_DIR are OpenSSL's own
    return _Trust.context
