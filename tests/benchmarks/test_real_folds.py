from __future__ import annotations

import re
import shlex
from pathlib import Path

import pandas as pd
import yaml

from benchmarks.real_folds import RECIPES, compare_groups, row
from experiments.study import changed

REPOSITORY = Path(__file__).parents[2]


def test_every_recipe_is_one_of_parameters_that_exist() -> None:
    base = yaml.safe_load((REPOSITORY / "params.yaml").read_text())
    for overrides in RECIPES.values():
        for section, values in changed(base, overrides).items():
            assert values.keys() == base[section].keys()


def test_the_starting_project_s_recipe_is_that_of_make_baseline() -> None:
    makefile = (REPOSITORY / "Makefile").read_text().replace("\\\n", " ")
    (declared,) = re.findall(r"^BASELINE := (.*)$", makefile, flags=re.MULTILINE)
    theirs = [word for word in shlex.split(declared) if word.startswith(("features.", "train."))]
    assert sorted(RECIPES["starting project"]) == sorted(theirs)


def test_groups_are_compared_with_photographs() -> None:
    photographs = pd.Series(["a", "a", "b", "b", "c", "d"])
    found = pd.Series(["1", "2", "3", "3", "3", "4"])
    # a is split; 3 joins b and c.
    said = compare_groups(found, photographs)
    assert "6 pictures, 4 photographs, 4 groups" in said
    assert "1 photographs split, 1 groups of more than one photograph" in said
    assert "ARI 1.0000, 0 photographs split, 0 groups" in compare_groups(photographs, photographs)


def test_a_row_pools_the_pictures_of_all_folds(workspace: Path) -> None:
    (workspace / "params.yaml").write_text((REPOSITORY / "params.yaml").read_text())
    scores = pd.DataFrame(
        {"group_id": ["a", "a", "b"], "iou": [0.9, 0.9, 0.6], "boundary_iou": [0.5, 0.5, 0.5]}
    )
    said = row("defaults", "grouped", scores)
    assert said == (
        "| defaults | grouped | 3 (2) | **0.800** [0.600, 0.900] | **0.500** [0.500, 0.500] |"
    )
