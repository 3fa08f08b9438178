"""The two doors: what a user can cause is one message, the program's own mistakes a traceback."""

from __future__ import annotations

import argparse
import builtins
import concurrent.futures.process
import errno
import io
import os
import subprocess
import sys
import zipfile
from pathlib import Path

import cv2
import numpy as np
import pandas as pd
import PIL.Image
import pygit2
import pytest
import requests
import safetensors
import torch
import yaml

import stages
from fishseg import cli
from fishseg.errors import DataError, FishsegError, explain
from fishseg.plots.style import save
from fishseg.tables import write_csv

REPOSITORY = Path(__file__).parents[1]


def caught(what: object) -> BaseException:
    """The exception that a call raises, as it comes up for real."""
    assert callable(what)
    with pytest.raises(BaseException) as found:  # noqa: PT011 - whatever it is
        what()
    return found.value


REAL = {
    "a folder that is missing": lambda: Path("nowhere/x").write_text(""),
    "a file where a folder is wanted": lambda: Path(__file__, "x").mkdir(),
    "a folder where a file is wanted": lambda: Path().read_text(),
    "a name that is too long": lambda: Path("x" * 300).write_text(""),
    "a picture that is none": lambda: PIL.Image.open(io.BytesIO(b"no picture")),
    "a name that is no text": "fish\udcff".encode,
    "text that is no UTF-8": b"fish\xff".decode,
    "more memory than there is": lambda: np.zeros(10**15),
    "more memory for torch than there is": lambda: torch.empty(10**15),
    "more memory for OpenCV than there is": lambda: cv2.resize(
        np.zeros((9, 9, 3), np.uint8), (2**18, 2**18)
    ),
    "weights that are none": lambda: safetensors.safe_open(__file__, "np"),
    "a zip that is none": lambda: zipfile.ZipFile(io.BytesIO(b"no zip")),
    "YAML that is none": lambda: yaml.safe_load("a: b: c"),
    "an empty table": lambda: pd.read_csv(io.StringIO("")),
    "a ragged table": lambda: pd.read_csv(io.StringIO("a,b\n1,2\n1,2,3\n")),
    "no repository": lambda: pygit2.Repository("/"),
    "a server that is not there": lambda: requests.get("http://127.0.0.1:9", timeout=1),
}


@pytest.mark.parametrize("name", REAL)
def test_what_a_user_can_cause_is_explained(name: str, workspace: Path) -> None:
    found = explain(caught(REAL[name]))
    assert isinstance(found, FishsegError)
    assert found.remedy
    assert found.where
    assert len(found.what.splitlines()) == 1
    assert "<lambda>" not in str(found)


@pytest.mark.parametrize(
    ("number", "words"),
    [
        (errno.ENOSPC, "free some disk space"),
        (errno.EDQUOT, "free some disk space"),
        (errno.EROFS, "choose another folder"),
        (errno.EACCES, "choose another folder"),
        (errno.EMFILE, "ulimit -n"),
        (errno.EFBIG, "ulimit -f"),
        (errno.ENOMEM, "close other programs"),
        (errno.ENXIO, "mend that"),
    ],
)
def test_the_system_s_refusals_say_where_and_what_to_do(number: int, words: str) -> None:
    def refuse() -> None:
        raise OSError(number, os.strerror(number))

    found = explain(caught(refuse))
    assert found is not None
    assert os.strerror(number) in found.what
    assert words in str(found.remedy)
    # Writing to an open file does not tell its name.
    assert str(found.where).startswith("tests/test_errors.py, line ")
    named = explain(OSError(number, os.strerror(number), "there/x.png"))
    if number != errno.ENOMEM:
        assert named is not None
        assert named.where == "there/x.png"


def test_a_worker_that_was_killed_and_a_gpu_that_is_full() -> None:
    for error in (
        concurrent.futures.process.BrokenProcessPool("terminated abruptly"),
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB"),
    ):
        found = explain(error)
        assert found is not None
        assert "memory" in found.what


MISTAKES = (
    AssertionError("x"), TypeError("x"), ValueError("x"), KeyError("x"), IndexError("x"),
    AttributeError("x"), NameError("x"), ZeroDivisionError("x"), RuntimeError("shapes differ"),
    NotImplementedError("x"), RecursionError("x"), cv2.error("(-215:Assertion failed)"),
    pd.errors.MergeError("x"), np.linalg.LinAlgError("x"),
)  # fmt: skip


