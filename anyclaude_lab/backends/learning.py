"""What a server can do, learnt when there is time for it: remembered from an earlier start, or asked."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace

from anyclaude_lab.backends.ask import Ask
from anyclaude_lab.backends.capabilities import Capabilities, CapabilityFile, probe, told_by
from anyclaude_lab.backends.profiles import Server
from anyclaude_lab.errors import AnyclaudeError


class Learning:
    """What the server behind `ask` can do with its main model; `found` is None as long as nobody has learnt it.

    `server` says what is there and `window_tokens` how much fits; both may raise what keeps the server away.
    """

    def __init__(
        self,
        ask: Ask,
        remembered: CapabilityFile | None,
        *,
        server: Callable[[], Awaitable[Server]],
        window_tokens: Callable[[], Awaitable[int | None]],
    ) -> None:
        self.found: Capabilities | None = None
        self._ask, self._remembered = ask, remembered
        self._server, self._window_tokens = server, window_tokens
        self._soon: asyncio.Task[None] | None = None

    def recall(self, server: Server) -> None:
        """Take what is remembered of this server; what was learnt of the one before does not hold for it."""
        if self._remembered is not None:
            self.found = self._remembered.get(*self._about(server))

    async def now(self) -> Capabilities | None:
        """What is known, else asked now and remembered; None where the server is silent."""
        server = await self._server()
        if self.found is None and (found := await self._asked(server)) is not None:
            self.found = replace(found, window_tokens=await self._window_tokens())
            if self._remembered is not None:
                self._remembered.put(*self._about(server), found=self.found)
        return self.found

    def soon(self, tell: Callable[[Capabilities], None]) -> asyncio.Task[None]:
        """Begin in the background, unless the server would have to load its model for it. `stop` ends it."""
        self._soon = asyncio.create_task(self._quietly(tell))
        return self._soon

    def stop(self) -> None:
        """What was begun ends here; what was learnt stays."""
        if self._soon is not None:
            self._soon.cancel()
            self._soon = None

    async def _quietly(self, tell: Callable[[Capabilities], None]) -> None:
        with suppress(AnyclaudeError):  # whoever sends a request will be told
            server = await self._server()
            if await server.profile.loaded(self._ask, server.main) and (found := await self.now()):
                tell(found)

    async def _asked(self, server: Server) -> Capabilities | None:
        if server.profile.costs:
            return told_by(next((each for each in await self._ask.models() if each.get("id") == server.main.id), {}))
        beside = [("X-Anyclaude-Side", "1")] if server.profile.hears_lanes else []
        return await probe(self._ask, server.main.id, beside)

    def _about(self, server: Server) -> tuple[str, ...]:
        return self._ask.address, server.main.id, server.version
