from __future__ import annotations

from pathlib import Path

from dvc_render import VegaRenderer, render_html
from playwright.sync_api import Browser

from fishseg.plots import dvc_page


def test_dvc_draws_its_curves_without_a_network(browser: Browser, tmp_path: Path) -> None:
    rows = [
        {"epoch": epoch, "iou": iou, "rev": rev, "filename": "epochs.csv", "field": "iou"}
        for rev, ious in (("HEAD", (0.5, 0.7, 0.8)), ("workspace", (0.6, 0.8, 0.9)))
        for epoch, iou in enumerate(ious)
    ]
    curve = VegaRenderer(rows, "epochs", x="epoch", y="iou", title="IoU per epoch")
    template = tmp_path / "template.html"
    template.write_text(dvc_page.template(), encoding="utf-8")
    render_html([curve], tmp_path / "index.html", html_template=template)

    asked_for: list[str] = []
    with browser.new_context(offline=True) as context:
        page = context.new_page()
        page.on("request", lambda request: asked_for.append(request.url))
        page.goto((tmp_path / "index.html").as_uri())
        page.wait_for_selector(".vega-embed .marks")
    assert [url for url in asked_for if not url.startswith(("file:", "data:", "blob:"))] == []
