"""What a plain installation takes, beside that of a background remover.

``python -m benchmarks.installation`` makes a fresh environment for each in ``tmp/installation``,
unless it is there already, counts packages and bytes, lets fishseg predict one drawn picture twice,
and writes what it found into docs/dependencies.md.
"""

from __future__ import annotations

import os
import subprocess
import tempfile
import venv
from pathlib import Path

import numpy as np
from PIL import Image

from benchmarks.results import write_between_marks
from fishseg.datasets.sample import SPECIES
from fishseg.datasets.sample.photo import render_photo

FOLDER = Path("tmp/installation")
PAGE = Path("docs/dependencies.md")
WANTED = {"fishseg": ".", "rembg": "rembg[cpu]"}
# Run by the Python of an environment: how many packages it has, their bytes, and a version.
COUNT = """
import sys
from importlib import metadata
found = {one.name: one for one in metadata.distributions() if one.name not in ("pip", "setuptools")}
files = [file.locate() for one in found.values() for file in one.files or []]
size = sum(file.stat().st_size for file in files if file.suffix != ".pyc" and file.is_file())
print(len(found), size, found[sys.argv[1]].version)
"""


def main() -> None:
    """Install, count, predict, print, and write the table."""
    rows = ["| | packages | MB |", "|---|--:|--:|"]
    for name, requirement in WANTED.items():
        python = installed(name, requirement)
        command = [str(python), "-c", COUNT, name]
        done = subprocess.run(command, check=True, capture_output=True, text=True)
        n_packages, n_bytes, version = done.stdout.split()
        rows.append(
            f"| `pip install {requirement}` ({name} {version}) | {n_packages} "
            f"| {int(n_bytes) / 1e6:.0f} |"
        )
    first, second = predicting_s(FOLDER / "fishseg")
    rows += [
        "",
        f"`fishseg predict` of one photograph takes {second:.1f} s of the processor, start and "
        f"model included; the first time {first:.1f} s and a download of 90 MB.",
    ]
    print("\n".join(rows))
    write_between_marks("base: python -m benchmarks.installation", rows, PAGE)


def installed(name: str, requirement: str) -> Path:
    """The Python of an environment that has a requirement and nothing else."""
    folder = FOLDER / name
    programs = "Scripts" if os.name == "nt" else "bin"
    if not folder.exists():
        venv.create(folder, with_pip=True)
        pip = [str(folder / programs / "python"), "-m", "pip", "install", "--quiet", requirement]
        subprocess.run(pip, check=True)
    return folder / programs / "python"


def predicting_s(environment: Path) -> list[float]:
    """Seconds of the processor that the command takes in an empty folder, and when repeated."""
    picture = render_photo(SPECIES[0], np.random.default_rng(0)).picture
    seconds = []
    program = environment.absolute() / ("Scripts" if os.name == "nt" else "bin") / "fishseg"
    with tempfile.TemporaryDirectory() as folder:
        Image.fromarray(picture).save(Path(folder) / "photo.png")
        for number in range(2):
            before = os.times()
            subprocess.run(
                [str(program), "predict", "photo.png", "--out", f"fish{number}"],
                cwd=folder,
                env={**os.environ, "XDG_CACHE_HOME": folder, "PYTHONPATH": ""},
                check=True,
            )
            after = os.times()
            seconds.append(
                after.children_user
                + after.children_system
                - before.children_user
                - before.children_system
            )
    return seconds


if __name__ == "__main__":
    main()
