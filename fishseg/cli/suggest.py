"""``fishseg suggest``: which pictures to label next, with labels to begin from."""

from __future__ import annotations

import argparse
import csv
import dataclasses
import itertools
import logging
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fishseg.cli.arguments import (
    Commands,
    add_command,
    add_model,
    conclude,
    one_line,
    path,
)
from fishseg.errors import DataError, FishsegError, ModelError, ParameterError

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from fishseg.cli.inputs import InputFile
    from fishseg.prediction.model import ProbabilityModel

log = logging.getLogger("fishseg")

DESCRIPTION = """\
Choose pictures without labels for labelling, with labels to begin from: those whose masks are
uncertain, and that differ from one another. Copies of one photograph count once. As many pictures
at random taught a decoder as much where it was measured (docs/labelling.md). In DIR this writes

  images/              the chosen pictures
  annotations.json     what the decoder says of them, as COCO polygons to be corrected
  masks/               the same as masks, to be painted in
  suggested.csv        the most wanted first: uncertainty, and how many copies each stands for

Correct them in an annotation tool or by painting, then `fishseg accept`."""

EXAMPLES = """\
  fishseg suggest photos --n 20
  fishseg suggest photos --n 20 --out suggested --decoder data/decoder
"""

COLUMNS = ("rank", "image", "uncertainty", "copies")
# Of two copies of one photograph, laid on each other (`fishseg.audit.registration.likeness`). The
# audit takes less for one; here a photograph that is lost costs more than a copy too many, which
# the variety of what is chosen keeps at the end anyway.
MIN_LIKENESS = 0.8


def add_parser(commands: Commands) -> None:
    """Add the command to the command line."""
    command = add_command(
        commands,
        "suggest",
        summary="which pictures to label next, with labels to begin from",
        description=DESCRIPTION,
        examples=EXAMPLES,
    )
    command.add_argument("paths", nargs="+", metavar="PATH", help="pictures or folders of pictures")
    command.add_argument(
        "--n", type=int, default=20, metavar="N", help="how many (default: %(default)s)"
    )
    command.add_argument(
        "--out", type=path, default=Path("suggested"), metavar="DIR", help="(default: %(default)s)"
    )
    add_model(command)
    command.set_defaults(command=run, model=None, threshold=None)


@dataclasses.dataclass(frozen=True, kw_only=True)
class Candidate:
    """A picture that could be labelled: how uncertain its mask is, and what it looks like."""

    picture: InputFile
    sha256: str
    uncertainty: float
    descriptor: NDArray[np.float32]


def run(options: argparse.Namespace) -> int:
    """Choose and write; 1 where a picture could not be used."""
    from tqdm import tqdm

    from fishseg.cli.inputs import find_pictures
    from fishseg.cli.models import load_model

    if options.n < 1:
        raise ParameterError(
            f"{options.n} pictures cannot be chosen",
            where="--n",
            expected="1 or more",
            remedy="--n 20",
        )
    if options.out.exists() and (not options.out.is_dir() or any(options.out.iterdir())):
        raise DataError(
            "there is something already where the pictures should go",
            where=options.out,
            expected="an empty or missing folder",
            remedy="choose another one with --out; corrections may lie in this one",
        )
    found = find_pictures(options.paths)
    problems: list[FishsegError] = []
    candidates: list[Candidate] = []
    if found.pictures:
        model = load_model(options).model
        for picture in tqdm(found.pictures, desc="look", unit="image"):
            try:
                candidates.append(look(picture, model))
            except DataError as error:
                problems.append(error)
    if candidates:
        write(choose(candidates, options.n), model, options.out)
        log.info("the suggestions are in %s", options.out)
    lines = [one_line(problem) for problem in [*problems, *found.problems]]
    return conclude(len(candidates), lines, found.remarks)


def look(picture: InputFile, model: ProbabilityModel) -> Candidate:
    """How uncertain a model is of a picture, and what it looks like to it."""
    import numpy as np

    from fishseg.images.decoding import read_image
    from fishseg.metrics.familiarity import patches_of
    from fishseg.metrics.selection import uncertainty
    from fishseg.prediction.model import answer_of
    from fishseg.store import file_sha256

    answer = answer_of(model, read_image(picture.path))
    probability, seen = answer.probability, answer.seen
    if seen is None:
        raise ModelError(
            "this decoder does not say what a picture looks like to it",
            where="--decoder",
            expected="a decoder with familiarity.safetensors, as the train stage writes it",
            remedy="dvc repro train, or leave --decoder out to take the one that ships",
        )
    mask = probability >= model.threshold
    whole = seen.embedding.mean(axis=(1, 2))
    fish = patches_of(mask, seen.embedding).mean(axis=0) if mask.any() else whole
    return Candidate(
        picture=picture,
        sha256=file_sha256(picture.path),
        uncertainty=uncertainty(probability, model.threshold),
        descriptor=np.concatenate([fish, whole]),
    )


