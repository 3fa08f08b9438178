"""How well the ruler in a picture is found and read, on drawings of which all is known.

``python -m benchmarks.rulers`` draws photographs of rulers to a known scale and as many pictures
without one (`benchmarks.drawn_rulers`, and the scenes ``anywhere`` and ``market`` of the sample
set, some with something ticked laid into them), looks for a ruler in each, and writes the counts
between the marks of ``docs/measurements.md``. It names each picture that was read wrongly.
"""

from __future__ import annotations

import argparse
import dataclasses
import logging
from collections.abc import Callable
from pathlib import Path
from unittest.mock import patch

import cv2
import numpy as np
from tqdm import tqdm

from benchmarks.drawn_rulers import DECOYS, Picture, any_decoy, any_ruler
from benchmarks.results import write_between_marks
from fishseg.datasets.sample.anywhere.picture import draw_picture
from fishseg.datasets.sample.anywhere.scenes import SCENES
from fishseg.datasets.sample.anywhere.things import THINGS
from fishseg.datasets.sample.photo import render_photo
from fishseg.datasets.sample.species import SPECIES
from fishseg.measurement.ruler import find_ruler
from fishseg.parallel import process_map, single_threaded

PAGE = Path("docs/measurements.md")
GOOD = 0.01
_SEED = 2024  # of these drawings; those that the search was developed on have others


@dataclasses.dataclass(frozen=True, kw_only=True)
class Answer:
    """What was said of a drawing.

    Attributes:
        kind: of the drawing.
        number: of the drawing.
        error: relative, of the scale at the middle of what was found; None without a scale.
        doubt: why there is no scale.
    """

    kind: str
    number: int
    error: float | None
    doubt: str


def main() -> None:
    """Draw, look, count, and write the table."""
    logging.basicConfig(level=logging.INFO, format="%(message)s")
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--n", type=int, default=200, help="drawings with and without a ruler")
    options = parser.parse_args()
    jobs = [("ruler", number) for number in range(options.n)]
    kinds = list(WITHOUT)
    jobs += [(kinds[number % len(kinds)], number) for number in range(options.n)]
    answers = list(tqdm(process_map(ask, jobs), total=len(jobs), desc="look", unit="picture"))
    for one in answers:
        if one.error is not None and abs(one.error) >= GOOD:
            logging.info("wrong: %s %d by %.2f%%", one.kind, one.number, 100 * one.error)
    lines = table(answers)
    logging.info("%s", "\n".join(lines))
    write_between_marks("rulers: python -m benchmarks.rulers", lines, PAGE)


def ask(job: tuple[str, int]) -> Answer:
    """What is said of a drawing."""
    kind, number = job
    rng = np.random.default_rng([_SEED, number, kind == "ruler"])
    with single_threaded():
        if kind != "ruler":
            search = find_ruler(WITHOUT[kind](number, rng))
            found = search.mm_per_px
            return Answer(
                kind=kind,
                number=number,
                error=None if found is None else np.inf,
                doubt=search.doubt,
            )
        drawing = any_ruler(rng)
        search = find_ruler(drawing.picture)
    ruler = search.ruler
    if search.mm_per_px is None or ruler is None:
        return Answer(kind=kind, number=number, error=None, doubt=search.doubt)
    middle = len(ruler.places) // 2
    along = ruler.places[middle] - ruler.places[middle - 1]
    true = drawing.mm_per_px_at(ruler.places[middle], along)
    return Answer(kind=kind, number=number, error=ruler.mm_per_px / true - 1, doubt="")


def table(answers: list[Answer]) -> list[str]:
    """The counts as a Markdown table."""
    lines = [
        "| drawn | pictures | scale within 1% | another scale | no scale | median error |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    groups: list[tuple[str, Callable[[Answer], bool]]] = [
        ("a ruler", lambda one: one.kind == "ruler"),
        ("something ticked that is no ruler", lambda one: one.kind == "decoy"),
        ("scenes `anywhere` and `market` without a ruler", lambda one: one.kind in SCENE_KINDS),
        ("the same with something ticked in them", lambda one: one.kind == "decoy in a scene"),
    ]
    for name, belongs in groups:
        ours = [one for one in answers if belongs(one)]
        errors = [abs(one.error) for one in ours if one.error is not None]
        right = sum(error < GOOD for error in errors)
        none = len(ours) - len(errors)
        middle = f"{100 * float(np.median(errors)):.2f}%" if right else "–"
        lines.append(
            f"| {name} | {len(ours)} | {right} | {len(errors) - right} | {none} | {middle} |"
        )
    return lines


def _decoy(number: int, rng: np.random.Generator) -> Picture:
    return any_decoy(list(DECOYS)[number // len(WITHOUT) % len(DECOYS)], rng)


def _anywhere(number: int, rng: np.random.Generator) -> Picture:
    """A scene ``anywhere`` with a label where it would have a ruler."""
    place = list(SCENES.places.values())[number % len(SCENES.places)]
    with patch.dict(THINGS, ruler=THINGS["label"]):
        code = draw_picture(place, rng)[0]
    picture = cv2.imdecode(np.frombuffer(code, np.uint8), cv2.IMREAD_COLOR)
    decoded: Picture = np.asarray(picture)[..., ::-1]
    return np.ascontiguousarray(decoded)


def _market(number: int, rng: np.random.Generator) -> Picture:
    return render_photo(SPECIES[number % len(SPECIES)], rng).picture


def _decoy_in_a_scene(number: int, rng: np.random.Generator) -> Picture:
    scene, decoy = _anywhere(number, rng), _decoy(number, rng)
    height, width = scene.shape[:2]
    part = decoy[: height // 2, : width // 2]
    top, left = height // 4, width // 4
    scene[top : top + part.shape[0], left : left + part.shape[1]] = part
    return scene


SCENE_KINDS = ("anywhere", "market")
WITHOUT: dict[str, Callable[[int, np.random.Generator], Picture]] = {
    "decoy": _decoy,
    "anywhere": _anywhere,
    "market": _market,
    "decoy in a scene": _decoy_in_a_scene,
}


if __name__ == "__main__":
    main()
