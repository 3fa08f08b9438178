"""`fishseg suggest` and `accept` with a model that takes what is bright for fish."""

from __future__ import annotations

import csv
import json
import logging
import zipfile
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from fishseg import cli
from fishseg.cli.models import Loaded
from fishseg.metrics.familiarity import Familiarity, Seen
from fishseg.prediction import loading
from fishseg.prediction.model import Answer

pycocotools = pytest.importorskip("pycocotools.coco", reason="pip install '.[dev]'")


class BlindModel:
    """Does not say what a picture looks like."""

    threshold = 0.5

    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(image.max(axis=2) / 255, np.float32)


class BrightModel(BlindModel):
    """Brightness is the probability, and the means of the colours are the features."""

    familiarity = Familiarity(
        directions=np.eye(3, dtype=np.float16),
        origin=np.zeros(3, np.float32),
        mean=np.zeros(3, np.float32),
        precision=np.eye(3, dtype=np.float32),
        farthest=np.array([np.inf], np.float32),
    )

    def answer(self, image: NDArray[np.uint8]) -> Answer:
        small = Image.fromarray(image).resize((8, 6), Image.Resampling.BOX)
        features = np.asarray(small, np.float32).transpose(2, 0, 1) / 255
        seen = Seen(self.familiarity, self.familiarity.embed(features))
        return Answer(self.probability(image), seen=seen)


def draw_photo(seed: int) -> NDArray[np.uint8]:
    """A bright fish on a darker board with stains, by which copies are known again."""
    rng = np.random.default_rng(seed)
    image = np.full((150, 200, 3), (60, 90, 110), np.uint8)
    for _ in range(60):
        centre = (int(rng.integers(200)), int(rng.integers(150)))
        shade = [int(level) for level in rng.integers(25, 126, 3)]
        cv2.circle(image, centre, int(rng.integers(3, 14)), shade, -1, cv2.LINE_AA)
    middle = (100 + int(rng.integers(-12, 13)), 75 + int(rng.integers(-10, 11)))
    angle = float(rng.uniform(0, 180))
    cv2.ellipse(image, middle, (55, 18), angle, 0, 360, (230, 210, 190), -1, cv2.LINE_AA)
    noise = rng.normal(0, 3, image.shape)
    noisy: NDArray[np.uint8] = np.clip(image + noise, 0, 255).astype(np.uint8)
    return noisy


