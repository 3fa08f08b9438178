from __future__ import annotations

import csv
import dataclasses
import io
import logging
import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from browsing import SCHEMES, WIDTHS, hard_to_read, overflow_px, paper_is_dark
from numpy.typing import NDArray
from PIL import Image
from playwright.sync_api import Browser, Page

from benchmarks.drawn_rulers import Ruler, draw_ruler
from fishseg import app, cli
from fishseg.cli import models
from fishseg.errors import DataError, ParameterError
from fishseg.prediction.loading import Loaded

LENGTH_PX, WIDTH_PX = 400, 100


class RedIsFish:
    """A model to whom the share of red is the probability of fish."""

    threshold = 0.5

    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        return image[..., 0].astype(np.float32) / np.float32(255)


MODEL = RedIsFish()


def photograph(path: Path, size: tuple[int, int] = (300, 500), length: int = LENGTH_PX) -> Path:
    """A level red capsule, 100 pixels wide, in the middle of a black picture ``(H, W)``."""
    y, x = np.mgrid[: size[0], : size[1]] + 0.5
    beyond = np.maximum(np.abs(x - size[1] / 2) - (length - WIDTH_PX) / 2, 0)
    image = np.zeros((*size, 3), np.uint8)
    image[np.hypot(beyond, y - size[0] / 2) < WIDTH_PX / 2, 0] = 255
    Image.fromarray(image).save(path)
    return path


@pytest.fixture
def analysis(tmp_path: Path) -> app.Analysis:
    return app.analyse(photograph(tmp_path / "fish.png"), MODEL)


def test_a_fish_is_measured_in_pixels_until_the_scale_is_set(analysis: app.Analysis) -> None:
    assert app.scale_of(analysis, [], 100) is None
    assert app.scale_of(analysis, [(0, 0)], 100) is None
    assert app.scale_of(analysis, [(0, 0), (10, 0)], None) is None
    assert app.scale_of(analysis, [(0, 0), (10, 0)], 0) is None
    ((number, length, width, area, confidence, remark),) = app.summary(analysis, None)
    assert (number, confidence, remark) == ("1", "100%", "")
    assert float(length.removesuffix(" px")) == pytest.approx(LENGTH_PX, abs=3)
    assert float(width.removesuffix(" px")) == pytest.approx(WIDTH_PX, abs=3)
    exact = 300 * WIDTH_PX + math.pi * 50**2
    assert int(area.removesuffix(" px").replace(",", "")) == pytest.approx(exact, rel=0.01)


def test_two_points_and_their_distance_set_the_scale(analysis: app.Analysis) -> None:
    mm_per_px = app.scale_of(analysis, [(10, 20), (40, 60)], 25)
    assert mm_per_px == pytest.approx(0.5)  # 30 and 40 are the sides of a triangle of 50
    ((_, length, width, area, *_),) = app.summary(analysis, mm_per_px)
    assert float(length.removesuffix(" mm")) == pytest.approx(200, abs=1.5)
    assert float(width.removesuffix(" mm")) == pytest.approx(50, abs=1.5)
    assert float(area.removesuffix(" cm²")) == pytest.approx(94.6, abs=0.5)


@pytest.fixture
def ruled(tmp_path: Path) -> app.Analysis:
    """A ruler of 8 pixels in a millimetre below a fish."""
    drawing = draw_ruler(
        Ruler(edges=("mm", None)),
        np.random.default_rng(0),
        size=(600, 900),
        px_per_mm=8,
        centre=(0.5, 0.8),
    )
    image = drawing.picture
    image[..., 0] //= 2  # only the fish is red
    image[100:180, 200:500] = (255, 0, 0)
    Image.fromarray(image).save(tmp_path / "ruled.png")
    return app.analyse(tmp_path / "ruled.png", MODEL)


