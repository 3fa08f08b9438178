"""What the stage ``classify`` writes: the classifier, its numbers, and the tables behind them."""

from __future__ import annotations

import dataclasses
import logging
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd

from fishseg.classification import fitting, unknown
from fishseg.classification.scoring import PER_CLASS, Answers
from fishseg.prediction.species import SpeciesClassifier
from fishseg.store import make_folder
from fishseg.tables import UNSEEN_SPLITS, write_csv

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from numpy.typing import NDArray

    from fishseg.params import ClassifyParams
    from fishseg.prediction.pooled import Pooled
    from fishseg.prediction.species import Distance, Regression

log = logging.getLogger(__name__)

MASKS = ("given", "predicted")
# A species that is cross-validated must be on both sides.
MIN_PHOTOGRAPHS = 2
NO_MASK = "no fish found"
SUMMARY_KEYS = ("accuracy", "macro_recall")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Classified:
    """What has been learned and measured.

    Attributes:
        classifier: None where there is nothing to tell apart.
        metrics: what ``metrics/classify.json`` says.
        confusion: a row an image of val: ``actual``, ``predicted``, from predicted masks.
        per_class: what `Answers.per_class` says of each split, with its ``split``.
    """

    classifier: SpeciesClassifier | None
    metrics: dict[str, Any]
    confusion: pd.DataFrame
    per_class: pd.DataFrame

    def write(self, classifier: Path, tables: Path) -> None:
        """Write the classifier, and ``confusion.csv`` and ``per_class.csv``.

        Raises:
            StorageError: the disk is full, or a folder cannot be written.
        """
        make_folder(classifier)  # empty where there is none
        make_folder(tables)
        if self.classifier is not None:
            self.classifier.save(classifier)
        write_csv(self.confusion, tables / "confusion.csv")
        write_csv(self.per_class.round(6), tables / "per_class.csv")


def classify(pooled: Pooled, params: ClassifyParams) -> Classified:
    """Learn the species of the train split, and measure that on the others.

    It learns from given masks, and is measured on given and on predicted ones. A class of which
    train has one photograph is left out, and a warning says so.
    """
    data = Images.of(pooled)
    photographs = data.part("train").photographs()
    left_out = {name: n for name, n in photographs.items() if n < MIN_PHOTOGRAPHS}
    for name in left_out:
        log.warning(
            "class %s has one photograph in train, and a species is learned from %d or more: it is "
            "left out",
            name,
            MIN_PHOTOGRAPHS,
        )
    classes = sorted(photographs.keys() - left_out.keys())
    metrics: dict[str, Any] = {"classes": classes, "left_out": left_out}
    if len(classes) < 2:
        found = f"one class, {classes[0]}" if classes else "no class of several photographs"
        reason = f"train has {found}: there are no species to tell apart"
        log.warning("%s; no classifier is written", reason)
        return Classified(
            classifier=None,
            metrics={"classifier": False, "reason": reason, **metrics},
            confusion=pd.DataFrame(columns=["actual", "predicted"]),
            per_class=pd.DataFrame(columns=["split", *PER_CLASS]),
        )
    known = data.rows(np.isin(data.names, classes))
    train = known.part("train")
    folds = fitting.deal_folds(train.names, train.groups, params.folds, params.seed)
    losses = fitting.choose_c(train.given, train.names, classes, params.c_values, folds)
    c = min(losses, key=losses.__getitem__)
    regression = fitting.fit_regression(train.given, train.names, classes, c)
    answers = {
        split: {kind: _answers(known.part(split), kind, regression, classes) for kind in MASKS}
        for split in UNSEEN_SPLITS
    }
    draw = {"samples": params.bootstrap_samples, "seed": params.seed}
    distance, threshold, strangers = _learn_distance(data, train, folds, draw)
    metrics = {
        "classifier": True,
        **metrics,
        "n_train": len(train.names),
        "c": c,
        "c_log_loss": {f"{value:g}": round(loss, 6) for value, loss in losses.items()},
        **{
            split: {kind: one.summarise(**draw) for kind, one in by_mask.items()}
            for split, by_mask in answers.items()
        },
        "cross_validation": _compare_splits(known, classes, c, params),
        "unknown": strangers,
    }
    classifier = SpeciesClassifier(
        classes=tuple(classes),
        features=pooled.features,
        regression=regression,
        distance=distance,
        threshold=threshold,
        trained_on={name: int((train.names == name).sum()) for name in classes},
    )
    tables = [by["predicted"].per_class().assign(split=s) for s, by in answers.items()]
    return Classified(
        classifier=classifier,
        metrics=metrics,
        confusion=_confusion(answers["val"]["predicted"]),
        per_class=pd.concat(tables)[["split", *PER_CLASS]],
    )


def headline(metrics: Mapping[str, Any]) -> dict[str, Any]:
    """What ``metrics/classify_summary.json`` says: of val and test, by predicted masks.

    Args:
        metrics: what ``metrics/classify.json`` says; nothing comes of one without a classifier.
    """
    return {
        split: {key: metrics[split]["predicted"][key] for key in SUMMARY_KEYS}
        for split in UNSEEN_SPLITS
        if metrics.get(split, {}).get("predicted", {}).get("n_images")
    }


