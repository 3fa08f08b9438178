"""The scene ``anywhere``: fish of all kinds in places of all kinds, every picture another scene.

And the scene ``shoal``: 2 to 12 fish in ten of these places, which touch and lie over one another.

A set lies in the plain layout, ``images/<Place>/00001.jpg`` beside ``masks/<Place>/00001.png``.
One picture depends on the seed, its place and its number only: a larger set holds the pictures of a
smaller one unchanged, and the number of processes that draw does not matter. Masks of ``anywhere``
are 0 and 255; those of ``shoal`` number the fish, 0 is what is no fish.
"""

from __future__ import annotations

import functools
import logging
from pathlib import Path

import cv2
import numpy as np
from tqdm import tqdm

from fishseg.datasets.sample.anywhere.photographs import PHOTOGRAPHS
from fishseg.datasets.sample.anywhere.picture import draw_picture
from fishseg.datasets.sample.anywhere.scenes import SCENES
from fishseg.parallel import process_map, single_threaded

_logger = logging.getLogger(__name__)

_PICTURE, _SHOAL = 5, 6  # first word of every seed, not used by the market's


def draw_set(seed: int, pictures_per_place: int, folder: Path, scene: str = "anywhere") -> None:
    """Draw pictures of every place into an empty folder.

    Args:
        seed: of the set.
        pictures_per_place: how many pictures each place gets.
        folder: the folder to fill.
        scene: ``anywhere`` or ``shoal``.
    """
    places = list(SCENES.shoals if scene == "shoal" else SCENES.places)
    for place in places:
        for part in ("images", "masks"):
            (folder / part / place).mkdir(parents=True, exist_ok=True)
    # Places take turns, so that each process gets some of all.
    jobs = [(place, number) for number in range(pictures_per_place) for place in places]
    draw = functools.partial(_draw, seed, folder, scene)
    for _ in tqdm(process_map(draw, jobs), total=len(jobs), desc="draw pictures", unit="picture"):
        pass
    (folder / "license.txt").write_text(_licence(), encoding="utf-8", newline="\n")
    _logger.info("drew %d pictures of %d places", len(jobs), len(places))


def _draw(seed: int, folder: Path, scene: str, job: tuple[str, int]) -> None:
    place, number = job
    first = _SHOAL if scene == "shoal" else _PICTURE
    rng = np.random.default_rng([first, seed, list(SCENES.places).index(place), number, 1])
    with single_threaded():
        if scene == "shoal":
            picture, mask = draw_picture(SCENES.shoals[place], rng)
        else:
            picture, fish = draw_picture(SCENES.places[place], rng)
            mask = np.where(fish, np.uint8(255), np.uint8(0))
    stem = f"{number + 1:05d}"
    (folder / "images" / place / f"{stem}.jpg").write_bytes(picture)
    code = cv2.imencode(".png", mask)[1].tobytes()
    (folder / "masks" / place / f"{stem}.png").write_bytes(code)


def _licence() -> str:
    """Whose photographs parts of the pictures were made from."""
    lines = ["Drawn by fishseg; use them as you like, but name the authors of these photographs,"]
    lines += ["parts of which are in some of the pictures:", ""]
    lines += [f"{p.title}, by {p.author} ({p.licence})" for p in PHOTOGRAPHS.values()]
    return "\n".join(lines) + "\n"
