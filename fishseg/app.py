"""A local web page: drop a photograph, see its fish, set the scale, take the results home.

What it computes stands apart from how Gradio shows it (`build`), so that it can be tested alone.
Nothing leaves the machine: no analytics, no fonts or scripts from elsewhere.
"""

from __future__ import annotations

import csv
import dataclasses
import html
import io
import itertools
import logging
import math
import os
import tempfile
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import cv2
import numpy as np
from PIL import Image

from fishseg.errors import DataError, FishsegError, ModelError, ParameterError
from fishseg.images.decoding import IMAGE_SUFFIXES, read_image
from fishseg.measurement.ruler import Search, find_ruler
from fishseg.measurement.size import measure
from fishseg.measurement.table import COLUMNS, MM_COLUMNS, RULER, Row, in_millimetres, rows_of
from fishseg.plots.measured import measured_overlay
from fishseg.prediction.instances import fish_in
from fishseg.prediction.model import answer_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from fishseg.prediction.model import ProbabilityModel

log = logging.getLogger("fishseg")

MAX_FILE_BYTES = 64 * 2**20
MAX_PIXELS = 50_000_000  # a large camera's; a few hundred MB while it is worked on
SHOWN_SIDE_PX = 1400  # what a screen shows of it
_POINT_RGB = (255, 64, 160)
_KEPT_S = 3600  # uploads and results are deleted after an hour

Point = tuple[float, float]


@dataclasses.dataclass(frozen=True, kw_only=True)
class Analysis:
    """A photograph and the fish in it.

    Attributes:
        name: of the file, without its suffix.
        mask: ``(H0, W0)``.
        overlay: ``(H0, W0, 3)`` uint8, the photograph with its fish and their axes.
        rows: a row a fish, in pixels, see `fishseg.measurement.table.rows_of`.
        search: what came of looking for a ruler, whose scale is proposed.
    """

    name: str
    mask: NDArray[np.bool_]
    overlay: NDArray[np.uint8]
    rows: list[Row]
    search: Search

    @property
    def shown_factor(self) -> float:
        """How much smaller the page shows the photograph, 1 or less."""
        longer_side: int = max(self.mask.shape)
        return min(1.0, SHOWN_SIDE_PX / longer_side)


def analyse(path: Path, model: ProbabilityModel) -> Analysis:
    """Find and measure the fish of a photograph.

    Raises:
        DataError: the file is no image that can be read, or a larger one than this page takes.
    """
    _check_size(path)
    image = read_image(path)
    answer = answer_of(model, image)
    mask = answer.probability >= model.threshold
    fish = fish_in(answer, model.threshold)
    measured = [measure(one.mask, origin=one.origin) for one in fish]
    search = find_ruler(image)
    return Analysis(
        name=path.stem,
        mask=mask,
        overlay=measured_overlay(image, mask, measured, search.strokes),
        rows=rows_of(fish, measured, mask),
        search=search,
    )


def _check_size(path: Path) -> None:
    try:
        with Image.open(path) as image:
            n_pixels = image.width * image.height
    except Exception:  # reading it will say what is wrong
        return
    if n_pixels > MAX_PIXELS:
        raise DataError(
            f"the photograph has {n_pixels / 1e6:.0f} million pixels",
            where=path.name,
            expected=f"{MAX_PIXELS / 1e6:.0f} million at most on this page",
            remedy="make it smaller, or use `fishseg predict`",
        )


def shown(analysis: Analysis, points: list[Point]) -> NDArray[np.uint8]:
    """The overlay as the page shows it, with the points of the scale and the line between them.

    Args:
        analysis: the photograph.
        points: none, one or two, in pixels of what is shown.
    """
    height, width = (max(1, round(side * analysis.shown_factor)) for side in analysis.mask.shape)
    picture: NDArray[np.uint8] = cv2.resize(
        analysis.overlay, (width, height), interpolation=cv2.INTER_AREA
    )
    corners = [(round(x), round(y)) for x, y in points]
    if len(corners) == 2:
        cv2.line(picture, corners[0], corners[1], _POINT_RGB, 2, cv2.LINE_AA)
    for corner in corners:
        cv2.circle(picture, corner, 6, (255, 255, 255), -1, cv2.LINE_AA)
        cv2.circle(picture, corner, 4, _POINT_RGB, -1, cv2.LINE_AA)
    return picture