@pytest.mark.parametrize("error", MISTAKES, ids=lambda error: type(error).__name__)
def test_the_program_s_mistakes_keep_their_traceback(
    error: Exception, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(options: argparse.Namespace | None = None) -> int:
        raise error

    with pytest.raises(type(error)):
        stages.run(fail)  # type: ignore[arg-type]
    monkeypatch.setattr(cli.compare, "run", fail)
    with pytest.raises(type(error)):
        cli.main(["compare", "HEAD"])


CAUSED = (
    OSError(errno.ENOSPC, "No space left on device", "x.csv"),
    MemoryError("8 GB"),
    DataError("no fish", remedy="some"),
)


@pytest.mark.parametrize("error", CAUSED, ids=lambda error: type(error).__name__)
def test_both_doors_end_in_one_message(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(options: argparse.Namespace | None = None) -> int:
        raise error

    monkeypatch.setattr(cli.compare, "run", fail)
    said = []
    for door in (lambda: stages.run(fail), lambda: cli.main(["compare", "HEAD"])):  # type: ignore[arg-type]
        stop = caught(door)
        assert isinstance(stop, SystemExit)
        said.append(str(stop.code))
        assert stop.__suppress_context__
    assert said[0] == said[1]
    assert said[0].startswith("ERROR: ")
    assert "to do:" in said[0]


def run_python(script: str, **options: object) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(REPOSITORY), **options.pop("env", {})}  # type: ignore[dict-item]
    command = [sys.executable, "-c", script]
    ended: subprocess.CompletedProcess[str] = subprocess.run(  # type: ignore[call-overload]
        command, check=False, text=True, env=environment, stderr=subprocess.PIPE, **options
    )
    return ended


PRINTING = """
import sys, types
from fishseg import cli
NAME = "\\u0421\\u0442\\u0430\\u0432\\u0440\\u0438\\u0434\\u0430 \\udcff "
cli.compare.run = lambda options: print(NAME * 5000) or 0
cli.main(["compare", "HEAD"])
"""


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="there is no /dev/full")
def test_output_that_finds_no_room_is_one_message() -> None:
    with Path("/dev/full").open("w") as full:
        ended = run_python(PRINTING, stdout=full)
    assert ended.returncode == 1
    assert ended.stderr.startswith("ERROR: the system refuses: No space left on device")
    assert "Traceback" not in ended.stderr
    assert "Exception ignored" not in ended.stderr


def test_a_reader_that_went_away_is_no_error_to_speak_of() -> None:
    reading, writing = os.pipe()
    os.close(reading)
    ended = run_python(PRINTING, stdout=writing)
    os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, "")


@pytest.mark.parametrize(
    "environment",
    [{"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"}, {"PYTHONIOENCODING": "ascii"}],
)
def test_names_of_any_script_can_be_redirected_under_any_locale(
    environment: dict[str, str], tmp_path: Path
) -> None:
    with (tmp_path / "out.md").open("w") as file:
        ended = run_python(PRINTING, stdout=file, env=environment)
    assert (ended.returncode, ended.stderr) == (0, "")
    assert (tmp_path / "out.md").read_text(encoding="utf-8").startswith("Ставрида \\udcff ")


def test_the_module_is_the_command() -> None:
    command = [sys.executable, "-m", "fishseg", "--help"]
    ended = subprocess.run(command, check=True, capture_output=True, text=True, cwd=REPOSITORY)
    assert "crossvalidate" in ended.stdout


def limited(size: int, script: str, folder: Path) -> subprocess.CompletedProcess[str]:
    """Run a script that may write no file larger than ``size`` bytes, as on a full disk."""
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_FSIZE, ({size}, {size}))\n"
    return run_python(limit + script, cwd=folder, stdout=subprocess.PIPE)


WRITING = {
    "metrics/evaluate.json": "stages.write_metrics('evaluate', {str(n): n for n in range(999)})",
    "table.csv": "tables.write_csv(pandas.DataFrame({'n': range(9999)}), Path('table.csv'))",
    "figure.png": "style.save(Figure(figsize=(9, 9)), Path('figure.png'))",
}


@pytest.mark.skipif(sys.platform == "win32", reason="there are no limits on the size of files")
@pytest.mark.parametrize("name", WRITING)
def test_a_full_disk_leaves_the_old_file_and_nothing_half_written(
    name: str, tmp_path: Path
) -> None:
    target = tmp_path / name
    target.parent.mkdir(exist_ok=True)
    target.write_text("old")
    script = (
        "import pandas, stages\n"
        "from pathlib import Path\n"
        "from matplotlib.figure import Figure\n"
        "from fishseg import tables\n"
        "from fishseg.plots import style\n"
        f"stages.run(lambda: {WRITING[name]})"
    )
    ended = limited(700, script, tmp_path)
    assert ended.returncode == 1
    assert ended.stderr.splitlines()[0].startswith("ERROR: this cannot be written: File too large")
    assert name in ended.stderr
    assert "Traceback" not in ended.stderr
    assert target.read_text() == "old"
    assert [path.name for path in target.parent.iterdir()] == [target.name]


def test_tables_and_figures_appear_under_their_own_name(tmp_path: Path) -> None:
    from matplotlib.figure import Figure

    write_csv(pd.DataFrame({"n": ["ä,", '"']}), tmp_path / "a.csv")
    assert (tmp_path / "a.csv").read_bytes() == 'n\n"ä,"\n""""\n'.encode()
    save(Figure(figsize=(1, 1)), tmp_path / "deeper/a.png")
    PIL.Image.open(tmp_path / "deeper/a.png").verify()


def test_metrics_that_are_a_file_and_not_a_folder(workspace: Path) -> None:
    Path("metrics").write_text("")
    stop = caught(lambda: stages.run(lambda: stages.write_metrics("split", {})))
    assert isinstance(stop, SystemExit)
    assert "File exists" in str(stop.code)
    assert "metrics" in str(stop.code)
    assert "move it away" in str(stop.code)


def test_ctrl_c_is_no_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def stop(options: argparse.Namespace | None = None) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(cli.compare, "run", stop)
    assert "interrupted" in str(getattr(caught(lambda: cli.main(["compare", "HEAD"])), "code", ""))
    assert builtins.isinstance(caught(lambda: stages.run(stop)), SystemExit)  # type: ignore[arg-type]
