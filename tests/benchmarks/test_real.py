from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pandas as pd
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper
from PIL import Image

from benchmarks import real
from benchmarks.peer import Peer
from benchmarks.real_sets import Box, find_sets
from fishseg.errors import DataError, ModelError
from fishseg.metrics.bootstrap import bootstrap_interval

# x0, y0, x1, y1
FIRST, SECOND = (10.0, 5.0, 30.0, 15.0), (40.0, 20.0, 60.0, 30.0)


@dataclasses.dataclass(frozen=True)
class Brightness:
    """A model to which white is fish."""

    threshold: float = 0.5

    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        levels: NDArray[np.float32] = image[..., 0].astype(np.float32)
        return levels / np.float32(255)


def write_picture(path: Path, *boxes: Box, ground: int = 0) -> None:
    pixels = np.full((40, 80), ground, np.uint8)
    for x0, y0, x1, y1 in boxes:
        pixels[int(y0) : int(y1), int(x0) : int(x1)] = 255
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).convert("RGB").save(path)


@pytest.fixture
def sets(workspace: Path) -> Path:
    """One set of each kind, and a folder that is none."""
    for name, shift, ground in (("a", 0, 0), ("b", 0, 1), ("c", 10, 0)):
        x0, y0, x1, y1 = FIRST
        shifted = (x0 + shift, y0, x1 + shift, y1)
        write_picture(workspace / f"sets/masks/images/{name}.png", shifted, ground=ground)
        write_picture(workspace / f"sets/masks/masks/{name}.png", FIRST)
    (workspace / "sets/masks/truth.csv").write_text("stem,photo\na,one\nb,one\nc,two\n")
    (workspace / "sets/masks/measures.csv").write_text(
        "stem,px_per_mm_from_ruler_ticks,mask_long_axis_mm\na,2,10\nc,2,12.5\n"
    )
    write_picture(workspace / "sets/boxes/images/p.png", FIRST, SECOND)
    (workspace / "sets/boxes/boxes.csv").write_text("stem,x0,y0,x1,y1\np,10,5,30,15\np,0,30,9,40\n")
    (workspace / "sets/other").mkdir()
    return workspace / "sets"


def test_sets_are_known_by_their_files(sets: Path, caplog: pytest.LogCaptureFixture) -> None:
    boxes, masks = find_sets(sets)
    assert (boxes.name, masks.name) == ("boxes", "masks")
    assert [*(boxes.pictures[0].boxes or ())] == [FIRST, (0, 30, 9, 40)]
    assert [picture.photograph for picture in masks.pictures] == ["one", "one", "two"]
    rulers = [picture.ruler and picture.ruler.length_mm for picture in masks.pictures]
    assert rulers == [10, None, 12.5]
    assert "other is no set" in caplog.text
    assert "b is not in measures.csv" in caplog.text


@pytest.mark.parametrize(
    ("file", "text", "message"),
    [
        ("boxes/boxes.csv", "stem,x0,y0,x1,y1\nq,1,2,3,4\n", "no picture q"),
        ("boxes/boxes.csv", "stem,x0,y0,x1,y1\np,5,2,5,4\n", "no area"),
        ("boxes/boxes.csv", "stem,x0,y0,x1,y1\np,5,2,x,4\n", "x1 of p is no number"),
        ("boxes/boxes.csv", "stem,x0,y0\np,5,2\n", "not every line"),
        ("masks/truth.csv", "stem,photo\na,one\nb,one\n", "photograph of c"),
    ],
)
def test_a_table_that_does_not_fit_is_refused(
    sets: Path, file: str, text: str, message: str
) -> None:
    (sets / file).write_text(text)
    with pytest.raises(DataError, match=message):
        find_sets(sets)


def test_a_folder_without_sets_is_refused(workspace: Path) -> None:
    with pytest.raises(DataError, match="none of the folders"):
        find_sets(workspace)
    with pytest.raises(DataError, match="no such folder"):
        find_sets(workspace / "nowhere")