def scale_of(analysis: Analysis, points: list[Point], distance_mm: float | None) -> float | None:
    """Millimetres in a pixel of the photograph; None as long as the scale is not set.

    Raises:
        ParameterError: the points coincide, or the distance is negative.
    """
    if len(points) < 2 or not distance_mm:  # an empty number field says 0
        return None
    (left, top), (right, bottom) = points
    distance_px = math.hypot(right - left, bottom - top) / analysis.shown_factor
    if distance_px < 1 or not (math.isfinite(distance_mm) and distance_mm > 0):
        raise ParameterError(
            f"{distance_px:.0f} pixels cannot be {distance_mm:g} mm",
            expected="two different points and a distance above 0",
            remedy="click two points far apart, on a ruler for example",
        )
    return distance_mm / distance_px


def summary(analysis: Analysis, mm_per_px: float | None) -> list[list[str]]:
    """The table of the page: number, length, width, area, confidence, remark of each fish."""
    lines = []
    for number, row in enumerate(analysis.rows, start=1):
        if mm_per_px is None:
            sizes = [f"{row['length_px']:.0f} px", f"{row['width_px']:.0f} px"]
            sizes.append(f"{row['area_px']:,} px")
        else:
            in_mm = in_millimetres(row, mm_per_px)
            sizes = [f"{in_mm['length_mm']:.1f} mm", f"{in_mm['width_mm']:.1f} mm"]
            sizes.append(f"{in_mm['area_mm2'] / 100:.2f} cm²")
        remark = row["check"]
        lines.append([str(number), *sizes, f"{row['confidence']:.0%}", remark])
    return lines


SUMMARY_HEADERS = ["fish", "length", "width", "area", "confidence", ""]


def pack(analyses: Sequence[Analysis], scales: Mapping[int, float], folder: Path) -> Path:
    """Masks, overlays, measurements in a zip in ``folder``; millimetres where there is a scale.

    Args:
        analyses: of photographs.
        scales: millimetres in a pixel, by the number of the photograph.
        folder: where to.
    """
    path = folder / (f"{analyses[0].name}-fish.zip" if len(analyses) == 1 else "fish.zip")
    with zipfile.ZipFile(path, "w") as archive:
        for name, analysis in zip(_names(analyses), analyses, strict=True):
            for kind, picture in (
                ("mask", analysis.mask.astype(np.uint8) * 255),
                ("overlay", analysis.overlay),
            ):
                encoded = io.BytesIO()
                Image.fromarray(picture).save(encoded, format="PNG", compress_level=1)
                archive.writestr(f"{name}-{kind}.png", encoded.getvalue())
        archive.writestr("measurements.csv", _csv(analyses, scales))
    return path


def _names(analyses: Sequence[Analysis]) -> list[str]:
    """What each photograph is called: those of two folders may have one name."""
    names: list[str] = []
    for analysis in analyses:
        others = {*names, *(other.name for other in analyses)}
        name = analysis.name
        numbered = (f"{name}-{number}" for number in itertools.count(2))
        names.append(name if name not in names else next(n for n in numbered if n not in others))
    return names


