"""What a user of an exported model should know, as Markdown, from the tracked numbers.

After Mitchell et al., "Model Cards for Model Reporting", FAT* 2019.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fishseg import params
from fishseg.errors import ModelError, ParameterError
from fishseg.prediction.onnx_model import WHOLE, ModelFacts

if TYPE_CHECKING:
    from fishseg.export.onnx_file import Exported

log = logging.getLogger(__name__)

DATA = {
    "sample": (
        "The sample set of fishseg: photographs of fish drawn by a program, in mirrored and "
        "rotated copies. Use them as you like.",
        "**Trained on drawn pictures.** The numbers show that the pipeline works, not how well "
        "the model does on photographs. Measure it on some of your own before you rely on it.",
    ),
    "kaggle": (
        "Ulucan, Karakaya and Turkan, *A Large-Scale Dataset for Fish Segmentation and "
        "Classification*, ASYU 2020 (Kaggle: crowww/a-large-scale-fish-dataset). By second-hand "
        "report CC BY 4.0; what counts is the license.txt in the archive.",
        "Trained on dead fish on a market's boards, nine species of the Aegean, one photographer. "
        "Living fish, other species, other grounds and several fish in one picture were not "
        "measured.",
    ),
    "local": (
        "Pictures and masks of a local folder; their licence is their owner's to say.",
        "Trained on one collection of pictures. Other cameras, grounds and species were not "
        "measured.",
    ),
}
HEADLINES = (
    ("mean IoU", "mean_iou"),
    ("IoU of all pixels", "dataset_iou"),
    ("Dice", "dice"),
    ("boundary IoU", "boundary_iou"),
    ("worst image", "worst_iou"),
    ("mean IoU, raw masks", "raw_mask_iou"),
)


def model_card(exported: Exported, root: Path) -> str:
    """The model card of an exported model.

    Args:
        exported: the model.
        root: the repository whose ``params.yaml``, ``metrics/`` and ``data/backbone/source.json``
            tell of the run that trained it. What is missing there, or tells of other parameters,
            is left out, and the card says so.

    Raises:
        ModelError: ``metrics/evaluate.json`` tells of another decoder.
    """
    check_run(root, exported.facts.card)
    run = _Run(root)
    described = run.describes(exported.facts)
    if not described and (root / params.DEFAULT_PATH).exists():
        log.warning(
            "params.yaml in %s does not describe this model: its numbers are left out", root
        )
    return "\n".join(
        [
            *_head(exported),
            *_use(exported),
            *(_data(run) if described else ["## Data and numbers", "", "Not known here.", ""]),
            *(_numbers(run) if described else []),
            *_limits(run if described else None, exported.facts),
            *_licences(run, exported.facts, data_known=described),
            *_agreement(exported),
        ]
    )


MEASURED = ("evaluate", "robustness")


def check_run(root: Path, card: Mapping[str, Any]) -> None:
    """Refuse numbers that another decoder was given than that of a card.

    Raises:
        ModelError: the decoder that was measured is another one.
    """
    weights = card.get("weights_sha256")
    run = _Run(root)
    for name in MEASURED:
        measured = run.measured(name).get("weights_sha256")
        if measured and weights and measured != weights:
            raise ModelError(
                f"these numbers belong to another decoder, of sha256 {measured[:12]}",
                where=root / f"metrics/{name}.json",
                expected=f"those of the decoder that is exported, of sha256 {weights[:12]}",
                remedy="dvc repro measures the decoder of data/decoder; or name the folder of the "
                "run that trained this one, or an empty folder for a card without numbers: "
                "--run FOLDER",
            )


class _Run:
    """The small files that a run of the pipeline leaves; an empty dict stands for a missing one."""

    def __init__(self, root: Path) -> None:
        self.root = root
        names = ("evaluate", "train", "audit", "split", "robustness")
        self.metrics = {name: _read_json(root / f"metrics/{name}.json") for name in names}
        self.backbone = _read_json(root / "data/backbone/source.json")

    def describes(self, facts: ModelFacts) -> bool:
        """Whether the parameters are those that the model was made with and is used with."""
        card = facts.card
        try:
            features = self.params(params.FeaturesParams)
            train = self.params(params.TrainParams)
            evaluate = self.params(params.EvaluateParams)
        except ParameterError:
            return False
        measured = [self.measured(name) for name in MEASURED]
        return (
            train.decoder == card["decoder"]
            and evaluate.threshold == facts.threshold
            # What was measured may be older than the parameters.
            and all(one.get("threshold", facts.threshold) == facts.threshold for one in measured)
            and features.fit == facts.fit
            and features.image_size == facts.image_size
            and features.megapixels == facts.megapixels
            and list(features.layers) == list(card["layers"])
            and self.backbone.get("name") == card["backbone"]["name"]
        )

    def measured(self, name: str) -> dict[str, Any]:
        """What a file of numbers says of the decoder that was measured; empty where nothing."""
        decoder: dict[str, Any] = self.metrics[name].get("decoder", {})
        return decoder

    def params(self, section: type[params.Section]) -> params.Section:
        return params.load(section, self.root / params.DEFAULT_PATH)


def _read_json(path: Path) -> dict[str, Any]:
    try:
        tree: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return tree


def _head(exported: Exported) -> list[str]:
    card = exported.facts.card
    whole = exported.facts.part == WHOLE
    what = "Finds the pixels of fish in a photograph" if whole else "The decoder alone: finds fish"
    return [
        f"# Fish segmentation: {card['decoder']} on {card['backbone']['name']}",
        "",
        f"{what}. A frozen vision transformer ({card['backbone']['name']}, weights "
        f"`{card['backbone']['weights_sha256'][:12]}`, layers {list(card['layers'])}) gives patch "
        f"features, the decoder `{card['decoder']}` turns them into a probability for each pixel.",
        "",
        *_provenance(card),
    ]


def _provenance(card: Mapping[str, Any]) -> Iterator[str]:
    """Which decoder and which backbone it is, to the bit."""
    if weights := card.get("weights_sha256"):
        trained = f", trained by fishseg {card['version']}" if card.get("version") else ""
        yield "| | sha256 |"
        yield "|---|---|"
        yield f"| decoder{trained} | `{weights}` |"
        yield f"| backbone | `{card['backbone']['weights_sha256']}` |"
        yield ""


def _use(exported: Exported) -> list[str]:
    facts = exported.facts
    multiple = facts.patch_multiple
    if facts.part == WHOLE:
        inputs = [f"| `image` | uint8 | (B, H, W, 3) | RGB; H and W multiples of {multiple} |"]
        command = ["```console", "fishseg predict photo.jpg --model model.onnx --out fish", "```"]
        note = (
            "The file holds all of this: a plain installation of fishseg suffices, without torch; "
            "so does any ONNX runtime."
        )
    else:
        inputs = [
            "| `features` | float32 | (B, C, h, w) | of the backbone above, rounded to float16 |",
            f"| `pixels` | uint8 | (B, 3, H, W) | RGB; H and W multiples of {multiple} |",
        ]
        command = []
        note = "The backbone is not part of this file."
    others = {
        "interior": "| `interior` | float32 | (B, H, W) | 0 to 1; low where two fish touch |",
        "features": "| `features` | float32 | (B, C, h, w) | by which species are named |",
    }
    given = [output.name for output in exported.graph.graph.output]
    size = (
        f"{facts.megapixels:g} megapixels in proportion, up to 4 to 1"
        if facts.fit == "aspect"
        else f"a square of {facts.image_size} px"
    )
    certainty = (
        [
            f"Not inside: connected parts (over corners, too) of what is {facts.threshold:g} or "
            f"more, at the working size, are no fish unless one of their pixels reaches "
            f"{facts.certainty:g}. `fishseg` multiplies their probability by {facts.threshold:g}."
        ]
        if facts.certainty
        else []
    )
    return [
        "## Use",
        "",
        *command,
        *([""] if command else []),
        note,
        "",
        "| | type | shape | |",
        "|---|---|---|---|",
        *inputs,
        "| `probability` | float32 | (B, H, W) | 0 to 1; fish from "
        f"{facts.threshold:g} on (normalisation and temperature are inside) |",
        *[line for name, line in others.items() if name in given],
        "",
        f"Working size: {size}, both sides rounded to {multiple}. "
        "Images are resized to it (bilinear, antialiased), probabilities back.",
        *certainty,
        "",
    ]


def _data(run: _Run) -> list[str]:
    source = run.params(params.DataParams).source
    split = run.params(params.SplitParams)
    counts = run.metrics["split"]
    masks = run.metrics["audit"].get("masks", {})
    lines = ["## Data", "", DATA[source][0], ""]
    if counts:
        sizes = ", ".join(
            f"{name} {counts[name]['n_images']} images of {counts[name]['n_groups']} photographs"
            for name in ("train", "val", "test")
            if counts.get(name, {}).get("n_images")
        )
        leak = (
            "whole photographs at a time"
            if split.strategy == "grouped"
            else "at random, so that copies of one photograph stand on both sides (leaky)"
        )
        lines += [f"Split {leak}: {sizes}.", ""]
    if masks:
        lines += [
            f"Masks after the audit: {masks.get('ok', 0)} kept raw, "
            f"{masks.get('repaired', 0)} repaired, {masks.get('rejected', 0)} left out, "
            f"{masks.get('unverified', 0)} that could not be checked.",
            "",
        ]
    return lines


def _numbers(run: _Run) -> list[str]:
    splits = {
        name: scores
        for name in ("val", "test")
        if (scores := run.metrics["evaluate"].get(name, {})).get("n_images")
    }
    if not splits:
        return ["## Numbers", "", "Not measured.", ""]
    rows = [
        f"| {title} | " + " | ".join(_cell(scores, key) for scores in splits.values()) + " |"
        for title, key in HEADLINES
        if any(key in scores for scores in splits.values())
    ]
    images = " | ".join(f"{one['n_images']} ({one['n_groups']})" for one in splits.values())
    lines = [
        "## Numbers",
        "",
        "At the images' own resolution; intervals: 95%, bootstrap over photographs. The epoch, "
        "the temperature and what is asked of parts of a mask were chosen on val, nothing on test.",
        "",
        f"| | {' | '.join(splits)} |",
        f"|---|{'---|' * len(splits)}",
        f"| images (photographs) | {images} |",
        *rows,
        *_calibration_row(splits),
        "",
    ]
    classes = [
        f"| {name.replace('_', ' ')} | {scores['mean_iou']:.3f} | {scores['n_images']} |"
        for name, scores in sorted(next(iter(splits.values())).get("per_class", {}).items())
    ]
    if classes:
        lines += [
            f"| class ({next(iter(splits))}) | mean IoU | images |",
            "|---|---|---|",
            *classes,
            "",
        ]
    return lines


def _cell(scores: dict[str, Any], key: str) -> str:
    if key not in scores:
        return ""
    if key == "mean_iou" and "iou_ci_low" in scores:
        interval = f"{scores['iou_ci_low']:.3f}, {scores['iou_ci_high']:.3f}"
        return f"**{scores[key]:.3f}** [{interval}]"
    return f"{scores[key]:.3f}"


def _calibration_row(splits: dict[str, dict[str, Any]]) -> Iterator[str]:
    errors = [scores.get("calibration", {}).get("ece") for scores in splits.values()]
    if None not in errors:
        cells = " | ".join(f"{error:.4f}" for error in errors)
        yield f"| expected calibration error of a pixel | {cells} |"


def _limits(run: _Run | None, facts: ModelFacts) -> list[str]:
    lines = ["## Limits", ""]
    if run is not None:
        lines.append(f"- {DATA[run.params(params.DataParams).source][1]}")
        if run.params(params.SplitParams).strategy == "random":
            lines.append("- The split was leaky: expect less on new photographs.")
        lines += _robustness(run.metrics["robustness"])
    if facts.part == WHOLE:
        lines.append(
            "- It looks once. `fishseg predict --model FILE --fine` looks closer at each fish, as "
            "the decoder that ships does by itself: masks then differ a little."
        )
    return [
        *lines,
        "- It was not made to decide alone: look at pictures of low confidence.",
        "",
    ]


def _robustness(metrics: dict[str, Any]) -> Iterator[str]:
    # Without its interval the number says nothing, and of one photograph there is none.
    if "retained_ci_low" not in metrics or metrics["n_images"] < 2:
        return

    def share(one: dict[str, Any], name: str, prefix: str) -> str:
        return f"{one[name]:.0%} [{one[f'{prefix}_low']:.0%}, {one[f'{prefix}_high']:.0%}]"

    kinds = {
        name.replace("_", " "): one
        for name, one in metrics.items()
        if isinstance(one, dict) and "iou_retained" in one
    }
    worst = sorted(kinds, key=lambda name: float(kinds[name]["iou_retained"]))[:3]
    named = ", ".join(f"{name} {share(kinds[name], 'iou_retained', 'ci')}" for name in worst)
    kept = share(metrics, "mean_iou_retained", "retained_ci")
    yield (
        f"- Of {metrics['n_images']} val photographs, spoiled on purpose {metrics['n_trials']} "
        f"times, it keeps {kept} of the IoU (95%, over photographs); the least with {named}."
    )


def _licences(run: _Run, facts: ModelFacts, *, data_known: bool) -> list[str]:
    matches = run.backbone.get("name") == facts.card["backbone"]["name"]
    licence = "not known here; see where they came from."
    if matches and run.backbone.get("licence"):
        licence = run.backbone["licence"]
        if source := run.backbone.get("source"):
            revision = run.backbone.get("revision") or "of no revision"
            licence = f"{licence} From {source} ({revision})."
    lines = [
        "## Licences",
        "",
        f"- Backbone weights: {licence}",
    ]
    if data_known:
        lines.append(f"- Data: {DATA[run.params(params.DataParams).source][0]}")
    return [*lines, "- fishseg and the decoder's weights: MIT.", ""]


def _agreement(exported: Exported) -> list[str]:
    return [
        "## Export",
        "",
        f"ONNX opset {exported.opset}. Compared with the same model in torch, as it predicts "
        "from files:",
        "",
        *[f"- {line}" for line in agreement_lines(exported)],
        "",
    ]


def agreement_lines(exported: Exported) -> Iterator[str]:
    """How far the exported model is from the one it came from, a line a precision."""
    for name, found in (("float32", exported.agreement), ("bfloat16", exported.in_bf16)):
        if found is not None:
            species = found.max_species_difference
            yield (
                f"computing in {name}, on {found.n_pictures} pictures: probabilities differ by "
                f"{found.max_difference:.1e} at most, masks have an IoU of at least "
                f"{found.min_iou:.5f}"
                + (f", of a species by {species:.1e} at most." if exported.classifier else ".")
            )
