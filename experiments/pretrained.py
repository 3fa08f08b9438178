"""Draw pictures, train the decoder that ships, and write it to ``fishseg/pretrained/``.

Pictures of val, and what it says of them, are drawn to ``docs/pictures/anywhere.png``.

``python -m experiments.pretrained`` (``make pretrained``) takes up to two hours on two cores. What
it does stands in ``experiments/pretrained.yaml``. Pictures and features stay in the store: a run
that was interrupted goes on where it stopped. With ``--decoder FOLDER`` nothing is trained: what
ships is written for a decoder that is there.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import tempfile
from pathlib import Path

import pandas as pd
import yaml
from pydantic import BaseModel, ConfigDict

import fishseg
from experiments.study import changed
from fishseg import devices, params, store
from fishseg.audit.inventory import build_inventory
from fishseg.backbones import load_backbone
from fishseg.datasets import sample
from fishseg.datasets.sample import anywhere
from fishseg.datasets.sample.anywhere.photographs import PHOTOGRAPHS
from fishseg.decoders.files import load_decoder, save_decoder
from fishseg.errors import FishsegError
from fishseg.evaluation.predicting import predict_cached
from fishseg.evaluation.scoring import score
from fishseg.export.light import write_light
from fishseg.features.extraction import extract
from fishseg.features.shards import FeatureCache
from fishseg.images.decoding import read_image
from fishseg.images.masks import read_mask
from fishseg.plots.galleries import GalleryItem, gallery
from fishseg.prediction.stored import Predicted
from fishseg.tables import MANIFEST_COLUMNS
from fishseg.training import loop
from fishseg.training.familiarity import fit_familiarity
from stages import BACKBONE

log = logging.getLogger(__name__)

DECLARED = Path("experiments/pretrained.yaml")
OUT = Path(fishseg.__file__).parent / "pretrained"
SCENES = ("anywhere", "market")
MASK_VALUES = "not 0"
CARD_NAME = "MODEL_CARD.md"
EXAMPLES = Path("docs/pictures/anywhere.png")
_LIBRARIES = ("numpy", "opencv-python-headless", "scipy")  # what draws the pictures


class DrawnSet(BaseModel):
    """Drawn pictures: the seed, how many of each place of `anywhere`, and of each market species.

    Those of the market are turned copies of one photograph each, with their right masks.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    seed: int
    pictures_per_place: int
    market_per_species: int