def test_the_ruler_is_proposed_and_two_clicks_correct_it(
    ruled: app.Analysis, analysis: app.Analysis, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert ruled.search.mm_per_px == pytest.approx(1 / 8, rel=0.005)
    assert analysis.search.mm_per_px is None
    act = app._Actions(SimpleNamespace(update=dict, skip=dict), MODEL)
    given = iter([analysis, ruled])
    monkeypatch.setattr(app, "analyse", lambda path, model: next(given))
    state, *_, said = act.upload(["a.png", "b.png"])
    assert state.scales == {1: ruled.search.mm_per_px}
    assert "ruler" not in said
    state, _, _, _, table, _, said = act.choose(state, 1)
    assert "from the ruler marked in green" in said
    assert float(table["value"][0][1].removesuffix(" mm")) == pytest.approx(300 / 8, abs=0.5)
    state, *_ = act.click(state, None, (100, 100))
    state, *_, said = act.click(state, None, (200, 100))
    assert state.scales == {1: ruled.search.mm_per_px}
    assert "type the distance" in said
    state, *_, said = act.measure(state, 50)
    assert state.scales == {1: 0.5}
    assert "ruler" not in said
    # Without points, the ruler's scale is back.
    state, *_ = act.click(state, None, (10, 10))
    assert state.scales == {1: ruled.search.mm_per_px}


def test_a_doubtful_ruler_is_said_and_gives_no_scale(ruled: app.Analysis) -> None:
    doubtful = dataclasses.replace(
        ruled, search=dataclasses.replace(ruled.search, doubt="two rulers disagree")
    )
    assert app._say(doubtful, [], None) == "One fish. No scale: two rulers disagree."


def test_a_large_photograph_is_shown_smaller_and_measured_in_full(tmp_path: Path) -> None:
    path = photograph(tmp_path / "large.png", (1400, 2800), length=1000)
    large = app.analyse(path, MODEL)
    picture = app.shown(large, [(100, 100), (200, 100)])
    assert picture.shape == (700, 1400, 3)
    # 100 pixels of what is shown are 200 of the photograph.
    assert app.scale_of(large, [(100, 100), (200, 100)], 100) == pytest.approx(0.5)
    assert large.rows[0]["length_px"] == pytest.approx(1000, abs=4)
    assert not np.array_equal(picture, app.shown(large, []))


@pytest.mark.parametrize(
    ("points", "distance"),
    [([(5, 5), (5, 5)], 10), ([(0, 0), (9, 9)], -1), ([(0, 0), (9, 9)], math.nan)],
)
def test_a_wrong_scale(
    points: list[tuple[float, float]], distance: float, analysis: app.Analysis
) -> None:
    with pytest.raises(ParameterError, match="cannot be"):
        app.scale_of(analysis, points, distance)


def test_the_zip_holds_what_predict_would_write(analysis: app.Analysis, tmp_path: Path) -> None:
    path = app.pack([analysis], {0: 0.5}, tmp_path)
    assert path.name == "fish-fish.zip"
    with zipfile.ZipFile(path) as archive:
        names = ["fish-mask.png", "fish-overlay.png", "measurements.csv"]
        assert sorted(archive.namelist()) == names
        mask = np.asarray(Image.open(io.BytesIO(archive.read("fish-mask.png"))))
        (row,) = csv.DictReader(io.StringIO(archive.read("measurements.csv").decode()))
    assert np.array_equal(mask, analysis.mask * np.uint8(255))
    assert float(row["length_mm"]) == pytest.approx(float(row["length_px"]) / 2, abs=0.01)
    assert (row["image"], row["scale_from"]) == ("fish", "two points")
    with zipfile.ZipFile(app.pack([analysis], {}, tmp_path)) as archive:
        assert b"length_mm" not in archive.read("measurements.csv")


def test_photographs_of_one_name_both_stay(analysis: app.Analysis, tmp_path: Path) -> None:
    path = app.pack([analysis, analysis], {1: 0.5}, tmp_path)
    assert path.name == "fish.zip"
    with zipfile.ZipFile(path) as archive:
        assert {"fish-mask.png", "fish-2-mask.png"} <= set(archive.namelist())
        first, second = csv.DictReader(io.StringIO(archive.read("measurements.csv").decode()))
    assert (first["image"], second["image"]) == ("fish", "fish-2")
    assert (first["mm_per_px"], first["length_mm"]) == ("", "")
    assert float(second["mm_per_px"]) == 0.5


def test_no_made_up_name_is_that_of_another_photograph(
    analysis: app.Analysis, tmp_path: Path
) -> None:
    called = [dataclasses.replace(analysis, name=name) for name in ("a", "a", "a-2", "a")]
    with zipfile.ZipFile(app.pack(called, {}, tmp_path)) as archive:
        masks = [name for name in archive.namelist() if name.endswith("-mask.png")]
    assert masks == ["a-mask.png", "a-3-mask.png", "a-2-mask.png", "a-4-mask.png"]


def test_a_photograph_without_fish(tmp_path: Path) -> None:
    Image.new("RGB", (60, 40)).save(tmp_path / "empty.png")
    empty = app.analyse(tmp_path / "empty.png", MODEL)
    assert app.summary(empty, 0.5) == []
    assert app.pack([empty], {0: 0.5}, tmp_path).exists()


def test_what_is_no_photograph_or_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "text.jpg").write_text("no picture")
    with pytest.raises(DataError, match="no image"):
        app.analyse(tmp_path / "text.jpg", MODEL)
    monkeypatch.setattr(app, "MAX_PIXELS", 1000)
    with pytest.raises(DataError, match="million pixels"):
        app.analyse(photograph(tmp_path / "fish.png"), MODEL)


