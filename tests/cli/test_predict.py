"""`fishseg predict` with a model that takes what is bright for fish."""

from __future__ import annotations

import csv
import errno
import json
import logging
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from numpy.typing import NDArray
from PIL import Image

import fishseg
from fishseg import cli
from fishseg.cli import models
from fishseg.cli.models import Loaded
from fishseg.cli.results import DiskFullError, Results
from fishseg.prediction import loading
from fishseg.prediction.model import Answer
from fishseg.prediction.species import Distance, Regression, SpeciesClassifier


class BrightModel:
    """Brightness is the probability; counts how often it was asked."""

    threshold = 0.5

    def __init__(self) -> None:
        self.asked = 0

    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        self.asked += 1
        return np.asarray(image.max(axis=2) / 255, np.float32)


def use(monkeypatch: pytest.MonkeyPatch, model: BrightModel, identity: str) -> None:
    loaded = Loaded(model=model, identity=identity, about="trained on what is bright")
    twice = loading.looking_twice(loaded)
    monkeypatch.setattr(
        loading, "load_model", lambda *_, fine=None, **__: twice if fine else loaded
    )


@pytest.fixture
def model(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> BrightModel:
    caplog.set_level(logging.INFO)
    model = BrightModel()
    use(monkeypatch, model, "bright")
    return model


class NamingModel(BrightModel):
    """Its features are the brightness of 2x3 patches, and what is darker there is bass."""

    def __init__(self, classifier: SpeciesClassifier) -> None:
        super().__init__()
        self.classifier = classifier

    def answer(self, image: NDArray[np.uint8]) -> Answer:
        grey = image.max(axis=2).astype(np.float32)
        patches = grey.reshape(2, grey.shape[0] // 2, 3, grey.shape[1] // 3).mean(axis=(1, 3))
        return Answer(self.probability(image), features=np.stack([patches, 0 * patches]))


@pytest.fixture
def naming(model: BrightModel, monkeypatch: pytest.MonkeyPatch) -> NamingModel:
    """Of patches of 20 grey levels bass, of 60 bream, of more than 100 unknown."""
    one = np.array([[1, 0], [0, 1]], np.float32)
    regression = Regression(
        weight=np.array([[-0.1, 0], [0.1, 0]], np.float32), bias=np.array([4, -4], np.float32)
    )
    distance = Distance(
        class_whitening=one,
        class_centres=np.array([[20, 0], [60, 0]], np.float32),
        whitening=0 * one,
        centre=np.zeros(2, np.float32),
    )
    classifier = SpeciesClassifier(
        classes=("bass", "bream"),
        features={},
        regression=regression,
        distance=distance,
        threshold=40.0**2,
        trained_on={},
    )
    naming = NamingModel(classifier)
    use(monkeypatch, naming, "naming")
    return naming


def run(*arguments: object) -> int | str | None:
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", *map(str, arguments)])
    return stopped.value.code


def save(path: str, *boxes: tuple[int, int, int, int], size: tuple[int, int] = (90, 60)) -> Path:
    """A black picture with white boxes ``left, top, width, height``."""
    pixels = np.zeros((size[1], size[0], 3), np.uint8)
    for left, top, width, height in boxes:
        pixels[top : top + height, left : left + width] = 255
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)
    return Path(path)


def table(out: str = "out") -> list[dict[str, str]]:
    with Path(out, "measurements.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_masks_overlays_and_a_row_a_fish(model: BrightModel) -> None:
    save("in/a.png", (20, 20, 40, 10))
    save("in/sub/b.bmp", (5, 5, 50, 10), (10, 40, 30, 10))
    assert run("in", "--out", "out") == 0
    rows = table()
    assert [(row["image"], row["fish"]) for row in rows] == [
        ("a.png", "1"),
        ("sub/b.bmp", "1"),
        ("sub/b.bmp", "2"),
    ]
    assert [row["area_px"] for row in rows] == ["400", "500", "300"]
    assert float(rows[0]["length_px"]) == pytest.approx(40, abs=1)
    assert float(rows[0]["width_px"]) == pytest.approx(10, abs=1)
    assert (rows[0]["box_left_px"], rows[0]["box_height_px"], rows[0]["cut_off"]) == (
        "20",
        "10",
        "0",
    )
    assert float(rows[0]["confidence"]) == 1
    assert not any("mm" in column for column in rows[0])
    for name in ("a", "sub/b"):
        mask = np.asarray(Image.open(f"out/masks/{name}.png"))
        assert mask.shape == (60, 90)
        assert set(np.unique(mask)) == {0, 255}
        assert Image.open(f"out/overlays/{name}.png").size == (90, 60)
    assert not Path("out/probabilities").exists()


def test_each_fish_is_named_by_what_lies_under_it(naming: NamingModel) -> None:
    """Three fish that fill 12%, 30% and 80% of their patches with 255."""
    save("a.png", (5, 5, 10, 11), (35, 5, 20, 14), (62, 31, 26, 28))
    assert run("a.png", "--out", "out") == 0
    rows = sorted(table(), key=lambda row: int(row["area_px"]))
    assert [row["species"] for row in rows] == ["bass", "bream", "unknown"]
    found = fishseg.Model(Loaded(model=naming, identity="", about=""))("a.png").fish
    assert [(fish.species, str(fish.species_probability or "")) for fish in found][::-1] == [
        (row["species"], row["species_probability"]) for row in rows
    ]
    assert [float(row["species_probability"]) > 0.7 for row in rows[:2]] == [True, True]
    assert rows[2]["species_probability"] == ""


def test_a_mask_drawn_by_hand_is_named_too(naming: NamingModel) -> None:
    save("a.png", (5, 5, 10, 11))
    assert run("a.png", "--out", "out") == 0
    drawn = np.zeros((60, 90), np.uint8)
    drawn[5:16, 5:12] = 255
    Image.fromarray(drawn).save("out/masks/a.png")
    assert run("a.png", "--out", "out") == 0
    (row,) = table()
    assert (row["mask_from"], row["species"], row["area_px"]) == ("hand", "bass", "77")


def test_without_a_classifier_there_are_no_columns_of_species(model: BrightModel) -> None:
    save("a.png", (20, 20, 40, 10))
    assert run("a.png", "--out", "out") == 0
    assert not any("species" in column for column in table()[0])


@pytest.mark.parametrize(
    "scale", [["--mm-per-px", "0.5"], ["--reference-px", "200", "--reference-mm", "100"]]
)
def test_millimetres(model: BrightModel, scale: list[str]) -> None:
    save("a.png", (20, 20, 40, 10))
    assert run("a.png", "--out", "out", *scale) == 0
    (row,) = table()
    assert float(row["area_mm2"]) == 100
    assert float(row["length_mm"]) == pytest.approx(float(row["length_px"]) / 2, abs=0.01)
    assert float(row["width_mm"]) == pytest.approx(float(row["width_px"]) / 2, abs=0.01)


@pytest.mark.parametrize(
    "scale",
    [
        ["--mm-per-px", "0"],
        ["--mm-per-px", "-1"],
        ["--mm-per-px", "nan"],
        ["--reference-px", "100"],
        ["--reference-mm", "100"],
        ["--reference-px", "100", "--reference-mm", "0"],
        ["--mm-per-px", "1", "--reference-px", "100", "--reference-mm", "30"],
    ],
)
def test_a_wrong_scale_is_refused_before_anything_is_written(
    model: BrightModel, scale: list[str]
) -> None:
    save("a.png", (20, 20, 40, 10))
    assert "scale" in str(run("a.png", "--out", "out", *scale))
    assert not Path("out").exists()


def test_an_absurd_scale_is_pointed_out(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    save("a.png", (20, 20, 40, 10))
    assert run("a.png", "--out", "out", "--mm-per-px", "1000") == 0
    assert "check the scale" in caplog.text


@pytest.mark.parametrize(("bits", "white"), [("8", 255), ("16", 65535)])
def test_probabilities(model: BrightModel, bits: str, white: int) -> None:
    Image.fromarray(np.full((20, 30, 3), 51, np.uint8)).save("a.png")
    assert run("a.png", "--out", "out", "--probabilities", bits) == 0
    assert np.unique(np.asarray(Image.open("out/probabilities/a.png"))).tolist() == [white // 5]
    assert table() == []


def test_coco_files_load(model: BrightModel) -> None:
    coco_api = pytest.importorskip("pycocotools.coco", reason="pip install '.[dev]'")
    save("in/a.png", (20, 20, 40, 10))
    save("in/b.png", (5, 5, 50, 10), (10, 40, 30, 10))
    save("in/none.png")
    assert run("in", "--out", "out", "--coco") == 0
    for name in ("annotations.json", "annotations_polygons.json"):
        coco = coco_api.COCO(f"out/{name}")
        images = {image["file_name"]: image["id"] for image in coco.dataset["images"]}
        assert list(images) == ["a.png", "b.png", "none.png"]
        assert coco.getAnnIds(imgIds=images["none.png"]) == []
        union = np.zeros((60, 90), bool)
        for annotation in coco.loadAnns(coco.getAnnIds(imgIds=images["b.png"])):
            union |= coco.annToMask(annotation).astype(bool)
        truth = np.asarray(Image.open("out/masks/b.png")) > 0
        difference = np.count_nonzero(union != truth)
        assert difference <= (0 if name == "annotations.json" else 20)


def test_every_bad_picture_gets_a_line_and_the_rest_goes_on(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    save("in/good.png", (20, 20, 40, 10))
    Path("in/empty.png").touch()
    Path("in/text.jpg").write_text("no picture")
    Path("in/cut.png").write_bytes(Path("in/good.png").read_bytes()[:80])
    Path("barren").mkdir()
    assert run("in", "gone.png", "barren", "*.tif", "--out", "out") == 1
    assert [row["image"] for row in table()] == ["in/good.png"]
    last = caplog.records[-1].getMessage()
    assert last.startswith("1 picture used, 6 files could not be used:\n")
    for words in (
        "in/empty.png: the file is empty",
        "in/text.jpg: the file is no image",
        "in/cut.png: the file is damaged",
        "gone.png: there is no such picture or folder",
        "barren: there are no images in this folder",
        "*.tif: no file fits this pattern",
    ):
        assert words in last
    assert len(last.splitlines()) == 7
    assert str(Path.cwd()) not in last  # all are named from here


@pytest.mark.parametrize("arguments", [["nix"], ["nix", "gone.png"], [""]])
def test_where_nothing_is_there_nothing_is_written(
    model: BrightModel, arguments: list[str]
) -> None:
    save("a.png", (20, 20, 40, 10))
    said = str(run(*arguments, "--out", "out"))
    assert "there is no such picture or folder" in said
    assert f"where:    {', '.join(arguments) or repr('')}\n" in said
    assert not Path("out").exists()


def test_a_path_that_is_missing_changes_no_other_name(model: BrightModel) -> None:
    save("in/a.png", (20, 20, 40, 10))
    assert run("in", "b.png", "--out", "out") == 1
    save("b.png", (20, 20, 30, 10))
    assert run("in", "b.png", "--out", "out") == 0
    assert [row["image"] for row in table()] == ["b.png", "in/a.png"]
    assert model.asked == 2


@pytest.mark.parametrize("option", ["--out", "--scales", "--model", "--decoder"])
def test_an_empty_path_does_not_mean_this_folder(
    model: BrightModel, option: str, capsys: pytest.CaptureFixture[str]
) -> None:
    save("a.png", (20, 20, 40, 10))
    assert run("a.png", "--out", "out", option, "") == 2
    assert f"argument {option}: the path is empty" in capsys.readouterr().err
    assert not Path("masks").exists()
    assert not Path("out").exists()


def test_files_among_the_masks_that_are_read_for_no_picture_are_named(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    save("in/c.png", (20, 20, 40, 10))
    save("in/sub/d.e.png", (20, 20, 40, 10))
    assert run("in", "--out", "out") == 0
    assert "to know" not in caplog.records[-1].getMessage()
    for name in ("c.jpg", "c.before.png", "c.before-2.png", ".DS_Store.png", "sub/d.e.tif"):
        save("out/masks/x.png").rename(f"out/masks/{name}")
    for name in ("copy of c.png", "sub/c.png", "notes.before.png"):
        save(f"out/masks/{name}")
    Path("out/masks/notes.txt").touch()
    assert run("in", "--out", "out") == 0
    _, _, said = caplog.records[-1].getMessage().partition("to know:\n")
    assert said.splitlines() == [
        "masks/c.jpg is not read: save it as masks/c.png",
        "masks/sub/d.e.tif is not read: save it as masks/sub/d.e.png",
        "masks/copy of c.png, masks/notes.before.png, masks/notes.txt, masks/sub/c.png: not read, "
        "for no picture here has that name",
    ]


def test_a_second_file_of_decisions_is_named(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    save("in/c.png", (20, 20, 40, 10))
    assert run("in", "--out", "out") == 0
    Path("out/decisions.csv").write_text("image,decision\nc.png,accepted\n")
    Path("out/decisions (1).csv").write_text("image,decision\nc.png,rejected\n")
    assert run("in", "--out", "out") == 0
    assert "decisions (1).csv: not read: give the one that counts" in caplog.text
    assert [row["decision"] for row in table()] == ["accepted"]


def test_rows_of_pictures_that_are_gone_are_named(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("a", "b"):
        save(f"in/{name}.png", (20, 20, 40, 10 if name == "a" else 12))
    assert run("in", "--out", "out") == 0
    assert "no longer" not in caplog.text
    Path("in/b.png").unlink()
    assert run("in", "--out", "out") == 0
    assert "b.png: in the tables, and no longer where the picture was" in caplog.text
    Path("out/masks/b.png").unlink()
    caplog.clear()
    assert run("in", "--out", "out") == 0
    assert "no longer" not in caplog.text
    assert [row["image"] for row in table()] == ["a.png"]


def test_a_picture_of_fewer_bits_than_its_file_is_pointed_out(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    Path("in").mkdir()
    grey = np.zeros((60, 90), np.uint16)
    grey[20:30, 20:60] = 4095
    Image.fromarray(grey).save("in/of12bits.png")
    Image.fromarray(16 * grey).save("in/of16bits.png")
    assert run("in", "--out", "out") == 0
    assert "of12bits.png: nearly black: no pixel is brighter than 16 of 255" in caplog.text
    assert caplog.text.count("nearly black") == 1


def test_a_mask_that_was_given_is_kept(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    """As one that was drawn by hand is, with the fish that it tells apart."""
    save("in/a.png", (20, 20, 40, 10))
    numbered = np.zeros((60, 90), np.uint8)
    numbered[20:40, 20:40], numbered[20:40, 40:70] = 1, 2
    Path("drawn").mkdir()
    Image.fromarray(numbered).save("drawn/a.png")

    def given() -> None:
        with pytest.raises(SystemExit) as stopped:
            cli.main(["measure", "in", "drawn", "--out", "out", "--mask-values", "numbered"])
        assert stopped.value.code == 0

    def found() -> list[tuple[str, str]]:
        return [(row["mask_from"], row["area_px"]) for row in table()]

    two = [("given", "600"), ("given", "400")]
    given()
    assert found() == two
    for options in ((), ("--min-share", "0.1"), ("--coco",)):
        assert run("in", "--out", "out", *options) == 0
        assert found() == two
    assert "1 of 1 images keep the masks that `fishseg measure` was given" in caplog.text
    given()
    assert found() == two
    assert model.asked == 0
    Path("out/masks/a.png").unlink()
    assert run("in", "--out", "out") == 0
    assert found() == [("model", "400")]


@pytest.mark.parametrize("size", [(45, 30), (180, 120)])
def test_a_mask_of_another_size_than_its_picture_is_pointed_out(
    model: BrightModel, caplog: pytest.LogCaptureFixture, size: tuple[int, int]
) -> None:
    """A part that was cut out may have the proportions of the picture."""
    save("in/a.png", (20, 20, 40, 10))
    assert run("in", "--out", "out") == 0
    save("out/masks/a.png", (5, 5, 20, 5), size=size)
    assert run("in", "--out", "out") == 0
    said = f"its mask is {size[0]}x{size[1]} pixels and was scaled to 90x60"
    assert said in caplog.records[-1].getMessage()
    with pytest.raises(SystemExit):
        cli.main(["measure", "in/a.png", "out/masks/a.png", "--out", "given"])
    assert f"a.png: {said}" in caplog.records[-1].getMessage()


def test_a_mask_that_does_not_fit_is_named_once(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    """It belongs to a picture, though that has no record."""
    save("in/a.png", (20, 20, 40, 10))
    assert run("in", "--out", "out") == 0
    save("in/b.png", (20, 20, 40, 10))
    save("out/masks/b.png", (1, 1, 3, 3), size=(30, 60))
    assert run("in", "--out", "out") == 1
    last = caplog.records[-1].getMessage()
    assert "out/masks/b.png: the mask does not fit" in last
    assert "not read" not in last


def test_odd_pictures_that_are_fine(model: BrightModel) -> None:
    save("in/one.png", (0, 0, 1, 1), size=(1, 1))
    save("in/panorama.png", (100, 2, 15_000, 20), size=(20_000, 30))
    Image.new("CMYK", (40, 30), (0, 0, 0, 0)).save("in/cmyk.jpg")
    frames = [Image.new("L", (40, 30), level) for level in (255, 0)]
    frames[0].save("in/moving.gif", save_all=True, append_images=frames[1:])
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("L", (90, 30), 255).save("in/turned.jpg", exif=exif)
    assert run("in", "--out", "out", "--coco", "--probabilities") == 0
    rows = {row["image"]: row for row in table()}
    assert rows["one.png"]["area_px"] == "1"
    assert float(rows["panorama.png"]["length_px"]) == pytest.approx(15_000, rel=0.01)
    assert rows["cmyk.jpg"]["area_px"] == "1200"
    assert rows["moving.gif"]["area_px"] == "1200"
    assert Image.open("out/masks/turned.png").size == (30, 90)


def test_finished_pictures_are_skipped(model: BrightModel) -> None:
    for name in "abc":
        save(f"in/{name}.png", (20, 20, 40, 10))
    assert run("in", "--out", "out") == 0
    first = Path("out/measurements.csv").read_bytes()
    assert model.asked == 3
    assert run("in", "--out", "out") == 0
    assert model.asked == 3
    assert Path("out/measurements.csv").read_bytes() == first
    Path("out/masks/a.png").unlink()
    save("in/b.png", (20, 20, 50, 10))
    save("in/d.png", (20, 20, 40, 10))
    assert run("in", "--out", "out") == 0
    assert model.asked == 6
    assert Path("out/masks/a.png").exists()
    assert [row["area_px"] for row in table()] == ["400", "500", "400", "400"]


def test_more_is_made_of_finished_pictures_without_the_model(model: BrightModel) -> None:
    save("in/a.png", (20, 20, 40, 10))
    save("in/b.png", (5, 5, 50, 10), (10, 40, 30, 10))
    assert run("in", "--out", "out") == 0
    assert run("in", "--out", "out", "--mm-per-px", "0.5") == 0
    assert [row["area_mm2"] for row in table()] == ["100.0", "125.0", "75.0"]
    assert run("in", "--out", "out", "--coco") == 0
    assert model.asked == 2
    assert run("in", "--out", "direct", "--coco") == 0
    for name in ("annotations.json", "annotations_polygons.json"):
        assert Path("out", name).read_bytes() == Path("direct", name).read_bytes()
    # The scale, once given, stays until another one is.
    assert [row["mm_per_px"] for row in table()] == ["0.5"] * 3
    assert run("in/b.png", "--out", "out", "--mm-per-px", "1") == 0
    assert [row["mm_per_px"] for row in table()] == ["0.5", "1.0", "1.0"]


def test_later_pictures_add_to_every_table(model: BrightModel) -> None:
    save("in/a.png", (20, 20, 40, 10))
    save("in/b.png", (20, 20, 30, 10))
    assert run("in", "--out", "out", "--coco") == 0
    save("c.png", (20, 20, 20, 10))
    assert run("c.png", "--out", "out") == 0
    assert [(row["image"], row["area_px"]) for row in table()] == [
        ("a.png", "400"),
        ("b.png", "300"),
        ("c.png", "200"),
    ]
    for name in ("annotations.json", "annotations_polygons.json"):
        content = json.loads(Path("out", name).read_text())
        assert [image["file_name"] for image in content["images"]] == ["a.png", "b.png", "c.png"]
        assert len(content["annotations"]) == 3
    # The picture of a row may be gone; whoever deletes the mask deletes the row.
    Path("in/a.png").unlink()
    Path("out/masks/b.png").unlink()
    assert run("c.png", "--out", "out") == 0
    assert [row["image"] for row in table()] == ["a.png", "c.png"]


def test_two_pictures_of_one_name_both_stay(model: BrightModel) -> None:
    save("day1/IMG_0001.jpg", (20, 20, 40, 10))
    save("day2/IMG_0001.jpg", (20, 20, 20, 10))
    save("old/day2/IMG_0001.jpg", (20, 20, 10, 10))
    save("old/day2/IMG_0001.png", (20, 20, 30, 10))
    runs = ["day1/IMG_0001.jpg", "day2", "old/day2/IMG_0001.jpg", "old/day2/IMG_0001.png"]
    for argument in runs:
        assert run(argument, "--out", "out") == 0
    expected = {
        "IMG_0001.jpg": ("IMG_0001", "400"),
        "day2/IMG_0001.jpg": ("day2/IMG_0001", "200"),
        "old/day2/IMG_0001.jpg": ("old/day2/IMG_0001", "100"),
        "IMG_0001.png": ("IMG_0001.png", "300"),
    }
    found = {row["image"]: int(row["area_px"]) for row in table()}
    assert found.keys() == expected.keys()
    for source, (name, area) in expected.items():
        # JPEG blurs an edge by a few pixels.
        assert found[source] == pytest.approx(int(area), abs=0.1 * int(area))
        mask = np.asarray(Image.open(f"out/masks/{name}.png")) > 0
        assert np.count_nonzero(mask) == found[source]
    before = Path("out/measurements.csv").read_bytes()
    # Known by its place, each keeps its name, whatever it is given with.
    assert run("day1", "day2", "old", "--out", "out") == 0
    assert run(".", "--out", "out") == 0
    assert model.asked == 4
    assert Path("out/measurements.csv").read_bytes() == before


@pytest.mark.parametrize("moved", ["pictures", "results", "both", "renamed"])
def test_what_has_been_moved_is_known_by_its_content(model: BrightModel, moved: str) -> None:
    save("trip/in/a.png", (20, 20, 40, 10))
    save("trip/in/b.png", (20, 20, 30, 10))
    assert run("trip/in", "--out", "trip/out") == 0
    before = Path("trip/out/measurements.csv").read_bytes()
    pictures, results = "trip/in", "trip/out"
    if moved == "pictures":
        Path("trip/in").rename("elsewhere")
        pictures = "elsewhere"
    elif moved == "results":
        Path("trip/out").rename("results")
        results = "results"
    elif moved == "both":
        Path("trip").rename("journey")
        pictures, results = "journey/in", "journey/out"
    else:
        Path("trip/in/a.png").rename("trip/in/z.png")
    assert run(pictures, "--out", results) == 0
    assert model.asked == 2
    assert Path(results, "measurements.csv").read_bytes() == before
    # A copy is a picture of its own.
    Path(pictures, "copy.png").write_bytes(Path(pictures, "b.png").read_bytes())
    assert run(pictures, "--out", results) == 0
    assert [row["image"] for row in table(results)] == ["a.png", "b.png", "copy.png"]


@pytest.mark.parametrize("by_hand", [False, True])
def test_a_picture_that_was_replaced_is_said(
    model: BrightModel, caplog: pytest.LogCaptureFixture, *, by_hand: bool
) -> None:
    """A mask drawn by hand goes with the picture that it was drawn of."""
    save("a.png", (20, 20, 40, 10))
    assert run("a.png", "--out", "out") == 0
    if by_hand:
        save("out/masks/a.png", (10, 20, 50, 10))
        assert run("a.png", "--out", "out") == 0
        assert [(row["area_px"], row["mask_from"]) for row in table()] == [("500", "hand")]
    for number, width in enumerate((20, 30), start=1):
        drawn = Path("out/masks/a.png").read_bytes()
        save("a.png", (20, 20, width, 10))
        assert run("a.png", "--out", "out") == 0
        assert [(row["area_px"], row["mask_from"]) for row in table()] == [(f"{width}0", "model")]
        said = caplog.records[-1].getMessage()
        assert "a.png: another picture than before" in said
        aside = Path(f"out/masks/a.before{'-2' if number == 2 else ''}.png")
        assert (f"masks/{aside.name} now" in said) == by_hand
        assert aside.exists() == by_hand
        if by_hand:
            assert aside.read_bytes() == drawn
            save("out/masks/a.png", (10, 20, 60, 10))
            assert run("a.png", "--out", "out") == 0


def test_a_mask_stays_where_the_file_changes_and_no_pixel_of_it(model: BrightModel) -> None:
    save("a.jpg", (20, 20, 40, 10))
    assert run("a.jpg", "--out", "out", "--mm-per-px", "0.5") == 0
    drawn = save("out/masks/a.png", (10, 20, 50, 10)).read_bytes()
    assert run("a.jpg", "--out", "out") == 0
    for _ in range(2):
        with Path("a.jpg").open("ab") as file:
            file.write(b"x")
        assert run("a.jpg", "--out", "out") == 0
        (row,) = table()
        assert (row["area_px"], row["mask_from"], row["mm_per_px"]) == ("500", "hand", "0.5")
        assert Path("out/masks/a.png").read_bytes() == drawn
    assert [path.name for path in Path("out/masks").iterdir()] == ["a.png"]
    assert model.asked == 1
    record = json.loads(Path("out/.fishseg/records/a.json").read_text())
    assert record["bytes"] == Path("a.jpg").stat().st_size


def test_a_mask_of_a_replaced_picture_that_was_painted_anew_counts(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    save("a.png", (20, 20, 40, 10))
    assert run("a.png", "--out", "out") == 0
    save("a.png", (20, 20, 20, 10))
    save("out/masks/a.png", (10, 20, 50, 10))
    assert run("a.png", "--out", "out") == 0
    assert [(row["area_px"], row["mask_from"]) for row in table()] == [("500", "hand")]
    said = caplog.records[-1].getMessage()
    assert "a.png: another picture than before" in said
    assert "masks/a.png was changed by hand: kept and measured" in said


def test_another_picture_does_not_inherit_the_scale(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    for name in ("in/a.png", "in/b.png"):
        save(name, (20, 20, 40, 10))
    assert run("in", "--out", "out", "--mm-per-px", "0.5") == 0
    save("in/a.png", (20, 20, 20, 10))
    assert run("in", "--out", "out") == 0
    assert [row["mm_per_px"] for row in table()] == ["", "0.5"]
    said = caplog.records[-1].getMessage()
    assert "its scale of before, 0.5 mm per pixel from --mm-per-px, was forgotten" in said
    save("in/a.png", (20, 20, 30, 10))
    save("in/b.png", (20, 20, 30, 10))
    assert run("in", "--out", "out", "--mm-per-px", "0.25") == 0
    assert [row["mm_per_px"] for row in table()] == ["0.25", "0.25"]
    assert "forgotten" not in caplog.records[-1].getMessage()


def test_one_run_at_a_time(model: BrightModel) -> None:
    save("in/a.png", (20, 20, 40, 10))
    assert run("in", "--out", "out") == 0
    before = Path("out/measurements.csv").read_bytes()
    save("in/b.png", (20, 20, 40, 10))
    with FileLock("out/.fishseg/lock"):
        assert "another run of fishseg" in str(run("in", "--out", "out"))
    assert Path("out/measurements.csv").read_bytes() == before
    assert run("in", "--out", "out") == 0
    assert len(table()) == 2


class StoppedModel(BrightModel):
    """Is interrupted, as by Ctrl-C, at a picture."""

    def __init__(self, at: int) -> None:
        super().__init__()
        self.at = at

    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self.asked == self.at:
            raise KeyboardInterrupt
        return super().probability(image)


@pytest.mark.parametrize("at", [0, 1, 4, 7])
def test_an_interrupted_run_loses_nothing(
    model: BrightModel, monkeypatch: pytest.MonkeyPatch, at: int
) -> None:
    for number in range(8):
        save(f"in/{number}.png", (20, 20, 40, 10), (80, 50, 2, 2))
    stopped = StoppedModel(at)
    use(monkeypatch, stopped, "bright")
    assert "interrupted" in str(run("in", "--out", "out"))
    # What was finished is in the table; what was on its way to the disk may be.
    assert at - 3 <= len(table()) <= at
    use(monkeypatch, model, "bright")
    assert run("in", "--out", "out") == 0
    assert len(table()) == 8
    assert 8 - at <= model.asked <= 8


@pytest.mark.parametrize("at", [0, 1, 5, 8])
def test_old_rows_stay_until_new_ones_replace_them(
    model: BrightModel,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    at: int,
) -> None:
    for number in range(8):
        save(f"in/{number}.png", (20, 20, 40, 10), (80, 50, 2, 2))
    assert run("in", "--out", "out") == 0
    stopped = StoppedModel(at)
    use(monkeypatch, stopped, "bright")
    status = run("in", "--out", "out", "--min-share", "0")
    assert ("interrupted" in str(status)) == (at < 8)
    rows = [row["image"] for row in table()]
    assert sorted(set(rows)) == [f"{number}.png" for number in range(8)]
    n_new = len(rows) - 8
    assert at - 3 <= n_new <= at
    assert (f"{8 - n_new} of 8 images were predicted" in caplog.text) == (n_new < 8)


@pytest.mark.parametrize("step", range(8))
def test_a_run_that_dies_between_two_files_is_gone_on_with(
    model: BrightModel, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    """As by a power cut: no clean-up, a mask that no finished record tells of."""
    save("a.png", (20, 20, 40, 10), (80, 50, 2, 2))
    assert run("a.png", "--out", "out") == 0
    put = Results._put
    done = 0

    def dies(results: Results, target: Path, content: bytes) -> None:
        nonlocal done
        done += 1
        if done > step:
            raise DiskFullError("the power is gone")
        put(results, target, content)

    use(monkeypatch, DimModel(), "dim")
    monkeypatch.setattr(Results, "_put", dies)
    status = run("a.png", "--out", "out")
    monkeypatch.setattr(Results, "_put", put)
    assert ("power" in str(status)) == (step < 7)
    assert len(table()) == (step < 7)
    assert run("a.png", "--out", "out") == 0
    assert not np.asarray(Image.open("out/masks/a.png")).any()
    assert table() == []


class DimModel(BrightModel):
    """Never finds a fish."""

    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        return super().probability(image) / np.float32(3)


def test_a_mask_corrected_by_hand_is_kept_and_measured(
    model: BrightModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save("in/a.png", (20, 20, 40, 10))
    save("in/b.png", (20, 20, 40, 10))
    assert run("in", "--out", "out", "--coco") == 0
    drawn = save("out/masks/a.png", (10, 20, 50, 10))
    before = drawn.read_bytes()
    assert run("in", "--out", "out", "--coco") == 0
    assert drawn.read_bytes() == before
    assert model.asked == 2
    last = caplog.records[-1].getMessage()
    assert "a.png: masks/a.png was changed by hand: kept and measured" in last
    first, second = table()
    assert (first["area_px"], first["mask_from"], first["confidence"]) == ("500", "hand", "")
    assert (second["area_px"], second["mask_from"], second["confidence"]) == ("400", "model", "1.0")
    content = json.loads(Path("out/annotations.json").read_text())
    assert [one["area"] for one in content["annotations"]] == [500, 400]
    assert [one.get("score") for one in content["annotations"]] == [None, 1.0]
    # It stays, whatever is run, and is not spoken of again.
    use(monkeypatch, model, "another")
    assert run("in", "--out", "out") == 0
    assert drawn.read_bytes() == before
    assert "changed by hand" not in caplog.records[-1].getMessage()
    assert [row["area_px"] for row in table()] == ["500", "400"]
    # Painted once more, measured once more; deleted, predicted.
    save("out/masks/a.png", (10, 20, 30, 10))
    assert run("in", "--out", "out") == 0
    assert [row["area_px"] for row in table()] == ["300", "400"]
    drawn.unlink()
    assert run("in", "--out", "out") == 0
    assert [(row["area_px"], row["mask_from"]) for row in table()] == [("400", "model")] * 2


def test_outlines_are_of_masks_that_were_measured(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    save("in/a.png", (20, 20, 40, 10))
    save("in/b.png", (20, 20, 40, 10))
    assert run("in", "--out", "out") == 0
    save("out/masks/a.png", (5, 5, 20, 10), (10, 40, 30, 10))
    assert run("in/b.png", "--out", "out", "--coco") == 0
    assert "masks/a.png is not the one that was measured" in caplog.text
    content = json.loads(Path("out/annotations.json").read_text())
    assert [image["file_name"] for image in content["images"]] == ["b.png"]
    assert len(content["annotations"]) == 1
    assert run("in", "--out", "out", "--coco") == 0
    content = json.loads(Path("out/annotations.json").read_text())
    assert len(content["annotations"]) == 3


def test_a_mask_that_was_there_before_any_prediction_is_kept(model: BrightModel) -> None:
    save("in/a.png", (20, 20, 40, 10))
    assert run("in", "--out", "out") == 0
    save("in/b.png", (20, 20, 40, 10))
    mine = save("out/masks/b.png", (20, 20, 10, 10))
    before = mine.read_bytes()
    assert run("in", "--out", "out") == 0
    assert mine.read_bytes() == before
    assert [row["area_px"] for row in table()] == ["400", "100"]


def test_a_corrected_mask_that_cannot_be_used_is_kept_and_named(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    save("a.png", (20, 20, 40, 10))
    assert run("a.png", "--out", "out") == 0
    save("out/masks/a.png", (1, 1, 3, 3), size=(30, 60))
    assert run("a.png", "--out", "out") == 1
    assert "out/masks/a.png: the mask does not fit" in caplog.records[-1].getMessage()
    assert Image.open("out/masks/a.png").size == (30, 60)
    assert [row["area_px"] for row in table()] == ["400"]


def test_another_model_starts_anew(model: BrightModel, monkeypatch: pytest.MonkeyPatch) -> None:
    save("a.png", (20, 20, 40, 10))
    assert run("a.png", "--out", "out") == 0
    use(monkeypatch, model, "another")
    assert run("a.png", "--out", "out") == 0
    assert model.asked == 2


def test_a_closer_look_is_another_model(model: BrightModel) -> None:
    save("a.png", (20, 20, 20, 5))
    assert run("a.png", "--out", "out") == 0
    assert model.asked == 1
    assert run("a.png", "--out", "out", "--fine") == 0
    assert model.asked == 3  # the whole picture again, and around the fish
    assert run("a.png", "--out", "out", "--fine") == 0
    assert model.asked == 3
    assert table()[0]["area_px"] == "100"


def test_a_damaged_record_is_made_anew(model: BrightModel) -> None:
    save("a.png", (20, 20, 40, 10))
    assert run("a.png", "--out", "out") == 0
    record = Path("out/.fishseg/records/a.json")
    for damage in ("{", "[]", "{}", '{"source": 1}'):
        record.write_text(damage)
        # Nothing tells whose mask it is, so it is not touched.
        assert run("a.png", "--out", "out") == 0
        assert [(row["area_px"], row["mask_from"]) for row in table()] == [("400", "hand")]
    Path("out/masks/a.png").unlink()
    assert run("a.png", "--out", "out") == 0
    assert [(row["area_px"], row["mask_from"]) for row in table()] == [("400", "model")]


def test_results_within_the_input_folder_are_no_input(model: BrightModel) -> None:
    save("in/a.png", (20, 20, 40, 10))
    assert run("in", "--out", "in") == 0
    assert run("in", "--out", "in") == 0
    assert [row["image"] for row in table("in")] == ["a.png"]


def test_what_others_have_made_is_never_overwritten(model: BrightModel) -> None:
    mine = save("in/masks/a.png", (1, 1, 3, 3))
    before = mine.read_bytes()
    save("in/a.png", (20, 20, 40, 10))
    assert "fishseg did not write" in str(run("in/a.png", "--out", "in"))
    assert mine.read_bytes() == before
    assert not Path("in/overlays").exists()


def test_a_picture_is_never_overwritten_by_its_own_mask(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    save("a.png", (20, 20, 40, 10))
    assert run("a.png", "--out", "out") == 0
    other = save("out/masks/b.png", (20, 20, 30, 10))
    before = other.read_bytes()
    assert run("out/masks/b.png", "--out", "out") == 1
    assert "would overwrite" in caplog.records[-1].getMessage()
    assert other.read_bytes() == before


def test_earlier_results_beside_it_are_left_out_and_named(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    save("a.png", (20, 20, 40, 10))
    assert run(".", "--out", "out1", "--probabilities") == 0
    assert run(".", "--out", "out2") == 0
    assert [row["image"] for row in table("out2")] == ["a.png"]
    last = caplog.records[-1].getMessage()
    assert "1 picture used" in last
    assert "out1/masks, out1/measurements.csv" in last
    assert "results of fishseg" in last
    assert run("out1", "--out", "out3") == 1
    assert "there are no images in this folder" in caplog.records[-1].getMessage()


@pytest.mark.parametrize("failure", [errno.ENOSPC, errno.EDQUOT])
def test_a_full_disk_ends_the_run_and_is_resumed(
    model: BrightModel, monkeypatch: pytest.MonkeyPatch, failure: int
) -> None:
    for name in "abcdef":
        save(f"in/{name}.png", (20, 20, 40, 10))
    replace = Path.replace

    def full(part: Path, target: Path) -> Path:
        if target.parent.name == "masks" and target.name >= "c.png":
            raise OSError(failure, "full")
        return replace(part, target)

    monkeypatch.setattr(Path, "replace", full)
    message = str(run("in", "--out", "out"))
    assert "no space left" in message
    assert "same command again" in message
    assert len(table()) == 2
    monkeypatch.setattr(Path, "replace", replace)
    model.asked = 0
    assert run("in", "--out", "out") == 0
    assert model.asked == 4
    assert len(table()) == 6


def test_where_nothing_can_be_written_one_message_says_so(model: BrightModel) -> None:
    save("a.png", (20, 20, 40, 10))
    Path("file").write_text("")
    assert "cannot be written" in str(run("a.png", "--out", "file/out"))


def test_a_picture_too_large_for_memory_is_left_out(
    model: BrightModel, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    save("in/a.png", (20, 20, 40, 10))
    save("in/wide.png", (20, 20, 40, 10), size=(200, 60))

    def probability(image: NDArray[np.uint8]) -> NDArray[np.float32]:
        if image.shape[1] == 200:
            raise RuntimeError("DefaultCPUAllocator: can't allocate memory")
        return np.asarray(image[..., 0] / 255, np.float32)

    monkeypatch.setattr(model, "probability", probability)
    assert run("in", "--out", "out") == 1
    assert "not enough memory" in caplog.records[-1].getMessage()
    assert len(table()) == 1


def test_small_parts_and_the_share(model: BrightModel) -> None:
    save("a.png", (20, 20, 40, 10), (80, 50, 2, 2))
    assert run("a.png", "--out", "out") == 0
    assert len(table()) == 1
    assert run("a.png", "--out", "out", "--min-share", "0") == 0
    assert len(table()) == 2
    assert "--min-share" in str(run("a.png", "--out", "out", "--min-share", "2"))


def test_what_to_look_at_is_said(model: BrightModel, caplog: pytest.LogCaptureFixture) -> None:
    save("in/fine.png", (20, 20, 40, 10))
    save("in/near.png", (1, 20, 40, 10))
    y, x = np.mgrid[:60, :90]
    Image.fromarray(np.hypot(x - 45, y - 30) < 20).save("in/round.png")
    assert run("in", "--out", "out") == 0
    assert {row["image"]: row["check"] for row in table()} == {
        "fine.png": "",
        "near.png": "at the frame",
        "round.png": "too deep for a fish",
    }
    assert "2 fish to look at" in caplog.text
    assert "trained on what is bright" in caplog.text


def test_fish_of_little_confidence_are_left_out(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    save("a.png", (20, 20, 40, 10))
    # Brighter than one half, but not by much: the strict mask misses it.
    pixels = np.asarray(Image.open("a.png")).copy()
    pixels[50:56, 10:60] = 140
    Image.fromarray(pixels).save("a.png")
    assert run("a.png", "--out", "out") == 0
    assert [float(row["confidence"]) for row in table()] == [1, 0]
    assert run("a.png", "--out", "out", "--min-confidence", "0,5") == 0
    assert [float(row["confidence"]) for row in table()] == [1]
    assert "1 fish below --min-confidence" in caplog.text
    assert "1 fish in 1 images; 0 images without a fish" in caplog.text
    page = Path("out/index.html").read_text()
    assert '"Fish":"1","Fish below --min-confidence":"1"' in page
    assert '"n_fish":1,"confidence":1.0' in page
    assert '"check":"1 fish below --min-confidence","look":"something odd"' in page
    assert model.asked == 1
    assert run("a.png", "--out", "out") == 0
    assert len(table()) == 2
    for wrong in ("2", "-0.1", "nan"):
        assert "--min-confidence" in str(run("a.png", "--out", "out", "--min-confidence", wrong))


def test_pictures_without_a_fish_are_named(
    model: BrightModel, caplog: pytest.LogCaptureFixture
) -> None:
    """Those too whose fish are all left out; the page counts as the terminal does."""
    save("in/fish.png", (20, 20, 40, 10))
    for number in range(6):
        save(f"in/none{number}.png")
    Image.fromarray(np.full((60, 90), 140, np.uint8)).save("in/a.png")
    assert run("in", "--out", "out", "--min-confidence", "0.5") == 0
    names = "none0.png, none1.png, none2.png, none3.png, none4.png and 1 more"
    assert f"1 fish in 8 images; 6 images without a fish: {names}" in caplog.text
    assert (
        "1 fish below --min-confidence are left out of the table; there is no other in a.png"
        in (caplog.text)
    )
    page = Path("out/index.html").read_text()
    assert page.count('"n_fish":0') == 7
    assert page.count('"check":"1 fish below --min-confidence"') == 1


@pytest.mark.parametrize(
    ("card", "words"),
    [
        ({"trained_on": {"Sea Bass": 12, "Trout": 30}}, "trained on 42 images of Sea Bass, Trout"),
        ({"trained_on": {}}, "does not say what it was trained on"),
        ({}, "does not say what it was trained on"),
    ],
)
def test_what_a_decoder_was_trained_on(card: dict[str, object], words: str) -> None:
    assert words in models.about(card)


def test_records_hold_no_times_or_machines(model: BrightModel) -> None:
    save("in/a.png", (20, 20, 40, 10))
    for out in ("first", "second"):
        assert run("in", "--out", out, "--coco") == 0
    for file in sorted(path for path in Path("first").rglob("*") if path.is_file()):
        again = Path("second") / file.relative_to("first")
        assert file.read_bytes() == again.read_bytes(), file
    record = json.loads(Path("first/.fishseg/records/a.json").read_text())
    assert record["files"] == [
        "masks/a.png",
        "overlays/a.png",
        *(f"pictures/a/{name}" for name in ("mask.png", "picture.webp", "thumbnail.webp")),
    ]


def test_help_needs_nothing_that_is_slow_to_import() -> None:
    script = (
        "import sys, fishseg.cli\n"
        "try: fishseg.cli.main(['predict', '--help'])\n"
        "except SystemExit: pass\n"
        "slow = {'torch', 'transformers', 'matplotlib', 'cv2', 'scipy'} & set(sys.modules)\n"
        "sys.exit(str(slow) if slow else 0)"
    )
    assert subprocess.run([sys.executable, "-c", script], check=False).returncode == 0


class ApartModel(BrightModel):
    """Tells fish apart where a picture has a grey line."""

    def answer(self, image: NDArray[np.uint8]) -> Answer:
        probability = self.probability(image)
        return Answer(probability, np.where(probability > 0.9, probability, 0).astype(np.float32))


@pytest.mark.parametrize("fine", [[], ["--fine"]])
def test_fish_that_touch_are_counted_and_outlined_apart(
    workspace: Path, monkeypatch: pytest.MonkeyPatch, fine: list[str]
) -> None:
    use(monkeypatch, ApartModel(), "apart")
    path = save("a.png", (10, 20, 70, 20))
    pixels = np.asarray(Image.open(path)).copy()
    pixels[20:40, 48:51] = 200
    Image.fromarray(pixels).save(path)
    assert run("a.png", "--out", "out", *fine) == 0
    first, second = table()
    assert int(first["area_px"]) + int(second["area_px"]) == 1400
    assert int(first["area_px"]) == pytest.approx(38 * 20, abs=40)
    # The outlines are asked for later, when the mask alone is there: it is of one part.
    assert run("a.png", "--out", "out", "--coco", *fine) == 0
    annotations = json.loads(Path("out/annotations.json").read_text())["annotations"]
    assert [one["area"] for one in annotations] == [int(row["area_px"]) for row in table()]
    use(monkeypatch, BrightModel(), "bright")
    assert run("a.png", "--out", "plain") == 0
    assert len(table("plain")) == 1
