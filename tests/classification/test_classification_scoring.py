from __future__ import annotations

import numpy as np
import pytest
import sklearn.metrics

from fishseg.classification.scoring import Answers

CLASSES = ["a", "b", "c"]


def answers(seed: int = 0, n: int = 60) -> Answers:
    rng = np.random.default_rng(seed)
    probabilities = rng.dirichlet([0.5, 0.7, 0.9], n)
    names = np.array([CLASSES[rng.choice(3, p=row)] for row in probabilities])
    groups = np.array([f"photo {number // 3}" for number in range(n)])
    return Answers(classes=CLASSES, names=names, groups=groups, probabilities=probabilities)


def test_scores_agree_with_scikit_learn() -> None:
    given = answers()
    found = given.summarise(samples=100, seed=0)
    best = np.array(CLASSES)[given.probabilities.argmax(axis=1)]
    metrics = sklearn.metrics
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(given.names, best), abs=1e-6)
    balanced = metrics.balanced_accuracy_score(given.names, best)
    assert found["macro_recall"] == pytest.approx(balanced, abs=1e-6)
    loss = metrics.log_loss(given.names, given.probabilities, labels=CLASSES)
    assert found["log_loss"] == pytest.approx(loss, abs=1e-6)
    for name in ("accuracy", "macro_recall", "log_loss"):
        assert found[f"{name}_ci_low"] < found[name] < found[f"{name}_ci_high"]
    assert (found["n_images"], found["n_groups"]) == (60, 20)
    table = given.per_class().set_index("class_name")
    recalls = metrics.recall_score(given.names, best, average=None)
    precisions = metrics.precision_score(given.names, best, average=None)
    assert table["recall"].to_numpy() == pytest.approx(recalls)
    assert table["precision"].to_numpy() == pytest.approx(precisions)


def test_calibration_by_hand() -> None:
    """Four times sure to 0.9, three times right: 0.15 too sure."""
    given = Answers(
        classes=["a", "b"],
        names=np.array(["a", "a", "a", "b"]),
        groups=np.array(list("1234")),
        probabilities=np.array([[0.9, 0.1]] * 4),
    )
    assert given.summarise(samples=10, seed=0)["ece"] == pytest.approx(0.15)


def test_where_no_fish_was_found_nothing_is_right() -> None:
    given = Answers(
        classes=CLASSES,
        names=np.array(["a", "a"]),
        groups=np.array(["1", "2"]),
        probabilities=np.array([[1 / 3, 1 / 3, 1 / 3], [0.8, 0.1, 0.1]]),
    )
    assert given.summarise(samples=10, seed=0)["accuracy"] == 0.5
    assert list(given.per_class()["taken_for"]) == ["", "", ""]


def test_what_a_species_is_mistaken_for() -> None:
    given = Answers(
        classes=CLASSES,
        names=np.array(["a", "a", "a"]),
        groups=np.array(["1", "2", "3"]),
        probabilities=np.array([[0.8, 0.1, 0.1], [0.1, 0.1, 0.8], [0.1, 0.2, 0.7]]),
    )
    row = given.per_class().iloc[0]
    assert (row["recall"], row["precision"], row["taken_for"]) == (pytest.approx(1 / 3), 1, "c")


def test_no_image_no_number() -> None:
    empty = np.array([], str)
    given = Answers(classes=CLASSES, names=empty, groups=empty, probabilities=np.empty((0, 3)))
    assert given.summarise(samples=10, seed=0) == {"n_images": 0}
