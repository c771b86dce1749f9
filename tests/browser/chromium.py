"""A headless Chromium, and pages of it that keep what went wrong in them."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from playwright.async_api import Browser, ConsoleMessage, Page, async_playwright

from tests.requirements import require_axe, require_chromium

FLAGS = ("--no-sandbox", "--disable-quic", "--disable-dev-shm-usage", "--disable-background-networking")
SIZES = {1280: 900, 390: 844}
DEADLINE_S = 240
SERIOUS = ("serious", "critical")
BUILD = Path(__file__).parents[2] / "build" / "screenshots"


class Opened:
    """A page. `errors`: exceptions of scripts; `console`: what it was told as an error, blocked resources among it."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.errors: list[str] = []
        self.console: list[str] = []
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        page.on("console", self._note)

    def _note(self, message: ConsoleMessage) -> None:
        if message.type == "error":
            self.console.append(message.text)

    async def until(self, condition: str) -> None:
        """Wait for a JavaScript expression to be true."""
        # Asked from outside: wait_for_function needs eval, which the policy of the page forbids.
        async with asyncio.timeout(DEADLINE_S):
            while not await self.page.evaluate(condition):
                await asyncio.sleep(0.05)

    async def texts(self, selector: str) -> list[str]:
        """The texts of all elements that match, white space as one blank."""
        return [" ".join(text.split()) for text in await self.page.locator(selector).all_inner_texts()]

    async def picture(self, name: str) -> None:
        """Keep what it looks like now, for people, where the build keeps such things."""
        BUILD.mkdir(parents=True, exist_ok=True)
        await self.page.screenshot(path=BUILD / f"{name}.png", full_page=True)

    async def picture_of(self, selector: str, name: str) -> None:
        """The same of the first element that a selector names."""
        BUILD.mkdir(parents=True, exist_ok=True)
        await self.page.locator(selector).first.screenshot(path=BUILD / f"{name}.png")

    async def accessibility(self, within: str | None = None) -> list[str]:
        """The serious and critical complaints of axe-core, about all that a selector names or about the page."""
        await self.page.evaluate(require_axe().read_text())
        where = f"{{include: [[{within!r}]]}}" if within else "document"
        found = await self.page.evaluate(f"axe.run({where}, {{resultTypes: ['violations']}})")
        return [
            f"{one['id']}: {node['target']} {node['failureSummary']}"
            for one in found["violations"]
            if one["impact"] in SERIOUS
            for node in one["nodes"]
        ]

    async def overflow(self) -> int:
        """How many pixels the page is wider than the window."""
        return int(await self.page.evaluate("document.documentElement.scrollWidth - innerWidth"))


@asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    program = str(require_chromium())
    environ = {name: value for name, value in os.environ.items() if "proxy" not in name.lower()}
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=program, args=list(FLAGS), env=dict(environ))
        try:
            yield browser
        finally:
            await browser.close()


async def opened(browser: Browser, url: str, *, theme: str = "light", width: int = 1280) -> Opened:
    """A new page at that address."""
    page = await browser.new_page(
        viewport={"width": width, "height": SIZES[width]}, color_scheme="dark" if theme == "dark" else "light"
    )
    page.set_default_timeout(DEADLINE_S * 1000)
    shown = Opened(page)
    await page.goto(url)
    return shown