def choose(candidates: list[Candidate], n: int) -> list[tuple[Candidate, int]]:
    """The most wanted first, each with how many copies of one photograph it stands for."""
    import numpy as np

    from fishseg.metrics.selection import weighted_k_centre

    roots = _photographs(candidates)
    # Of copies, the one whose mask is the least sure.
    best: dict[int, int] = {}
    for number, root in enumerate(roots):
        known = best.setdefault(root, number)
        if candidates[number].uncertainty > candidates[known].uncertainty:
            best[root] = number
    members = sorted(best.values())
    order = weighted_k_centre(
        np.stack([candidates[number].descriptor for number in members]),
        np.array([candidates[number].uncertainty for number in members]),
        n,
    )
    return [(candidates[members[place]], roots.count(roots[members[place]])) for place in order]


def _photographs(candidates: list[Candidate]) -> list[int]:
    """Of each picture the first that is a copy of the same photograph, turned or mirrored too."""
    from fishseg.audit.grouping import align
    from fishseg.audit.matching import File, Query, as_a_whole, match, prepare_sources

    files = [File(candidate.picture.path, candidate.sha256) for candidate in candidates]
    first = {file.sha256: number for number, file in reversed(list(enumerate(files)))}
    distinct = sorted(first.values())
    if len(distinct) == 1:
        return [0] * len(files)
    sources = [files[number] for number in distinct]
    queries = [Query(file, itself=number) for number, file in enumerate(sources)]
    matches = match(queries, prepare_sources(sources), as_a_whole, description="compare pictures")
    root = align(matches, MIN_LIKENESS).root
    place = {files[number].sha256: distinct[root[row]] for row, number in enumerate(distinct)}
    return [place[file.sha256] for file in files]


def write(chosen: list[tuple[Candidate, int]], model: ProbabilityModel, folder: Path) -> None:
    """Write the pictures and what the model says of them."""
    import numpy as np
    from PIL import Image

    from fishseg.cli.accept import KEPT
    from fishseg.images.decoding import read_image
    from fishseg.measurement import coco
    from fishseg.prediction.instances import fish_in
    from fishseg.prediction.model import answer_of
    from fishseg.store import make_folder

    for part in ("images", "masks", KEPT):
        make_folder(folder / part)
    names = _names([candidate.picture for candidate, _ in chosen])
    images: list[dict[str, Any]] = []
    annotations: list[dict[str, Any]] = []
    for number, (candidate, _) in enumerate(chosen, start=1):
        name = names[number - 1]
        shutil.copyfile(candidate.picture.path, folder / "images" / name)
        image = read_image(candidate.picture.path)
        answer = answer_of(model, image)
        mask = answer.probability >= model.threshold
        for part in ("masks", KEPT):
            drawn = Image.fromarray(mask.astype(np.uint8) * 255)
            drawn.save(folder / part / f"{Path(name).stem}.png")
        height, width = mask.shape
        images.append({"id": number, "file_name": name, "width": width, "height": height})
        for fish in fish_in(answer, model.threshold, min_share=0):
            (left, top), (box_height, box_width) = fish.origin, fish.mask.shape
            annotations.append(
                {
                    "id": len(annotations) + 1,
                    "image_id": number,
                    "category_id": coco.CATEGORY["id"],
                    "bbox": [left, top, box_width, box_height],
                    "area": int(fish.mask.sum()),
                    "iscrowd": 0,
                    "score": round(fish.confidence or 0.0, 4),
                    "segmentation": coco.polygons(fish.mask, fish.origin),
                }
            )
    coco.write(folder / "annotations.json", lambda: images, lambda: annotations)
    with (folder / "suggested.csv").open("w", encoding="utf-8", newline="") as file:
        table = csv.writer(file, lineterminator="\n")
        table.writerow(COLUMNS)
        for rank, (name, (candidate, copies)) in enumerate(
            zip(names, chosen, strict=True), start=1
        ):
            table.writerow([rank, name, f"{candidate.uncertainty:.4f}", copies])


def _names(pictures: list[InputFile]) -> list[str]:
    """Names without folders, since annotation tools drop them; no two have the same stem."""
    names: list[str] = []
    used: set[str] = set()
    for picture in pictures:
        path = Path(picture.source)
        stem = path.with_suffix("").as_posix().replace("/", "--")
        tries = itertools.chain([stem], (f"{stem}-{n}" for n in itertools.count(2)))
        stem = next(one for one in tries if one.casefold() not in used)
        used.add(stem.casefold())
        names.append(f"{stem}{path.suffix}")
    return names
