"""What a plain installation has suffices for pictures: `predict`, `measure` and the Python API.

No torch, transformers, DVC, matplotlib, pandas: only what `dependencies` in pyproject.toml names,
which is also what the Dockerfile installs.
"""

from __future__ import annotations

import dataclasses
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import numpy as np
import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from PIL import Image
from red_model import FACTS, red_model

REPOSITORY = Path(__file__).parents[1]
# Runs a program where nothing but the standard library, this repository and the named packages can
# be imported; its own arguments follow.
ONLY = """
import sys
program = sys.argv.pop(1)
allowed = {*sys.argv.pop(1).split(","), *sys.stdlib_module_names}
class Refuse:
    def find_spec(self, name, path=None, target=None):
        top = name.partition(".")[0]
        if top not in allowed and not top.startswith("_sysconfigdata"):
            raise ModuleNotFoundError(f"{name} is not installed here", name=name)
sys.meta_path.insert(0, Refuse())
exec(program)
"""
COMMAND = "from fishseg.cli import main; main()"


def base_packages() -> set[str]:
    """What pyproject.toml names, without what is left to extras."""
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    return {canonicalize_name(Requirement(text).name) for text in project["dependencies"]}


def run_only(program: str, *arguments: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a program with the base packages alone."""
    owners = metadata.packages_distributions()
    allowed = {
        module
        for module, names in owners.items()
        if {canonicalize_name(name) for name in names} & base_packages()
    }
    return subprocess.run(
        [sys.executable, "-c", ONLY, program, ",".join({*allowed, "fishseg"}), *arguments],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "XDG_CACHE_HOME": str(folder / "cache")},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A red fish on black, its mask, and the model that knows it."""
    picture = np.zeros((60, 80, 3), np.uint8)
    picture[20:40, 10:70, 0] = 255
    Image.fromarray(picture).save(tmp_path / "fish.png")
    Image.fromarray(picture[..., 0]).save(tmp_path / "mask.png")
    facts = dataclasses.replace(FACTS, threshold=0.5)
    red_model(tmp_path / "model.onnx", facts.to_metadata())
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/decoder.json").write_text("{}")
    return tmp_path


def test_help_and_version(tmp_path: Path) -> None:
    for arguments in (["--help"], ["--version"], ["predict", "--help"], ["export", "--help"]):
        done = run_only(COMMAND, *arguments, folder=tmp_path)
        assert done.returncode == 0, done.stderr
        assert "fishseg" in done.stdout


@pytest.mark.parametrize(
    "options",
    [
        ["--coco", "--probabilities", "--fine", "--tta", "2"],
        ["--min-confidence", "0.1", "--threshold", "0.6", "--mm-per-px", "0.5"],
    ],
)
def test_predict(options: list[str], folder: Path) -> None:
    arguments = ["predict", "fish.png", "--out", "out", "--model", "model.onnx", *options]
    done = run_only(COMMAND, *arguments, folder=folder)
    assert done.returncode == 0, done.stderr
    mask = np.asarray(Image.open(folder / "out/masks/fish.png")) > 0
    # The probability is made at another size, so that edges move by a pixel or two.
    assert mask[24:36, 14:66].all()
    assert not mask[:16].any()
    assert len((folder / "out/measurements.csv").read_text().splitlines()) == 2
    assert (folder / "out/index.html").is_file()


def test_measure(folder: Path) -> None:
    done = run_only(COMMAND, "measure", "fish.png", "mask.png", "--out", "out", folder=folder)
    assert done.returncode == 0, done.stderr
    (_, row) = (folder / "out/measurements.csv").read_text().splitlines()
    assert ",1200," in row


def test_the_python_interface(folder: Path) -> None:
    program = """
        import fishseg
        result = fishseg.load("model.onnx")("fish.png")
        print(len(result.fish), result.mask.sum() > 1000, result.overlay().shape)
    """
    done = run_only("\n".join(map(str.strip, program.splitlines())), folder=folder)
    assert done.stdout.split() == ["1", "True", "(60,", "80,", "3)"], done.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict", "fish.png", "--out", "out", "--decoder", "mine"], "was trained here needs"),
        (["predict", "fish.png", "--out", "out", "--model", "mine"], "was trained here needs"),
        (["score", "."], "fishseg score needs"),
        (["crossvalidate", "."], "fishseg crossvalidate needs"),
        (["export", "--out", "x.onnx"], "fishseg export needs torch"),
        (["app", "--model", "model.onnx"], "the page needs gradio"),
    ],
)
def test_what_needs_more_says_so_in_one_message(
    arguments: list[str], said: str, folder: Path
) -> None:
    done = run_only(COMMAND, *arguments, folder=folder)
    assert done.returncode == 1
    errors = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")]
    assert len(errors) == 1, done.stderr
    assert said in errors[0]
    assert "Traceback" not in done.stderr
    assert re.search(r"pip install '\.\[(train|app)\]'", done.stderr)


def test_the_container_has_these_packages_and_no_others() -> None:
    text = (REPOSITORY / "Dockerfile").read_text(encoding="utf-8")
    found = re.search(r"grep -E '\^\((.*)\)=='", text)
    assert found is not None
    named = {canonicalize_name(name.replace("\\", "")) for name in found[1].split("|")}
    assert named == base_packages()


def test_the_lock_has_a_version_of_each_package() -> None:
    locked = re.findall(r"^([^=#\s]+)==", (REPOSITORY / "requirements.lock").read_text(), re.M)
    assert base_packages() <= {canonicalize_name(name) for name in locked}