def _csv(analyses: Sequence[Analysis], scales: Mapping[int, float]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\n")
    in_mm = ("mm_per_px", "scale_from", *MM_COLUMNS) if scales else ()
    writer.writerow(["image", "fish", *COLUMNS, *in_mm])
    for place, (name, analysis) in enumerate(zip(_names(analyses), analyses, strict=True)):
        scale = scales.get(place)
        for number, row in enumerate(analysis.rows, start=1):
            values = [name, number, *(row[column] for column in COLUMNS)]
            if scale is not None:
                source = RULER if scale == analysis.search.mm_per_px else "two points"
                values += [scale, source, *in_millimetres(row, scale).values()]
            elif scales:
                values += [""] * len(in_mm)
            writer.writerow(values)
    return text.getvalue()


_INTRODUCTION = """
# Fish in your photographs

Drop photographs: their fish are cut out and measured along the body. A ruler in the picture gives
millimetres by itself; without one, or to correct it, click two points of the picture whose distance
you know and type that distance.
Nothing leaves this computer.
"""
_CSS = """
.gradio-container { width: 100%; min-width: 0 !important; margin: auto; }
.gradio-container { max-width: min(1100px, 100vw) !important; }
.gradio-container main, .gradio-container main * { min-width: 0; }
#photograph img { cursor: crosshair; }
#file .or, #file .label-clear-button { color: var(--body-text-color); }
.dark #file a { color: #7cc4f2; }
#table { overflow-x: auto; }
"""


def serve(
    model: ProbabilityModel,
    *,
    about: str = "",
    host: str = "127.0.0.1",
    port: int = 7860,
    open_browser: bool = True,
) -> None:
    """Serve the page until interrupted.

    Raises:
        ModelError: Gradio is not installed.
        ParameterError: the port is taken, or the host is none of this machine's.
    """
    # Gradio reads these when it is imported.
    os.environ["GRADIO_ANALYTICS_ENABLED"] = "False"
    os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
    try:
        page = build(model, about)
    except ModuleNotFoundError as error:
        raise ModelError(
            f"the page needs {error.name}, which is not installed",
            remedy="pip install '.[app]' in a copy of the repository",
        ) from None
    log.info("the page: http://%s:%d (Ctrl+C ends it)", host, port)
    try:
        page.launch(server_name=host, server_port=port, inbrowser=open_browser, **launch_options())
    except OSError as error:
        raise ParameterError(
            f"the page cannot be served: {error}",
            where=f"{host}:{port}",
            remedy="choose another --port",
        ) from None


def launch_options() -> dict[str, Any]:
    """How Gradio shows the page: local fonts, no links, no sharing, small files only."""
    import gradio  # noqa: PLC0415 - optional

    sans = ["system-ui", "-apple-system", "Segoe UI", "sans-serif"]
    theme = gradio.themes.Default(
        primary_hue="sky", font=sans, font_mono=["ui-monospace", "monospace"]
    )
    return {
        "theme": theme,
        "css": _CSS,
        "share": False,
        "footer_links": [],
        "max_file_size": MAX_FILE_BYTES,
        "ssr_mode": False,
        "quiet": True,
    }


def build(model: ProbabilityModel, about: str = "") -> Any:
    """The page, as `gradio.Blocks`.

    Args:
        model: finds the fish.
        about: a sentence on what it was trained on.
    """
    import gradio  # noqa: PLC0415 - optional

    act = _Actions(gradio, model)

    def on_click(state: _State, distance_mm: float | None, event: Any) -> list[Any]:
        return act.click(state, distance_mm, event.index)

    # Gradio hands the event to the parameter that is annotated with its class.
    on_click.__annotations__["event"] = gradio.SelectData

    with gradio.Blocks(
        title="fishseg", analytics_enabled=False, delete_cache=(_KEPT_S, _KEPT_S)
    ) as page:
        state = gradio.State(_State())
        gradio.Markdown(_INTRODUCTION)
        gradio.Markdown(html.escape(about), elem_id="about")
        file = gradio.File(
            label="Photographs",
            file_count="multiple",
            file_types=sorted(IMAGE_SUFFIXES),
            height=140,
            elem_id="file",
        )
        status = gradio.Markdown(elem_id="status")
        chosen = gradio.Dropdown(label="Photograph shown", visible=False, elem_id="chosen")
        picture = gradio.Image(
            label="Fish (click two points to set the scale)",
            visible=False,
            interactive=False,
            format="png",
            buttons=["fullscreen"],
            elem_id="photograph",
        )
        distance = gradio.Number(
            label="Distance between the two points, in millimetres",
            value=None,
            minimum=0,
            visible=False,
            elem_id="distance",
        )
        table = gradio.Dataframe(
            headers=SUMMARY_HEADERS, visible=False, interactive=False, elem_id="table", buttons=[]
        )
        download = gradio.DownloadButton(
            "Download masks, overlays and table", visible=False, elem_id="download"
        )
        results = [state, chosen, picture, distance, table, download, status]
        file.upload(act.upload, [file], results, show_progress="minimal")
        file.clear(act.clear, None, results, show_progress="hidden")
        chosen.input(act.choose, [state, chosen], results, show_progress="hidden")
        picture.select(on_click, [state, distance], results, show_progress="hidden")
        distance.change(act.measure, [state, distance], results, show_progress="hidden")
    return page


@dataclasses.dataclass(frozen=True, kw_only=True)
class _State:
    """What one visitor has on the page.

    Attributes:
        analyses: of the photographs.
        shown: which of them is shown.
        points: clicked on it, at most two, in pixels of what is shown.
        scales: millimetres in a pixel, by the number of the photograph.
        problems: with what was done last, as Markdown.
    """

    analyses: list[Analysis] = dataclasses.field(default_factory=list)
    shown: int = 0
    points: list[Point] = dataclasses.field(default_factory=list)
    scales: dict[int, float] = dataclasses.field(default_factory=dict)
    problems: list[str] = dataclasses.field(default_factory=list)


class _Actions:
    """What the page does: each action gives a state, and what all of the page shows of it."""

    def __init__(self, gradio: Any, model: ProbabilityModel) -> None:
        self._gradio = gradio
        self._model = model
        self._folder = Path(tempfile.mkdtemp(prefix="fishseg-"))

    def upload(self, paths: list[str]) -> list[Any]:
        state = _State()
        for path in paths:
            try:
                analysis = analyse(Path(path), self._model)
                if analysis.search.mm_per_px is not None:
                    state.scales[len(state.analyses)] = analysis.search.mm_per_px
                state.analyses.append(analysis)
            except FishsegError as error:
                state.problems.append(_as_text(Path(path).name, error))
        return self._answer(state, forget_distance=True)

    def clear(self) -> list[Any]:
        return self._answer(_State(), forget_distance=True)

    def choose(self, state: _State, number: int) -> list[Any]:
        # Each photograph has a scale of its own.
        state = dataclasses.replace(state, shown=number, points=[], problems=[])
        return self._answer(state, forget_distance=True)

    def click(self, state: _State, distance_mm: float | None, at: Sequence[float]) -> list[Any]:
        point = (float(at[0]), float(at[1]))
        points = [*state.points, point] if len(state.points) == 1 else [point]
        return self._scaled(dataclasses.replace(state, points=points), distance_mm)

    def measure(self, state: _State, distance_mm: float | None) -> list[Any]:
        if len(state.points) < 2:
            return [self._gradio.skip() for _ in range(7)]
        return self._scaled(state, distance_mm)

    def _scaled(self, state: _State, distance_mm: float | None) -> list[Any]:
        scales = {key: value for key, value in state.scales.items() if key != state.shown}
        problems = []
        analysis = state.analyses[state.shown]
        try:
            # Until the points are set, the ruler's scale stands.
            scale = scale_of(analysis, state.points, distance_mm) or analysis.search.mm_per_px
        except FishsegError as error:
            problems, scale = [_as_text("The scale", error)], None
        if scale is not None:
            scales[state.shown] = scale
        return self._answer(dataclasses.replace(state, scales=scales, problems=problems))

    def _answer(self, state: _State, *, forget_distance: bool = False) -> list[Any]:
        update = self._gradio.update
        distance = {"value": None} if forget_distance else {}
        said = "\n\n".join(state.problems)
        if not state.analyses:
            hidden = update(visible=False)
            nothing = update(choices=[], value=None, visible=False)
            distance_hidden = update(visible=False, **distance)
            return [state, nothing, hidden, distance_hidden, hidden, hidden, said]
        analysis, scale = state.analyses[state.shown], state.scales.get(state.shown)
        names = [(one.name, number) for number, one in enumerate(state.analyses)]
        packed = pack(state.analyses, state.scales, Path(tempfile.mkdtemp(dir=self._folder)))
        found = f"**{html.escape(analysis.name)}**: {_say(analysis, state.points, scale)}"
        return [
            state,
            update(choices=names, value=state.shown, visible=len(names) > 1),
            update(value=shown(analysis, state.points), visible=True),
            update(visible=True, **distance),
            update(value=summary(analysis, scale), visible=True),
            update(value=str(packed), visible=True),
            f"{found}\n\n{said}",
        ]


def _as_text(what: str, error: FishsegError) -> str:
    """A user's error in one place of the page, as Markdown."""
    sentences = [error.what, error.expected, error.remedy]
    said = "; ".join(html.escape(sentence) for sentence in sentences if sentence)
    return f"⚠ **{html.escape(what)}**: {said}"


def _say(analysis: Analysis, points: list[Point], mm_per_px: float | None) -> str:
    n_fish = len(analysis.rows)
    found = "No fish found." if not n_fish else "One fish." if n_fish == 1 else f"{n_fish} fish."
    hint = {0: "", 1: " Now click the second point."}.get(
        len(points), " Now type the distance between the points."
    )
    proposed = analysis.search.mm_per_px
    if mm_per_px is None:
        # Doubt is worth a word where something was taken for a ruler.
        doubt = f" No scale: {analysis.search.doubt}." if analysis.search.ruler else ""
        return found + (hint or doubt)
    if mm_per_px != proposed or analysis.search.ruler is None:
        return f"{found} Scale: {mm_per_px:.4g} mm in a pixel."
    said = (
        f"{found} Scale: {mm_per_px:.4g} mm in a pixel, from the ruler marked in green "
        f"(confidence {analysis.search.ruler.confidence:.0%})."
    )
    remark = f" Mind: {analysis.search.remark}." if analysis.search.remark else ""
    return said + remark + (hint or " To correct it, click two points.")
