"""Debian's Chromium, driven by Playwright, and axe: for whoever tests the console's page."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = (
    "--no-sandbox",  # root has none, and it loads nothing but the page
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
WIDE, NARROW = 1100, 320
LEFT = "make page brings them: the page is not looked at in a browser here"
"""Why its tests are skipped."""
FOLDER = os.environ.get("SECAGG_PAGE")
"""Where pictures are kept."""


def needed() -> Any:
    """Playwright's module; skips, and says so, where there is none or no Chromium."""
    found = pytest.importorskip("playwright.async_api", reason=f"no Playwright; {LEFT}")
    pytest.importorskip("axe_playwright_python", reason=f"no axe; {LEFT}")
    if not CHROMIUM.exists():
        pytest.skip(f"no {CHROMIUM}; {LEFT}", allow_module_level=True)
    return found


def _axe() -> str:
    import axe_playwright_python

    (folder,) = axe_playwright_python.__path__
    return (Path(folder) / "axe.min.js").read_text()


@dataclass
class Looked:
    """A page that is looked at. tab: Playwright's. errors: what no page may say to its console."""

    tab: Any
    width: int
    name: str
    errors: list[str] = field(default_factory=list)

    async def audit(self, called: str) -> None:
        """Nothing that axe finds, nothing beyond the right edge, and a picture."""
        await self.tab.evaluate("document.getAnimations().forEach((one) => one.finish())")
        if FOLDER:
            Path(FOLDER).mkdir(parents=True, exist_ok=True)
            whole = not await self.tab.locator("dialog[open]").count()
            path = f"{FOLDER}/{called}-{self.name}.png"
            await self.tab.screenshot(path=path, full_page=whole)
        if not await self.tab.evaluate("'axe' in window"):
            await self.tab.evaluate(_axe())
        found = await self.tab.evaluate(
            "axe.run(document, {rules: {'target-size': {enabled: true}}})"
        )
        faults = [
            (one["id"], node["html"], node["failureSummary"])
            for one in found["violations"]
            for node in one["nodes"]
        ]
        assert not faults, f"{called}, {self.name}: {faults}"
        assert len(found["passes"]) > 10, "axe has looked"
        beyond = await self.tab.evaluate("document.documentElement.scrollWidth")
        assert beyond <= self.width, f"{called}, {self.name}: it is {beyond} wide"
        assert not self.errors, f"{called}: {self.errors}"

    async def text(self, selector: str = "body") -> str:
        found: str = await self.tab.inner_text(selector)
        return found

    async def shows(self, text: str, timeout: float = 20.0) -> None:
        """Waits until it does."""
        await self.tab.get_by_text(text).first.wait_for(timeout=1000 * timeout)

    async def live(self) -> None:
        """Waits until it has contact."""
        await self.tab.locator("#head .badge", has_text="Live").wait_for(timeout=20_000)


@asynccontextmanager
async def looking(
    scheme: str = "light", width: int = WIDE, *, motion: str = "no-preference", **more: Any
) -> AsyncIterator[Looked]:
    """A browser of its own, with nothing in it."""
    async with needed().async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=str(CHROMIUM), args=FLAGS)
        try:
            context = await browser.new_context(
                color_scheme=scheme,
                reduced_motion=motion,
                viewport={"width": width, "height": 800},
                **more,
            )
            looked = Looked(await context.new_page(), width, f"{scheme}-{width}")
            looked.tab.on("pageerror", lambda error: looked.errors.append(str(error)))
            looked.tab.on("console", lambda said: _judge(looked, said.type, said.text))
            yield looked
        finally:
            await browser.close()


def _judge(looked: Looked, kind: str, text: str) -> None:
    """An answer that is no 200 is said by the browser itself, and is what these tests provoke."""
    if kind in ("error", "warning") and not text.startswith("Failed to load resource"):
        looked.errors.append(text)