@pytest.fixture(autouse=True)
def photos(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> Path:
    """Five pictures, of which the fifth is the first, mirrored."""
    caplog.set_level(logging.INFO)
    use(monkeypatch, BrightModel())
    folder = workspace / "photos"
    (folder / "day2").mkdir(parents=True)
    for number in range(1, 5):
        place = folder / ("day2" if number == 4 else ".")
        Image.fromarray(draw_photo(number)).save(place / f"{min(number, 3)}.png")
    mirrored = np.ascontiguousarray(draw_photo(1)[:, ::-1])
    Image.fromarray(mirrored).save(folder / "5.png")
    return folder


def use(monkeypatch: pytest.MonkeyPatch, model: BlindModel) -> None:
    loaded = Loaded(model=model, identity="bright", about="trained on what is bright")
    monkeypatch.setattr(loading, "load_model", lambda *_, **__: loaded)


def run(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        cli.main([str(argument) for argument in arguments])
    return stopped.value.code


def table(path: str) -> list[dict[str, str]]:
    with Path(path).open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def test_copies_of_one_photograph_count_once() -> None:
    assert run("suggest", "photos", "--n", "9") == 0
    rows = table("suggested/suggested.csv")
    assert [row["rank"] for row in rows] == ["1", "2", "3", "4"]
    assert sorted(row["image"] for row in rows if row["image"] not in ("1.png", "5.png")) == [
        "2.png",
        "3.png",
        "day2--3.png",
    ]
    assert [row["copies"] for row in rows if row["image"] in ("1.png", "5.png")] == ["2"]


def test_annotation_tools_can_read_what_is_suggested() -> None:
    assert run("suggest", "photos", "--n", "3") == 0
    read = pycocotools.COCO("suggested/annotations.json")
    files = {path.name for path in Path("suggested/images").iterdir()}
    assert {image["file_name"] for image in read.imgs.values()} == files
    assert len(files) == 3
    for annotation in read.anns.values():
        # What CVAT and Label Studio ask for: polygons (no run lengths), a box, a category, ids;
        # Label Studio's converter also wants a score.
        assert annotation["iscrowd"] == 0
        assert all(len(polygon) >= 6 for polygon in annotation["segmentation"])
        assert read.cats[annotation["category_id"]]["name"] == "fish"
        assert 0 <= annotation["score"] <= 1
        assert len(annotation["bbox"]) == 4
        mask = read.annToMask(annotation)
        assert abs(int(mask.sum()) - annotation["area"]) <= 0.1 * annotation["area"] + 4
    for image in read.imgs.values():
        mask = np.asarray(Image.open(f"suggested/masks/{Path(image['file_name']).stem}.png"))
        assert mask.shape == (image["height"], image["width"])


def test_what_nobody_touched_counts_nothing(caplog: pytest.LogCaptureFixture) -> None:
    assert run("suggest", "photos", "--n", "3") == 0
    for corrected in ([], ["suggested/annotations.json"]):
        assert run("accept", "suggested", *corrected, "--into", "mine") == 0
        rows = table("mine/corrections.csv")
        assert len(rows) == 3
        assert {row["pixels_corrected"] for row in rows} == {"0"}
        assert {row["iou_before"] for row in rows} == {"1.0000"}
    assert "0 pixels corrected" in caplog.text


def test_painted_masks_become_pictures_to_train_on() -> None:
    assert run("suggest", "photos", "--n", "2") == 0
    stem = Path(table("suggested/suggested.csv")[0]["image"]).stem
    path = Path(f"suggested/masks/{stem}.png")
    before = np.asarray(Image.open(path)) > 0
    after = before.copy()
    after[:20] = True
    Image.fromarray(after.astype(np.uint8) * 255).save(path)
    assert run("accept", "suggested", "--into", "mine") == 0
    assert np.array_equal(np.asarray(Image.open(f"mine/masks/{stem}.png")) > 0, after)
    row = next(row for row in table("mine/corrections.csv") if row["image"] == f"{stem}.png")
    assert int(row["pixels_corrected"]) == (before ^ after).sum()
    assert float(row["iou_before"]) == pytest.approx(
        (before & after).sum() / (before | after).sum(), abs=1e-4
    )
    assert len(list(Path("mine/images").iterdir())) == 2


def test_another_picture_of_a_name_that_is_there_is_refused(
    caplog: pytest.LogCaptureFixture,
) -> None:
    for day, seed in (("one", 1), ("two", 2)):
        Path(day).mkdir()
        Image.fromarray(draw_photo(seed)).save(Path(day) / "a.png")
        assert run("suggest", day, "--out", f"{day}-suggested") == 0
    assert run("accept", "one-suggested", "--into", "mine") == 0
    kept = {path: path.read_bytes() for path in sorted(Path("mine").rglob("*.*"))}
    assert run("accept", "two-suggested", "--into", "mine") == 1
    assert "a.png: another picture of this name, a.png, is there already" in caplog.text
    assert {path: path.read_bytes() for path in sorted(Path("mine").rglob("*.*"))} == kept
    assert run("accept", "one-suggested", "--into", "mine") == 0  # the same once more may be


def test_a_mask_that_somebody_changed_since_is_left_alone(
    caplog: pytest.LogCaptureFixture,
) -> None:
    def paint(path: Path, value: int) -> bytes:
        mask = np.array(Image.open(path))
        mask[:9] = value
        Image.fromarray(mask).save(path)
        return path.read_bytes()

    assert run("suggest", "photos", "--n", "2") == 0
    first, second = (Path(row["image"]).stem for row in table("suggested/suggested.csv"))
    assert run("accept", "suggested", "--into", "mine") == 0
    edited = paint(Path(f"mine/masks/{first}.png"), 255)
    for stem in (first, second):
        paint(Path(f"suggested/masks/{stem}.png"), 0)
    assert run("accept", "suggested", "--into", "mine") == 1
    assert f"{first}.png is there already and is not as it was accepted" in caplog.text
    assert Path(f"mine/masks/{first}.png").read_bytes() == edited
    replaced = np.asarray(Image.open(f"mine/masks/{second}.png"))
    assert not replaced[:9].any()
    # One that was there before anything was accepted is somebody's, too.
    Path("mine/corrections.csv").unlink()
    assert run("accept", "suggested", "--into", "mine") == 1
    assert Path(f"mine/masks/{first}.png").read_bytes() == edited
    assert [row["image"] for row in table("mine/corrections.csv")] == [f"{second}.png"]
    Path(f"mine/masks/{first}.png").unlink()
    assert run("accept", "suggested", "--into", "mine") == 0


def test_columns_that_somebody_added_to_the_table_stay() -> None:
    assert run("suggest", "photos", "--n", "2") == 0
    assert run("accept", "suggested", "--into", "mine") == 0
    path = Path("mine/corrections.csv")
    lines = path.read_text().splitlines()
    path.write_text("\n".join([f"{lines[0]},by", *(f"{line},me" for line in lines[1:])]) + "\n")
    stem = Path(table("suggested/suggested.csv")[0]["image"]).stem
    Path(f"suggested/masks/{stem}.png").write_bytes(Path(f"mine/masks/{stem}.png").read_bytes())
    assert run("accept", "suggested", "--into", "mine") == 0
    assert [row["by"] for row in table("mine/corrections.csv")] == ["me", "me"]


def test_a_table_that_a_spreadsheet_saved_is_read_and_another_is_refused() -> None:
    assert run("suggest", "photos", "--n", "2") == 0
    assert run("accept", "suggested", "--into", "mine") == 0
    path = Path("mine/corrections.csv")
    before = table(str(path))
    path.write_bytes(b"\xef\xbb\xbf" + path.read_bytes().replace(b",", b";"))
    assert run("accept", "suggested", "--into", "mine") == 0
    assert table(str(path)) == before
    path.write_text("something else\n")
    masks = {mask: mask.stat().st_mtime_ns for mask in Path("mine/masks").iterdir()}
    assert "the corrections cannot be read" in str(run("accept", "suggested", "--into", "mine"))
    assert path.read_text() == "something else\n"
    assert {mask: mask.stat().st_mtime_ns for mask in Path("mine/masks").iterdir()} == masks


def test_the_zip_of_a_tool_is_understood(caplog: pytest.LogCaptureFixture) -> None:
    """CVAT exports annotations/instances_default.json, without the pictures."""
    assert run("suggest", "photos", "--n", "3") == 0
    tree: dict[str, Any] = json.loads(Path("suggested/annotations.json").read_text())
    gone = tree["images"].pop()
    tree["annotations"] = [
        {**annotation, "segmentation": [[10, 10, 60, 10, 60, 40, 10, 40]]}
        for annotation in tree["annotations"]
        if annotation["image_id"] != gone["id"]
    ]
    with zipfile.ZipFile("export.zip", "w") as packed:
        packed.writestr("annotations/instances_default.json", json.dumps(tree))
    assert run("accept", "suggested", "export.zip", "--into", "mine") == 1
    rows = table("mine/corrections.csv")
    assert {row["image"] for row in rows} == {image["file_name"] for image in tree["images"]}
    assert f"{gone['file_name']}: it has no corrected mask" in caplog.text
    for row in rows:
        mask = np.asarray(Image.open(f"mine/masks/{Path(row['image']).stem}.png")) > 0
        assert mask[10:40, 10:60].all()
        assert mask.sum() == 30 * 50


def test_the_subsets_of_a_tool_are_one_set() -> None:
    assert run("suggest", "photos", "--n", "3") == 0
    tree: dict[str, Any] = json.loads(Path("suggested/annotations.json").read_text())
    with zipfile.ZipFile("export.zip", "w") as packed:
        for number, image in enumerate(tree["images"]):
            own = [one for one in tree["annotations"] if one["image_id"] == image["id"]]
            subset = json.dumps({**tree, "images": [image], "annotations": own})
            packed.writestr(f"annotations/instances_Part{number}.json", subset)
    assert run("accept", "suggested", "export.zip", "--into", "mine") == 0
    rows = table("mine/corrections.csv")
    assert {row["image"] for row in rows} == {image["file_name"] for image in tree["images"]}
    assert {row["pixels_corrected"] for row in rows} == {"0"}


def test_a_folder_of_one_picture() -> None:
    only = Path("only")
    only.mkdir()
    Image.fromarray(draw_photo(1)).save(only / "a.png")
    assert run("suggest", "only", "--out", "one") == 0
    assert [row["image"] for row in table("one/suggested.csv")] == ["a.png"]


def test_mistakes_are_one_message(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "1 or more" in str(run("suggest", "photos", "--n", "0"))
    assert run("suggest", "photos", "--n", "1") == 0
    assert "something already" in str(run("suggest", "photos", "--n", "1"))
    assert "no suggestions" in str(run("accept", "photos", "--into", "mine"))
    assert "no such file" in str(run("accept", "suggested", "gone.json", "--into", "mine"))
    use(monkeypatch, BlindModel())
    assert "dvc repro train" in str(run("suggest", "photos", "--out", "other"))
