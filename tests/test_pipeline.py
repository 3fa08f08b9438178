"""The pipeline's description against the code: what a stage imports, it must depend on."""

from __future__ import annotations

import ast
import functools
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from fishseg import params
from fishseg.datasets.sources import SOURCES

REPOSITORY = Path(__file__).parents[1]
STAGES: dict[str, Any] = yaml.safe_load((REPOSITORY / "dvc.yaml").read_text())["stages"]

# Modules that all stages run through, and that decide how one fails, logs or where it runs.
# Parameters themselves are listed by value. The number of threads in devices.py and the form of CSV
# files in tables.py do decide bytes: CONTRIBUTING.md says what to type after a change of those,
# since any other edit of these files would run everything anew.
WITHOUT_INFLUENCE = {
    "fishseg/__init__.py",
    "fishseg/cluster.py",
    "fishseg/devices.py",
    "fishseg/errors.py",
    "fishseg/lazy.py",
    "fishseg/parallel.py",
    "fishseg/params.py",
    "fishseg/store.py",
    "fishseg/tables.py",
    "stages/__init__.py",
}

# Imports go down this list only (a module may import those behind it).
LAYERS = [
    ["__main__"],
    ["cli"],
    ["app"],
    ["api"],
    ["report"],
    ["export"],
    ["classification", "evaluation", "robustness", "plots"],
    ["measurement"],
    ["prediction"],
    ["training"],
    ["metrics"],
    ["decoders"],
    ["features"],
    ["backbones"],
    ["splits", "audit"],
    ["datasets"],
    ["images"],
    ["tables"],
    ["cluster", "devices", "parallel", "store", "params"],
    ["errors", "lazy"],
]


def module_file(name: str) -> Path | None:
    """The file of a dotted module of this project, if it is one."""
    base = REPOSITORY / Path(*name.split("."))
    for candidate in (base.with_suffix(".py"), base / "__init__.py"):
        if candidate.exists():
            return candidate
    return None


@functools.cache
def imports(file: Path, *, at_run_time: bool = True) -> frozenset[Path]:
    """Files of this project that a file imports; without those for the type checker alone."""
    tree = ast.parse(file.read_text())
    # A package's names are imported when they are asked for; for the type checker they stand there.
    is_lazy = file.name == "__init__.py" and file.parent.name != "fishseg"
    if at_run_time and not is_lazy:
        for node in ast.walk(tree):
            if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
                node.body = []
    names: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            names |= {f"{node.module}.{alias.name}" for alias in node.names}
            # Naming a submodule runs its package's __init__ too.
            names.add(node.module)
    ours = {name for name in names if name.split(".")[0] in ("fishseg", "stages")}
    return frozenset(found for name in ours if (found := module_file(name)) is not None)


def closure(file: Path) -> set[str]:
    """Everything of this project that a file runs through, as paths from the root."""
    seen: set[Path] = set()
    pending = [file]
    while pending:
        current = pending.pop()
        if current not in seen:
            seen.add(current)
            pending.extend(imports(current))
    return {path.relative_to(REPOSITORY).as_posix() for path in seen}


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_depends_on_the_code_it_runs_through(stage: str) -> None:
    listed = STAGES[stage]["deps"]

    def is_listed(module: str) -> bool:
        return any(module == dep or module.startswith(f"{dep}/") for dep in listed)

    used = closure(REPOSITORY / "stages" / f"{stage}.py") - WITHOUT_INFLUENCE
    empty = {path for path in used if path.endswith("__init__.py") and _only_says(path)}
    assert sorted(path for path in used - empty if not is_listed(path)) == []
    code = [dep for dep in listed if dep.startswith(("fishseg/", "stages/"))]
    idle = [dep for dep in code if not any(p == dep or p.startswith(f"{dep}/") for p in used)]
    assert idle == [], "listed, but the stage does not run through it"


def _only_says(path: str) -> bool:
    return all(
        isinstance(node, ast.Expr) for node in ast.parse((REPOSITORY / path).read_text()).body
    )


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_lists_every_leaf_of_the_parameters_it_loads(stage: str) -> None:
    source = (REPOSITORY / "stages" / f"{stage}.py").read_text()
    sections = {section.__name__: section for section in params.SECTIONS}
    expected = [
        f"{sections[section].section}.{name}"
        for section, leaf in re.findall(r"params\.(\w+Params)\)(?:\.(\w+))?", source)
        for name in ([leaf] if leaf else sections[section].model_fields)
    ]
    if "params.load_all()" in source:
        expected = [section.section for section in params.SECTIONS]
    assert sorted(STAGES[stage].get("params", [])) == sorted(expected)


