"""A real browser, headless and cut off from every network."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from example_report import write_example
from playwright.sync_api import Browser, Page

Open = Callable[..., Page]


@pytest.fixture(scope="session")
def example_page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_example(tmp_path_factory.mktemp("example"))


@pytest.fixture(scope="session")
def example(browser: Browser, example_page: Path) -> Iterator[Page]:
    """The example, open: for tests that leave it as it was."""
    with browser.new_context() as context:
        page = context.new_page()
        page.goto(example_page.as_uri())
        yield page


@pytest.fixture
def trouble() -> list[str]:
    """What the browser had to complain about, and whatever it asked of a network."""
    return []


@pytest.fixture
def open_page(browser: Browser, trouble: list[str]) -> Iterator[Open]:
    contexts = []

    def open_one(path: Path, *, width: int = 1280, height: int = 800, **options: Any) -> Page:
        context = browser.new_context(
            viewport={"width": width, "height": height}, reduced_motion="reduce", **options
        )
        contexts.append(context)
        context.set_offline(True)
        page = context.new_page()
        page.set_default_timeout(10_000)
        page.on("console", lambda message: trouble.append(f"{message.type}: {message.text}"))
        page.on("pageerror", lambda error: trouble.append(str(error)))
        page.on("dialog", lambda dialog: trouble.append(f"dialog: {dialog.message}"))
        page.on("request", lambda request: trouble.extend(_on_a_network(request.url)))
        page.goto(path.as_uri())
        page.wait_for_selector(".card")
        return page

    yield open_one
    for context in contexts:
        context.close()


def _on_a_network(url: str) -> list[str]:
    return [] if url.startswith(("file:", "data:")) else [f"asked for {url}"]