@dataclasses.dataclass(frozen=True, kw_only=True)
class Images:
    """Images of one fish each, whose given mask holds something, column by column.

    Attributes:
        given: the features under the given mask ``(N, C)``.
        predicted: those under the predicted one; not a number where it is empty.
        names: the class ``(N,)``.
        groups: the photograph ``(N,)``.
        split: ``(N,)``.
    """

    given: NDArray[np.float32]
    predicted: NDArray[np.float32]
    names: NDArray[np.str_]
    groups: NDArray[np.str_]
    split: NDArray[np.str_]

    @classmethod
    def of(cls, pooled: Pooled) -> Images:
        """Those of pooled features."""
        whole = cls(
            given=pooled.given,
            predicted=pooled.predicted,
            names=pooled.samples["class_name"].to_numpy(dtype=str),
            groups=pooled.samples["group_id"].to_numpy(dtype=str),
            split=pooled.samples["split"].to_numpy(dtype=str),
        )
        return whole.rows(_filled(pooled.given))

    def rows(self, rows: NDArray[Any]) -> Images:
        """Some of them."""
        return Images(**{name: values[rows] for name, values in vars(self).items()})

    def part(self, split: str) -> Images:
        """Those of a split."""
        return self.rows(np.isin(self.split, [split]))

    def photographs(self) -> dict[str, int]:
        """How many photographs there are of each class."""
        pairs = pd.DataFrame({"name": self.names, "group": self.groups}).drop_duplicates()
        return {str(name): int(n) for name, n in pairs["name"].value_counts().sort_index().items()}


def _filled(pooled: NDArray[np.floating]) -> NDArray[np.bool_]:
    """Which features ``(N, C)`` lie under a mask that is not empty, ``(N,)``."""
    return np.asarray(np.isfinite(pooled).all(axis=1))


def _answers(images: Images, kind: str, regression: Regression, classes: Sequence[str]) -> Answers:
    return _answered(images, regression.probabilities(vars(images)[kind]), classes)


def _answered(
    images: Images, probabilities: NDArray[np.float64], classes: Sequence[str]
) -> Answers:
    # Where no fish is found there is nothing to look at: any species is as likely as another.
    filled = np.where(_filled(probabilities)[:, None], probabilities, 1 / len(classes))
    return Answers(classes=classes, names=images.names, groups=images.groups, probabilities=filled)


def _compare_splits(
    known: Images, classes: Sequence[str], c: float, params: ClassifyParams
) -> dict[str, Any]:
    """All images, each by a regression that has not seen its photograph, or only not its copy.

    The decoder has learned from the masks of train, so that those it predicts there are better than
    elsewhere.
    """
    compared: dict[str, Any] = {"folds": params.folds}
    for strategy, groups in (("grouped", known.groups), ("random", None)):
        folds = fitting.deal_folds(known.names, groups, params.folds, params.seed)
        compared[strategy] = {
            kind: _answered(known, probabilities, classes).summarise(
                samples=params.bootstrap_samples, seed=params.seed
            )
            for kind, probabilities in fitting.predict_folds(
                known.given,
                known.names,
                classes,
                c,
                folds,
                tried={kind: vars(known)[kind] for kind in MASKS},
            ).items()
        }
    return compared


def _learn_distance(
    data: Images, train: Images, folds: fitting.Folds, draw: Mapping[str, int]
) -> tuple[Distance | None, float | None, dict[str, Any]]:
    """The distance, its threshold, and how well both tell what was never learned."""
    if len(np.unique(train.names)) < unknown.MIN_CLASSES:
        reason = f"with fewer than {unknown.MIN_CLASSES} species nothing is called unknown"
        return None, None, {"reason": reason}
    within = unknown.leave_out_within(train.given, train.names, train.groups, folds)
    threshold = unknown.fit_threshold(within)
    distance = fitting.fit_distance(train.given, train.names)
    seen = data.rows(_filled(data.predicted))
    found = {split: seen.part(split) for split in UNSEEN_SPLITS}
    known = {split: np.isin(images.names, train.names) for split, images in found.items()}
    # A species that train does not have would count as one that was learned.
    learned = [images.rows(known[split]) for split, images in found.items()]
    tried = [(one.predicted, one.names, one.groups) for one in learned]
    trials = unknown.leave_out(train.given, train.names, tried)
    summary: dict[str, Any] = {
        "threshold": threshold,
        "train": unknown.summarise(within, threshold, **draw),
    }
    for (split, images), theirs in zip(found.items(), trials, strict=True):
        far = distance.distances(images.predicted) > threshold
        summary[split] = {
            **unknown.summarise(theirs, threshold, **draw),
            # By what is kept, which has learned every species of train.
            "n_learned": int(known[split].sum()),
            "learned_rejected": _share(far[known[split]]),
            "n_never_learned": int((~known[split]).sum()),
            "never_learned_accepted": _share(~far[~known[split]]),
        }
    return distance, threshold, summary


def _share(which: NDArray[np.bool_]) -> float | None:
    return round(float(which.mean()), 6) if len(which) else None


def _confusion(answers: Answers) -> pd.DataFrame:
    """A row an image, as DVC's templates of confusion matrices count them."""
    taken = np.array([*answers.classes, NO_MASK])[answers.best]
    return pd.DataFrame({"actual": answers.names, "predicted": taken})
