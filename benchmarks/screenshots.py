"""Take the pictures of the report that the documentation shows: docs/pictures/report-*.png.

`make report` first. Needs Chromium or Chrome on PATH, or named by FISHSEG_BROWSER.
"""

from __future__ import annotations

import io
import os
import shutil
from pathlib import Path
from typing import Any

from PIL import Image
from playwright.sync_api import Page, sync_playwright

REPORT = Path("data/report/index.html")
PICTURES = Path("docs/pictures")
PHONE: dict[str, Any] = {"viewport": {"width": 375, "height": 780}, "device_scale_factor": 1.5}
DESKTOP: dict[str, Any] = {"viewport": {"width": 1000, "height": 680}}


def main() -> None:
    """Write one picture each of the head, the images, one image, a dark and a phone's screen."""
    PICTURES.mkdir(parents=True, exist_ok=True)
    browser_path = os.environ.get("FISHSEG_BROWSER") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=browser_path)
        for name, options, section in (
            ("summary", DESKTOP, "summary"),
            ("images", DESKTOP, "images"),
            ("viewer", DESKTOP, "viewer"),
            ("dark", {**DESKTOP, "color_scheme": "dark"}, "classes"),
            ("phone", PHONE, "images"),
        ):
            page = browser.new_context(reduced_motion="reduce", **options).new_page()
            page.goto(REPORT.absolute().as_uri())
            show(page, section)
            save(page.screenshot(), PICTURES / f"report-{name}.png")
        browser.close()


def show(page: Page, section: str) -> None:
    """Bring a section to the top, or open the worst image in the viewer."""
    page.wait_for_selector(".card")
    if section == "viewer":
        page.locator(".card").first.click()
        page.wait_for_selector("#viewer[aria-busy=false]")
    elif section != "summary":
        page.locator(f"#{section}").evaluate("one => one.scrollIntoView()")
    page.wait_for_load_state("networkidle")


def save(screenshot: bytes, path: Path) -> None:
    """Write a screenshot as a PNG that Pillow has tried hard on."""
    Image.open(io.BytesIO(screenshot)).convert("RGB").save(path, optimize=True)


if __name__ == "__main__":
    main()