def test_a_set_that_is_not_there_is_refused(sets: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FISHSEG_REAL", str(sets))
    monkeypatch.setattr("sys.argv", ["real", "--sets", "mask"])
    with pytest.raises(SystemExit, match="one of boxes, masks"):
        real.main()


def test_the_table_is_printed_and_written_between_its_marks(
    sets: Path,
    workspace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    page = workspace / "page.md"
    page.write_text("before\n<!-- real: make real -->\nold\n<!-- /real -->\nafter\n")
    monkeypatch.setenv("FISHSEG_REAL", str(sets))
    monkeypatch.setattr("sys.argv", ["real", "--write", "page.md"])
    monkeypatch.setattr(real, "_models", lambda _options: {"bright": Brightness()})
    real.main()
    lines = page.read_text().splitlines()
    assert (lines[0], lines[1], lines[-1]) == ("before", "<!-- real: make real -->", "after")
    assert lines[2:-2] == capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[4:-2]] == ["| boxes", "| masks"]
    table = pd.read_csv("tmp/real/pictures.csv")
    assert table["picture"].tolist() == ["p", "a", "b", "c"]


def test_masks_and_lengths_are_scored(sets: Path) -> None:
    masks = find_sets(sets)[1]
    scores = real.score_set(masks, Brightness(), "model")
    # c is shifted by half its length: 10 of 30 columns in both.
    assert scores["iou"].tolist() == [1, 1, pytest.approx(1 / 3)]
    # Shifted or not it is 20 px long, which is 10 mm here.
    assert scores["length_ratio"].tolist() == [1, pytest.approx(np.nan, nan_ok=True), 1]
    assert scores["error_mm"].iloc[[0, 2]].tolist() == pytest.approx([0, -2.5], abs=0.3)
    cells = dict(zip(real.HEAD, real.summary_row(masks, "model", scores), strict=True))
    assert cells["pictures (photographs)"] == "3 (2)"
    assert cells["mean IoU"].startswith("**0.778** [0.333, 1.000]")
    assert cells["boxes found"] == "–"
    assert Path("tmp/real/masks-model.png").exists()


def test_boxes_are_found_missed_and_false(sets: Path) -> None:
    boxes = find_sets(sets)[0]
    scores = real.score_set(boxes, Brightness(), "model")
    assert scores["box_ious"].iloc[0] == [1, 0]
    cells = dict(zip(real.HEAD, real.summary_row(boxes, "model", scores), strict=True))
    assert cells["boxes found"].startswith("**0.500**")
    assert cells["median box IoU"].startswith("**0.500**")
    assert cells["false fish"] == "1 of 2 (50.0%)"
    assert cells["mean IoU"] == "–"


def test_boxes_are_paired_for_the_best_sum() -> None:
    # Greedily, the first drawn box would take the found one that only the second can have.
    drawn = [(0.0, 0.0, 10.0, 10.0), (4.0, 0.0, 14.0, 10.0)]
    found = [(1.0, 0.0, 11.0, 10.0), (-4.0, 0.0, 6.0, 10.0)]
    matched = real.match_boxes(found, drawn)
    assert matched["box_ious"] == pytest.approx([60 / 140, 70 / 130])
    assert (matched["n_fish"], matched["n_false"]) == (2, 1)
    assert real.match_boxes([], drawn) == {"box_ious": [0, 0], "n_fish": 0, "n_false": 0}
    assert real.match_boxes(found, []) == {"box_ious": [], "n_fish": 2, "n_false": 2}


def test_the_interval_of_a_mean_is_that_of_the_metrics() -> None:
    rng = np.random.default_rng(0)
    values = pd.Series(rng.random(30))
    groups = pd.Series([f"photo{number % 7}" for number in range(30)])
    expected = bootstrap_interval(values, groups, samples=2000, seed=42)
    assert real.interval(values, groups, np.mean) == pytest.approx(expected, abs=1e-12)


def peer_file(path: Path, side: int) -> Path:
    """A model whose answer is the mean over the channels."""
    node = helper.make_node("ReduceMean", ["picture", "axes"], ["answer"], keepdims=1)
    graph = helper.make_graph(
        [node],
        "peer",
        [helper.make_tensor_value_info("picture", TensorProto.FLOAT, [1, 3, side, side])],
        [helper.make_tensor_value_info("answer", TensorProto.FLOAT, [1, 1, side, side])],
        [helper.make_tensor("axes", TensorProto.INT64, [1], [1])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    onnx.save(model, path)
    return path


def test_a_peer_gets_normalised_squares_and_answers_at_the_pictures_size(workspace: Path) -> None:
    path = peer_file(workspace / "peer.onnx", 64)
    peer = Peer.load(path, size=64, mean=51, scale=102, threshold=0.5)
    image = np.zeros((40, 80, 3), np.uint8)
    image[:, 40:] = 153
    probability = peer.probability(image)
    assert probability.shape == (40, 80)
    assert probability[:, :38] == pytest.approx(-0.5)
    assert probability[:, 42:] == pytest.approx(1)


def test_a_peer_of_another_size_is_refused(workspace: Path) -> None:
    path = peer_file(workspace / "peer.onnx", 64)
    with pytest.raises(ModelError, match="--peer-size"):
        Peer.load(path, size=32, mean=0, scale=1, threshold=0.5)