def paths(entries: list[Any]) -> set[str]:
    """The paths of a stage's outputs, with or without options."""
    return {path for entry in entries for path in ([entry] if isinstance(entry, str) else entry)}


def rerun_by(parameter: str) -> set[str]:
    """The stages that `dvc repro` may run again when a parameter changes."""
    found = {name for name, stage in STAGES.items() if parameter in stage.get("params", [])}
    while True:
        changed = set().union(
            *(paths(STAGES[name].get(kind, [])) for name in found for kind in PRODUCTS)
        )
        after = found | {name for name, stage in STAGES.items() if reads(stage, changed)}
        if after == found:
            return found
        found = after


def test_the_description_stays_readable() -> None:
    assert sum(len(stage["deps"]) for stage in STAGES.values()) <= 60
    assert len(STAGES["report"]["deps"]) <= 10


PRODUCTS = ("outs", "metrics", "plots")


def reads(stage: dict[str, Any], changed: set[str]) -> bool:
    """Whether a stage depends on one of some paths, on a part of one or on a folder around it."""
    return any(
        dep == path or dep.startswith(f"{path}/") or path.startswith(f"{dep}/")
        for dep in stage["deps"]
        for path in changed
    )


def test_where_a_mask_is_cut_trains_nothing() -> None:
    assert rerun_by("evaluate.threshold") == {
        "evaluate",
        "classify",
        "robustness",
        "report",
    }
    assert {"train", "evaluate"} <= rerun_by("train.epochs")
    assert rerun_by("data.seed") == set(STAGES) - {"backbone"}


@pytest.mark.parametrize("stage", sorted(STAGES))
def test_a_stage_s_script_is_thin(stage: str) -> None:
    text = (REPOSITORY / "stages" / f"{stage}.py").read_text()
    assert len(text.splitlines()) <= 40
    assert STAGES[stage]["cmd"] == f"python -m stages.{stage}"
    assert not any(isinstance(node, ast.For | ast.While) for node in ast.walk(ast.parse(text)))


def test_every_tracked_metric_and_plot_stays_in_git() -> None:
    for stage in STAGES.values():
        for kind in ("metrics", "plots"):
            for entry in stage.get(kind, []):
                ((path, options),) = entry.items()
                assert path.startswith(("metrics/", "plots/"))
                assert options["cache"] is False


def layer(file: Path) -> int:
    top = file.relative_to(REPOSITORY / "fishseg").parts[0].removesuffix(".py")
    return next(number for number, names in enumerate(LAYERS) if top in names)


def modules() -> list[Path]:
    return sorted(
        path
        for path in (REPOSITORY / "fishseg").rglob("*.py")
        if path.parent.name != "fishseg" or path.name != "__init__.py"
    )


@pytest.mark.parametrize("file", modules(), ids=lambda path: path.stem)
def test_imports_go_down_only(file: Path) -> None:
    for imported in imports(file, at_run_time=False):
        if imported == REPOSITORY / "fishseg" / "__init__.py":
            continue
        assert layer(imported) >= layer(file), f"{file} imports {imported}"


def test_sources_know_nothing_of_each_other() -> None:
    for name in SOURCES:
        others = set(SOURCES) - {name}
        start = module_file(f"fishseg.datasets.{name}")
        assert start is not None
        used = closure(start)
        for other in others:
            assert not any(path.startswith(f"fishseg/datasets/{other}") for path in used)


def test_only_backbones_know_transformers() -> None:
    for file in modules():
        if "backbones" not in file.parts:
            assert "transformers" not in file.read_text()


def test_no_stage_imports_another() -> None:
    names = {f"stages.{stage}" for stage in STAGES}
    for stage in STAGES:
        text = (REPOSITORY / "stages" / f"{stage}.py").read_text()
        assert not any(name in text for name in names - {f"stages.{stage}"})


def test_the_pipeline_never_reads_the_truth() -> None:
    for file in modules():
        if "sample" not in file.parts:
            assert "truth.csv" not in file.read_text()