def test_without_gradio_the_message_says_how_to_get_it(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)

    def build(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'gradio'", name="gradio")

    monkeypatch.setattr(app, "build", build)
    loaded = Loaded(model=MODEL, identity="red", about="")
    monkeypatch.setattr(models, "load_model", lambda _: loaded)
    with pytest.raises(SystemExit) as stopped:
        cli.main(["app", "--no-browser"])
    assert "pip install '.[app]'" in str(stopped.value.code)
    assert "http" not in caplog.text  # no address of a page that is not there


@pytest.fixture(scope="module")
def address() -> Iterator[str]:
    pytest.importorskip("gradio", reason="the page needs the extra app")
    page = app.build(MODEL)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GRADIO_ANALYTICS_ENABLED", "False")
        _, address, _ = page.launch(
            server_name="127.0.0.1",
            server_port=None,
            prevent_thread_lock=True,
            inbrowser=False,
            **app.launch_options(),
        )
        yield address
        page.close(verbose=False)


@pytest.fixture
def page(browser: Browser, address: str, request: pytest.FixtureRequest) -> Iterator[Page]:
    """The page in a real browser, which may talk to this machine only; a parameter is options."""
    options = {"viewport": {"width": 1000, "height": 1200}, **getattr(request, "param", {})}
    asked: list[str] = []
    with browser.new_context(**options) as context:
        page = context.new_page()
        page.on("request", lambda request: asked.append(request.url))
        page.goto(address)
        yield page
    elsewhere = [url for url in asked if not url.startswith((address, "data:", "blob:"))]
    assert elsewhere == []


# How dark the picture, or what lies over it, makes the ruler that is clicked.
WATCH_THE_LIGHT = """() => {
  window.dimmest = 1;
  const look = () => {
    let light = 1;
    for (let one = document.querySelector("#photograph img"); one; one = one.parentElement)
      light *= Number(getComputedStyle(one).opacity);
    const veils = document.querySelectorAll("#photograph .translucent, #photograph .generating");
    if ([...veils].some((veil) => veil.checkVisibility())) light = 0;
    window.dimmest = Math.min(window.dimmest, light);
    requestAnimationFrame(look);
  };
  look();
}"""


@pytest.mark.slow
def test_the_page_in_a_browser(page: Page, tmp_path: Path) -> None:
    wait_ms = 60_000
    page.set_input_files(
        "#file input[type=file]", photograph(tmp_path / "a.png", (1400, 2800), 1400)
    )
    page.wait_for_selector("#status >> text=One fish.", timeout=wait_ms)

    picture = page.locator("#photograph img").first
    # The veil of the upload goes first.
    page.wait_for_function("document.querySelector('#photograph img')?.naturalWidth == 1400")
    page.wait_for_selector("#photograph .translucent", state="hidden", timeout=wait_ms)
    page.evaluate(WATCH_THE_LIGHT)
    for share, then in ((0.25, "click the second point"), (0.75, "type the distance")):
        page.wait_for_function("document.querySelector('#photograph img')?.naturalWidth == 1400")
        box = picture.bounding_box()
        assert box
        picture.click(position={"x": share * box["width"], "y": 0.9 * box["height"]})
        page.wait_for_selector(f"#status >> text={then}", timeout=wait_ms)
    page.fill("#distance input", "350")  # half the picture is 1400 of its 2800 pixels
    page.keyboard.press("Tab")
    page.wait_for_selector("#status >> text=mm in a pixel", timeout=wait_ms)
    # Gradio lays the table out twice, once out of sight.
    page.wait_for_function("document.querySelector('#table').innerText.includes(' mm')")
    length = next(word for word in page.inner_text("#table").splitlines() if word.endswith(" mm"))
    assert float(length.removesuffix(" mm")) == pytest.approx(350, abs=2)

    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "results.zip")
    with zipfile.ZipFile(tmp_path / "results.zip") as archive:
        assert b"length_mm" in archive.read("measurements.csv")

    assert page.evaluate("window.dimmest") == 1

    # Other photographs: each has a scale of its own, and the old one is gone.
    (tmp_path / "broken.png").write_bytes(b"<b>no</b>")
    page.reload()
    names = ("b.png", "c.png")
    files = [photograph(tmp_path / name, (300, 500), 200) for name in names]
    page.set_input_files("#file input[type=file]", [*files, tmp_path / "broken.png"])
    page.wait_for_selector("#status >> text=the file is no image that can be read")
    assert page.inner_text("#status").count("no image that can be read") == 1
    assert page.locator("text=Error").count() == 0
    assert "b: One fish." in page.inner_text("#status")
    page.click("#chosen input")
    page.click("#chosen [role=option] >> nth=1")
    page.wait_for_selector("#status >> text=c: One fish.", timeout=wait_ms)
    assert page.input_value("#distance input") == ""
    with page.expect_download() as download:
        page.click("#download")
    download.value.save_as(tmp_path / "results.zip")
    with zipfile.ZipFile(tmp_path / "results.zip") as archive:
        assert {"b-mask.png", "c-mask.png"} <= set(archive.namelist())
    page.click("#file button[aria-label='Clear']")
    page.wait_for_selector("#photograph", state="hidden", timeout=wait_ms)
    page.wait_for_selector("#table", state="hidden", timeout=wait_ms)
    assert page.inner_text("#status").strip() == ""


@pytest.mark.slow
@pytest.mark.parametrize(
    "page",
    [
        {"viewport": {"width": width, "height": 800}, "color_scheme": scheme}
        for width in WIDTHS
        for scheme in SCHEMES
    ],
    indirect=True,
    ids=[f"{width}-{scheme}" for width in WIDTHS for scheme in SCHEMES],
)
def test_it_fits_and_stands_out_in_any_window_and_light(
    page: Page, tmp_path: Path, request: pytest.FixtureRequest
) -> None:
    page.wait_for_selector("#file")
    assert paper_is_dark(page) == request.node.callspec.id.endswith("dark")
    assert overflow_px(page) <= 0
    assert hard_to_read(page) == []
    (tmp_path / "broken.png").write_bytes(b"no")
    names = ("a_name_as_long_as_a_telephone_gives_20240101_120000.png", "b.png")
    files = [photograph(tmp_path / name, (300, 500), 200) for name in names]
    page.set_input_files("#file input[type=file]", [*files, tmp_path / "broken.png"])
    page.wait_for_selector("#status >> text=One fish.", timeout=60_000)
    page.wait_for_function("document.querySelector('#table')?.innerText.includes(' px')")
    assert overflow_px(page) <= 0
    assert hard_to_read(page) == []
