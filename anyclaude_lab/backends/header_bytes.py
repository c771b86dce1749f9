"""Header bytes that are no UTF-8 pass through unchanged: a `José` in a custom header may come as Latin-1."""

from __future__ import annotations

import re
from collections.abc import Mapping

from aiohttp import http_writer

# RFC 9110, 5.5: no header may hold these; they would begin another header.
_CONTROL = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")


def keep_header_bytes() -> None:
    """From now on, in this process, header bytes decoded with `surrogateescape` are written as they came."""
    # quirk(aiohttp): its own writer drops them without a word, and takes no other encoding
    http_writer._serialize_headers = _serialize_headers


def _serialize_headers(status_line: str, headers: Mapping[str, str]) -> bytes:
    lines = [status_line, *(f"{name}: {value}" for name, value in headers.items())]
    if any(_CONTROL.search(line) for line in lines):
        raise ValueError("a control character stands in a header")
    return ("\r\n".join(lines) + "\r\n\r\n").encode("utf-8", "surrogateescape")
