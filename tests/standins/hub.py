"""A model hub with one repository.

Sources: huggingface.co/docs/hub/api (`/api/models/ID/revision/REV`, `/api/models/ID/tree/REV`), and what
huggingface_hub 2.4 asks for: HEAD and GET of `/ID/resolve/REV/FILE`, with `X-Repo-Commit`, `ETag`, `X-Linked-*` and
byte ranges.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from .http import Exchange, JsonObject, Responder, StandIn

COMMIT = "1f" * 20
LARGE_BYTES = 100_000  # from here on a file is stored as LFS, as the hub does with weights


class HubStandIn(StandIn):
    """`stall_at`: a large file stops after so many bytes, and the connection stays open."""

    def __init__(self, name: str, files: Mapping[str, bytes], *, stall_at: int | None = None) -> None:
        super().__init__()
        self.name, self.files, self.stall_at = name, dict(files), stall_at

    async def answer(self, exchange: Exchange, responder: Responder) -> None:
        path = exchange.path
        if path.startswith(f"/api/models/{self.name}/revision/"):
            await responder.full(200, {"id": self.name, "sha": COMMIT, "siblings": [], "tags": []})
        elif path.startswith(f"/api/models/{self.name}/tree/"):
            await responder.full(200, [self._entry(name, data) for name, data in self.files.items()])
        elif path.startswith(f"/{self.name}/resolve/") and (file := path.rpartition("/")[2]) in self.files:
            await self._file(exchange, responder, self.files[file])
        else:
            await responder.full(404, {"error": "Repository not found"}, [("X-Error-Code", "RepoNotFound")])

    def downloads(self) -> list[Exchange]:
        """The GET requests for content, in order."""
        return [e for e in self.exchanges if e.method == "GET" and "/resolve/" in e.path]

    def _entry(self, name: str, data: bytes) -> JsonObject:
        entry: JsonObject = {"type": "file", "path": name, "size": len(data), "oid": hashlib.sha1(data).hexdigest()}
        if len(data) >= LARGE_BYTES:
            sha256 = hashlib.sha256(data).hexdigest()
            entry["lfs"] = {"oid": sha256, "sha256": sha256, "size": len(data), "pointerSize": 134}
        return entry

    async def _file(self, exchange: Exchange, responder: Responder, data: bytes) -> None:
        hashed = hashlib.sha256(data).hexdigest() if len(data) >= LARGE_BYTES else hashlib.sha1(data).hexdigest()
        about = [("X-Repo-Commit", COMMIT), ("ETag", f'"{hashed}"'), ("X-Linked-Etag", f'"{hashed}"')]
        about += [("X-Linked-Size", str(len(data))), ("Accept-Ranges", "bytes")]
        first = int((exchange.header("range") or "bytes=0-").removeprefix("bytes=").split("-")[0])
        rest = data[first:]
        if exchange.method == "HEAD":
            await responder.full(200, b"", [*about, ("Content-Length", str(len(data)))])
        elif self.stall_at is not None and len(data) >= LARGE_BYTES:
            await responder.start(200, [*about, ("Content-Type", "application/octet-stream")])
            await responder.write(rest[: self.stall_at])
            await responder.pause(60)
        else:
            ranged = [("Content-Range", f"bytes {first}-{len(data) - 1}/{len(data)}")] if first else []
            await responder.full(206 if first else 200, rest, [*about, *ranged])