class Recipe(BaseModel):
    """What ``experiments/pretrained.yaml`` says; ``overrides`` are ``section.key=value``."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    train: DrawnSet
    val: DrawnSet
    overrides: tuple[str, ...]


def main() -> None:
    """Do the experiment."""
    parser = argparse.ArgumentParser(
        prog="python -m experiments.pretrained", description=(__doc__ or "").partition("\n")[0]
    )
    parser.add_argument("--recipe", type=Path, default=DECLARED, metavar="FILE")
    parser.add_argument("--out", type=Path, default=OUT, metavar="FOLDER")
    parser.add_argument(
        "--decoder",
        type=Path,
        metavar="FOLDER",
        help="train nothing: write what ships for this decoder, trained by the same recipe",
    )
    options = parser.parse_args()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        pretrain(read_recipe(options.recipe), options.out, trained=options.decoder)
    except FishsegError as error:
        raise SystemExit(f"ERROR: {error}") from None


def read_recipe(path: Path) -> Recipe:
    """The recipe of a file."""
    return Recipe.model_validate(yaml.safe_load(path.read_text(encoding="utf-8")))


def pretrain(recipe: Recipe, out: Path, *, trained: Path | None = None) -> None:
    """Draw the pictures that are missing, compute features, train, measure on val, and write."""
    device = devices.select()
    train, val = drawn(recipe.train, "train"), drawn(recipe.val, "val")
    inventory = pd.concat([train, val], ignore_index=True)
    manifest = inventory[MANIFEST_COLUMNS]
    base = yaml.safe_load(params.DEFAULT_PATH.read_text(encoding="utf-8"))
    with tempfile.TemporaryDirectory(prefix="partial-", dir=store.folder("pretrained")) as folder:
        parameters = Path(folder) / "params.yaml"
        tree = changed(base, recipe.overrides, where=DECLARED)
        parameters.write_text(yaml.safe_dump(tree), encoding="utf-8")
        wanted = params.load(params.FeaturesParams, parameters)
        backbone = load_backbone(BACKBONE, wanted.layers, devices.precision(device), device)
        extract(inventory, backbone, wanted, Path(folder) / "features", device)
        cache = FeatureCache(Path(folder) / "features")
        if trained:
            decoder, card = load_decoder(trained, device)
        else:
            wanted_training = params.load(params.TrainParams, parameters)
            result = loop.train(cache, manifest, wanted_training, device)
            decoder, card = result.decoder, result.card
        familiarity = fit_familiarity(decoder, card, cache, manifest, device)
        threshold = params.load(params.EvaluateParams, parameters).threshold
        answers = predict_cached(val, cache, decoder.eval(), card, device, threshold=threshold)
        predictions = list(answers)
    scores = score(predictions, len(val), threshold=threshold).table
    draw_examples(predictions, scores, threshold)
    save_decoder(decoder, card, out)
    if familiarity:
        familiarity.save(out)
    write_light(out, BACKBONE)
    n_parameters = sum(parameter.numel() for parameter in decoder.parameters())
    (out / CARD_NAME).write_text(
        model_card(recipe, scores, len(train), n_parameters, card.backbone["name"]),
        encoding="utf-8",
    )
    log.info("val: mean IoU %.4f; written to %s", scores["iou"].mean(), out)


def draw_examples(predictions: list[Predicted], scores: pd.DataFrame, threshold: float) -> None:
    """Draw the first val picture of each place, whatever came of it."""
    first = scores.groupby("class_name", sort=False).head(1)
    items = [
        GalleryItem(
            image=read_image(Path(predictions[place].sample.image_path)),
            truth=read_mask(
                Path(predictions[place].sample.mask_path),
                (predictions[place].sample.height, predictions[place].sample.width),
                predictions[place].sample.mask_rule,
            ),
            prediction=predictions[place].mask(threshold),
            iou=first.loc[place, "iou"],
            class_name=first.loc[place, "class_name"],
            sample_id=first.loc[place, "sample_id"],
        )
        for place in first.index
    ]
    gallery(items, EXAMPLES, "Drawn pictures of val, the first of each place")


def drawn(pictures: DrawnSet, split: str) -> pd.DataFrame:
    """The inventory of a set of drawn pictures, with the split they belong to."""
    facts = {**pictures.model_dump(), "data": _data_sha256()}
    modules = ["fishseg.datasets.sample"]
    name = store.fingerprint(facts, modules=modules, libraries=_LIBRARIES)
    folder = store.folder("pretrained") / name[:16]
    if not folder.exists():
        market = params.DataParams(
            source="sample",
            scene="market",
            path="",
            seed=pictures.seed,
            photos_per_class=pictures.market_per_species,
            copies_per_photo=1,
            wrong_mask_share=0,
            mask_values=MASK_VALUES,
        )
        with store.write_whole(folder) as new:
            anywhere.draw_set(pictures.seed, pictures.pictures_per_place, new / "anywhere")
            sample.download(market, new / "market")
    tables = [
        build_inventory(folder / scene, max_broken_share=0, mask_values=MASK_VALUES).table
        for scene in SCENES
    ]
    table = pd.concat(tables, ignore_index=True)
    # Both sets number their pictures alike.
    names = table["class_name"] + f"/{split}-" + table["sample_id"].str.rpartition("/")[2]
    return table.assign(sample_id=names, group_id=names, split=split)


def _data_sha256() -> str:
    """A checksum of what pictures are drawn from beside code: scenes, bodies, photographs."""
    digest = hashlib.sha256()
    folder = Path(anywhere.__file__).parent
    for path in sorted([*folder.parent.rglob("*.yaml"), *folder.rglob("*.jpg")]):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


def model_card(
    recipe: Recipe, scores: pd.DataFrame, n_train: int, n_parameters: int, backbone: str
) -> str:
    """What a user of the decoder should know, as Markdown."""
    places = scores.groupby("class_name")[["iou", "boundary_iou"]].mean()
    rows = [
        f"| {place} | {row.iou:.3f} | {row.boundary_iou:.3f} |" for place, row in places.iterrows()
    ]
    means = scores[["iou", "boundary_iou"]].mean()
    photographs = [
        f"- {shown.title}, by {shown.author} ({shown.licence}; {shown.package})"
        for shown in PHOTOGRAPHS.values()
    ]
    return "\n".join(
        [
            "# The decoder that ships",
            "",
            f"It finds the pixels of fish in photographs, from features of `{backbone}`; "
            f"{n_parameters:,} parameters. `fishseg predict` uses it where nobody has trained "
            "another.",
            "",
            "## Data",
            "",
            f"{n_train} pictures drawn by `fishseg.datasets.sample` (seed {recipe.train.seed}), "
            "most of them of its scene `anywhere`: fish of no species in particular, and shrimps, "
            "on steel, plastic, wood, ice, gravel, grass, concrete, cloth and light boxes, in "
            "hands and under water, among rulers, labels, tools, people and leaves. It goes on "
            "from the decoder of the default run, and keeps a share of it: see "
            "`experiments/pretrained.yaml`. **No "
            "photograph of a fish was trained on.** Parts of these photographs are in some "
            "pictures, as grounds and as what is no fish:",
            "",
            *photographs,
            "",
            "## Numbers",
            "",
            f"On {len(scores)} drawn pictures of another seed ({recipe.val.seed}), at their own "
            "resolution, a mean over pictures, of one look (`--no-fine`). Val chose the "
            "temperature, and how certain parts of a mask must be somewhere. With the second look "
            "that it has by default, and on photographs: `make real`, docs/real-pictures.md.",
            "",
            "| place | mean IoU | boundary IoU |",
            "|---|--:|--:|",
            *rows,
            f"| all | **{means.iou:.3f}** | {means.boundary_iou:.3f} |",
            "",
            "## Limits",
            "",
            "- It has seen drawings only: measure it on some of your own pictures before you rely "
            "on it, and train on them where it is not good enough.",
            "- It tells fish from what is not fish; it neither counts nor names them. Feelers and "
            "antennae are left out of the masks it learned from.",
            "- It was not made to decide alone: look at pictures of low confidence.",
            "",
            "## Licences",
            "",
            "fishseg and these weights: MIT. The backbone's weights are fetched where it is used "
            "and have a licence of their own.",
            "",
            "`make pretrained` makes it anew.",
            "",
        ]
    )


if __name__ == "__main__":
    main()
