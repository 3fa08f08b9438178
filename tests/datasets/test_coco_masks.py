from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from PIL import Image

from fishseg.datasets import coco, local
from fishseg.datasets.layout import find_pairs, read_problems
from fishseg.errors import DataError
from fishseg.measurement import coco as written
from fishseg.params import DataParams

if TYPE_CHECKING:
    from collections.abc import Callable

mask_api = pytest.importorskip("pycocotools.mask", reason="pip install '.[dev]'")
PLACES = (
    "annotations.json",
    "instances.json",
    "result.json",
    "_annotations.coco.json",
    "images/_annotations.coco.json",
    "annotations/instances.json",
    "annotations/instances_default.json",
    "annotations/instances_Train.json",
)
SIZE = (12, 20)
SQUARE = [2, 3, 7, 3, 7, 8, 2, 8]
CROWD = {"size": list(SIZE), "counts": [12 * 15 + 4, 3, 12 * 5 - 7]}


def write(folder: Path, *annotations: dict[str, Any], **changed: Any) -> Path:
    """A COCO file of the pictures a.jpg and b.jpg, and those pictures."""
    folder.mkdir(parents=True, exist_ok=True)
    images = []
    for number, name in enumerate(("a.jpg", "b.jpg"), start=1):
        Image.new("RGB", SIZE[::-1]).save(folder / name)
        images.append({"id": number, "file_name": name, "width": SIZE[1], "height": SIZE[0]})
    tree = {
        "images": images,
        "categories": [{"id": 1, "name": "Trout"}, {"id": 2, "name": "Shrimp"}],
        "annotations": [
            {"id": number, "category_id": 1, "iscrowd": 0, **annotation}
            for number, annotation in enumerate(annotations, start=1)
        ],
        **changed,
    }
    path = folder / "annotations.json"
    path.write_text(json.dumps(tree), encoding="utf-8")
    return path


def square() -> Any:
    mask = np.zeros(SIZE, bool)
    mask[3:8, 2:7] = True
    return mask


def masks(path: Path) -> dict[str, Any]:
    return {picture.file_name: picture.mask() for picture in coco.read(path)[0]}


def test_a_polygon_holds_the_pixels_whose_centres_lie_in_it(tmp_path: Path) -> None:
    found = masks(write(tmp_path, {"image_id": 1, "segmentation": [SQUARE]}))
    assert np.array_equal(found["a.jpg"], square())
    assert not found["b.jpg"].any()


def test_polygons_agree_with_pycocotools(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for _ in range(20):
        angles = np.sort(rng.uniform(0, 2 * np.pi, 12))
        radii = rng.uniform(30, 90, 12)
        corners = np.stack([150 + radii * np.cos(angles), 100 + radii * np.sin(angles)], axis=1)
        polygon = corners.round(2).ravel().tolist()
        theirs = mask_api.decode(mask_api.merge(mask_api.frPyObjects([polygon], 200, 300))) > 0
        images = [{"id": 1, "file_name": "a.jpg", "width": 300, "height": 200}]
        path = write(tmp_path, {"image_id": 1, "segmentation": [polygon]}, images=images)
        ours = masks(path)["a.jpg"]
        # They round corners to a fifth of a pixel: outlines may differ by a pixel here and there.
        assert (ours & theirs).sum() / (ours | theirs).sum() > 0.98


def test_overlapping_polygons_and_parts_are_one_mask(tmp_path: Path) -> None:
    shifted = [5, 3, 10, 3, 10, 8, 5, 8]
    path = write(
        tmp_path,
        {"image_id": 1, "segmentation": [SQUARE, shifted]},
        {"image_id": 1, "segmentation": [[1, 1, 3, 1, 3, 4, 1, 4]]},
    )
    expected = square()
    expected[3:8, 5:10] = True
    expected[1:4, 1:3] = True
    assert np.array_equal(masks(path)["a.jpg"], expected)


def test_a_crowd_is_fish(tmp_path: Path) -> None:
    path = write(tmp_path, {"image_id": 2, "iscrowd": 1, "segmentation": CROWD})
    expected = np.zeros(SIZE, bool)
    expected[4:7, 15] = True
    assert np.array_equal(masks(path)["b.jpg"], expected)


def test_compressed_run_lengths_are_those_of_pycocotools(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for share in (0, 0.01, 0.5, 0.99, 1):
        mask = rng.random(SIZE) < share
        packed = mask_api.encode(np.asfortranarray(mask.astype(np.uint8)))
        runs = {"size": list(SIZE), "counts": packed["counts"].decode()}
        path = write(tmp_path, {"image_id": 1, "segmentation": runs})
        assert np.array_equal(masks(path)["a.jpg"], mask)


def test_what_fishseg_writes_comes_back(tmp_path: Path) -> None:
    rows, columns = np.mgrid[:200, :300]
    mask = ((columns - 150) / 120) ** 2 + ((rows - 90) / 40) ** 2 < 1
    images = [{"id": 1, "file_name": "a.jpg", "width": 300, "height": 200}]
    exact = {"image_id": 1, "segmentation": written.run_lengths(mask, (0, 0), mask.shape)}
    assert np.array_equal(masks(write(tmp_path, exact, images=images))["a.jpg"], mask)
    near = {"image_id": 1, "segmentation": written.polygons(mask, (0, 0))}
    found = masks(write(tmp_path, near, images=images))["a.jpg"]
    assert (found & mask).sum() / (found | mask).sum() > 0.99


@pytest.mark.parametrize(
    ("segmentation", "message"),
    [
        ({"size": [20, 12], "counts": [240]}, "run lengths of 12x20"),
        ({"size": list(SIZE), "counts": [3, 4]}, "do not add up"),
        ({"size": list(SIZE), "counts": "\x01"}, "a letter that has no meaning"),
        ([[1, 2, 3, 4]], "three corners"),
        ([[1, 2, 3, 4, 5]], "cannot reshape"),
        ([], "boxes, but no outlines"),
        (None, "boxes, but no outlines"),
        ("outline", "neither a list of polygons nor run lengths"),
    ],
)
def test_a_segmentation_that_makes_no_sense_is_one_line(
    segmentation: Any, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path / "raw", {"image_id": 1, "segmentation": segmentation})
    pairs, problems = coco.write_pairs([path], tmp_path / "raw", tmp_path / "masks")
    assert [pair.image_path.name for pair in pairs] == ["b.jpg"]
    (problem,) = problems
    assert problem.path == "a.jpg"
    assert message in problem.message


def test_boxes_beside_outlines_do_no_harm(tmp_path: Path) -> None:
    """Label Studio has a rectangle of its own for the box of every polygon."""
    box = {"image_id": 1, "segmentation": [], "bbox": [1, 2, 7, 6]}
    found = masks(write(tmp_path, box, {"image_id": 1, "segmentation": [SQUARE]}))
    assert np.array_equal(found["a.jpg"], square())


def test_the_box_of_a_fish_of_two_parts_does_no_harm(tmp_path: Path) -> None:
    parts = [SQUARE, [12, 3, 17, 3, 17, 8, 12, 8]]
    outlines = [{"image_id": 1, "segmentation": [part]} for part in parts]
    path = write(tmp_path, {"image_id": 1, "bbox": [2, 3, 15, 5]}, *outlines)
    assert masks(path)["a.jpg"].sum() == 50


@pytest.mark.parametrize(
    "bbox",
    [[12, 3, 6, 6], [5, 3, 9, 6], [0, 0, 20, 12], [2, 3, 0, 0], [], None],
    ids=["beside", "overlapping", "around several", "empty", "none", "null"],
)
def test_a_fish_with_a_box_only_leaves_its_picture_out(bbox: Any, tmp_path: Path) -> None:
    boxed = {"image_id": 1, "segmentation": [], "bbox": bbox}
    path = write(tmp_path / "raw", {"image_id": 1, "segmentation": [SQUARE]}, boxed)
    pairs, problems = coco.write_pairs([path], tmp_path / "raw", tmp_path / "masks")
    assert [pair.image_path.name for pair in pairs] == ["b.jpg"]
    assert [(one.kind, one.path) for one in problems] == [("mask_without_image", "a.jpg")]
    assert "1 of its fish have boxes, but no outlines" in problems[0].message
    assert "annotation 2" in problems[0].message


@pytest.mark.parametrize("side", [0, -1, 10**9])
def test_a_size_that_no_picture_has_leaves_it_out(side: int, tmp_path: Path) -> None:
    images = [
        {"id": 1, "file_name": "a.jpg", "width": 20, "height": side},
        {"id": 2, "file_name": "b.jpg", "width": 20, "height": 12},
    ]
    annotation = {"image_id": 1, "segmentation": [SQUARE]}
    path = write(tmp_path / "raw", annotation, images=images)
    pairs, problems = coco.write_pairs([path], tmp_path / "raw", tmp_path / "masks")
    assert [pair.image_path.name for pair in pairs] == ["b.jpg"]
    (problem,) = problems
    assert f"no picture has the size that the file says: 20x{side}" in problem.message


@pytest.mark.parametrize("category", [1, 2])
def test_a_picture_that_is_listed_twice_is_left_out(category: int, tmp_path: Path) -> None:
    names = ["a.jpg", "images/a.jpg", "b.jpg"]
    images = [
        {"id": number, "file_name": name, "width": 20, "height": 12}
        for number, name in enumerate(names)
    ]
    path = write(
        tmp_path / "raw",
        {"image_id": 0, "segmentation": [SQUARE]},
        {"image_id": 1, "segmentation": [SQUARE], "category_id": category},
        images=images,
    )
    pairs, problems = coco.write_pairs([path], tmp_path / "raw", tmp_path / "masks")
    assert [pair.image_path.name for pair in pairs] == ["b.jpg"]
    assert [(one.kind, one.path) for one in problems] == [("duplicate_stem", "a.jpg")]
    assert "this picture is listed 2 times, in annotations.json" in problems[0].message


def test_names_that_differ_in_case_are_one(tmp_path: Path) -> None:
    images = [
        {"id": number, "file_name": name, "width": 20, "height": 12}
        for number, name in enumerate(["a.jpg", "A.png"])
    ]
    path = write(tmp_path / "raw", images=images)
    Image.new("RGB", SIZE[::-1]).save(tmp_path / "raw/A.png")
    pairs, problems = coco.write_pairs([path], tmp_path / "raw", tmp_path / "masks")
    assert [pair.sample_id for pair in pairs] == ["fish/a"]
    assert ("duplicate_stem", "A.png") in [(one.kind, one.path) for one in problems]


@pytest.mark.parametrize(
    ("names", "classes"),
    [
        (("Fish", "Shrimp"), ["Fish", "Fish"]),
        (("Fish ", "fish"), ["Fish", "Fish"]),  # the second is of no annotation
        (("Trout", "Fish"), ["Trout", "fish"]),
    ],
)
def test_the_class_of_pictures_without_fish_is_spelled_like_a_category(
    names: tuple[str, str], classes: list[str], tmp_path: Path
) -> None:
    categories = [{"id": number, "name": name} for number, name in enumerate(names, start=1)]
    path = write(tmp_path, {"image_id": 1, "segmentation": [SQUARE]}, categories=categories)
    assert [picture.class_name for picture in coco.read(path)[0]] == classes


def test_what_does_not_fit_is_named(tmp_path: Path) -> None:
    images = [
        {"id": 1, "file_name": "sub/a.jpg", "width": 20, "height": 12},
        {"id": 2, "file_name": "gone.jpg", "width": 20, "height": 12},
    ]
    path = write(
        tmp_path / "raw",
        {"image_id": 1, "segmentation": [SQUARE]},
        {"image_id": 77, "segmentation": [SQUARE]},
        {"image_id": 77, "segmentation": [SQUARE]},
        images=images,
    )
    pairs, problems = coco.write_pairs([path], tmp_path / "raw", tmp_path / "masks")
    assert [pair.sample_id for pair in pairs] == ["Trout/a"]
    assert [(one.kind, one.path) for one in problems] == [
        ("annotation_without_image", "annotations.json"),
        ("image_without_mask", "b.jpg"),
        ("mask_without_image", "gone.jpg"),
    ]
    assert "2 annotations are of a picture 77" in problems[0].message


def test_names_that_tools_have_changed_are_found(tmp_path: Path) -> None:
    images = [
        {"id": 1, "file_name": "3f2a9c01-a.jpg", "width": 20, "height": 12},
        {"id": 2, "file_name": "images\\b.jpg", "width": 20, "height": 12},
    ]
    path = write(tmp_path / "raw", images=images)
    pairs, problems = coco.write_pairs([path], tmp_path / "raw", tmp_path / "masks")
    assert [pair.image_path.name for pair in pairs] == ["a.jpg", "b.jpg"]
    assert problems == []


@pytest.mark.parametrize("text", ["", "{", "[]", '{"images": []}', '{"images": 3}'])
def test_another_file_is_an_error(text: str, tmp_path: Path) -> None:
    path = tmp_path / "annotations.json"
    path.write_text(text)
    with pytest.raises(DataError, match="no COCO file"):
        coco.read(path)


def wanted(path: str) -> DataParams:
    return DataParams(
        source="local",
        scene="market",
        path=path,
        seed=0,
        photos_per_class=1,
        copies_per_photo=1,
        wrong_mask_share=0,
        mask_values="auto",
    )


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("FISHSEG_STORE", raising=False)


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.usefixtures("here")
def test_a_folder_with_a_coco_file_is_a_source(place: str) -> None:
    path = write(
        Path("mine/images"),
        {"image_id": 1, "segmentation": [SQUARE]},
        {"image_id": 5, "segmentation": [SQUARE]},
    )
    (Path("mine") / place).parent.mkdir(exist_ok=True)
    path.rename(Path("mine") / place)
    local.download(wanted("mine"), Path("raw"))
    top = Path("raw/Fish_Dataset/Fish_Dataset")
    found = np.asarray(Image.open(top / "Trout/Trout GT/a.png")) == 255
    assert np.array_equal(found, square())
    # No annotation: no fish.
    assert not np.asarray(Image.open(top / "fish/fish GT/b.png")).any()
    (problem,) = read_problems(Path("raw") / local.PROBLEMS_FILE)
    assert problem.kind == "annotation_without_image"


@pytest.mark.parametrize("outer", ["", "outer", "outer/inner"])
@pytest.mark.parametrize("place", PLACES)
@pytest.mark.usefixtures("here")
def test_a_zip_with_a_coco_file_is_a_source(outer: str, place: str) -> None:
    top = Path("packed") / outer
    path = write(top / "images", {"image_id": 1, "segmentation": [SQUARE]})
    (top / place).parent.mkdir(exist_ok=True)
    path.rename(top / place)
    shutil.make_archive("mine", "zip", "packed")
    local.download(wanted("mine.zip"), Path("raw"))
    masks = sorted(Path("raw").rglob("* GT/*.png"))
    assert [mask.name for mask in masks] == ["a.png", "b.png"]


@pytest.mark.usefixtures("here")
def test_a_category_fish_beside_a_picture_without_one_can_be_audited() -> None:
    annotation = {"image_id": 1, "segmentation": [SQUARE]}
    write(Path("mine"), annotation, categories=[{"id": 1, "name": "Fish"}])
    local.download(wanted("mine"), Path("raw"))
    pairs, problems = find_pairs(Path("raw"))
    assert [pair.sample_id for pair in pairs] == ["Fish/a", "Fish/b"]
    assert problems == []


@pytest.mark.parametrize(
    "name",
    ["..", ".cod", "a/b", "a\\b", "/tmp", "Fish_Dataset", "NA_Fish_Dataset", "__MACOSX", "a\0b"],
)
@pytest.mark.usefixtures("here")
def test_a_category_that_can_be_no_folder_is_refused(name: str) -> None:
    annotation = {"image_id": 1, "segmentation": [SQUARE]}
    write(Path("in/mine"), annotation, categories=[{"id": 1, "name": name}])
    with pytest.raises(DataError, match="a class cannot be called") as caught:
        local.download(wanted("in/mine"), Path("in/raw"))
    assert repr(name) in caught.value.what
    assert sorted(path.name for path in Path("in").iterdir()) == ["mine"]


@pytest.mark.usefixtures("here")
def test_categories_that_make_one_folder_are_refused() -> None:
    annotations = [
        {"image_id": number, "category_id": number, "segmentation": [SQUARE]} for number in (1, 2)
    ]
    categories = [{"id": 1, "name": "Sea Bass"}, {"id": 2, "name": "sea-bass"}]
    write(Path("mine"), *annotations, categories=categories)
    with pytest.raises(DataError, match="classes Sea Bass, sea-bass apart"):
        local.download(wanted("mine"), Path("raw"))


# Several files of one set


def part(folder: Path, file: Path, *names: str, fish: int = 1, category: str = "Trout") -> None:
    """A COCO file of pictures of these names, and those pictures; the first ``fish`` have one.

    Ids begin anew in each file, and the id of the category is another in each.
    """
    folder.mkdir(parents=True, exist_ok=True)
    file.parent.mkdir(parents=True, exist_ok=True)
    for name in names:
        Image.new("RGB", SIZE[::-1]).save(folder / name)
    tree = {
        "images": [
            {"id": number, "file_name": name, "width": SIZE[1], "height": SIZE[0]}
            for number, name in enumerate(names)
        ],
        "categories": [{"id": len(names), "name": category}],
        "annotations": [
            {"id": number, "image_id": number, "category_id": len(names), "segmentation": [SQUARE]}
            for number in range(fish)
        ],
    }
    file.write_text(json.dumps(tree), encoding="utf-8")


def roboflow(top: Path) -> None:
    for split, names in (
        ("train", ("a.jpg", "b.jpg")),
        ("valid", ("c.jpg",)),
        ("test", ("d.jpg",)),
    ):
        part(top / split, top / split / "_annotations.coco.json", *names)


def cvat(top: Path) -> None:
    for subset, names in (("Train", ("a.jpg", "b.jpg")), ("Val", ("c.jpg",)), ("Test", ("d.jpg",))):
        file = top / "annotations" / f"instances_{subset}.json"
        part(top / "images" / subset, file, *names)


def coco2017(top: Path) -> None:
    for split, names in (("train2017", ("a.jpg", "b.jpg")), ("val2017", ("c.jpg", "d.jpg"))):
        part(top / split, top / "annotations" / f"instances_{split}.json", *names, fish=len(names))
        (top / "annotations" / f"captions_{split}.json").write_text("{}")


@pytest.mark.parametrize("outer", [None, "", "outer", "outer/inner"])
@pytest.mark.parametrize("export", [roboflow, cvat])
@pytest.mark.usefixtures("here")
def test_the_parts_of_an_export_are_one_set(
    export: Callable[[Path], None], outer: str | None
) -> None:
    """In a folder, and in a zip with and without folders around it."""
    top = Path("mine") / (outer or "")
    export(top)
    (top / "groups.csv").write_text("sample_id,group_id\n")
    if outer is not None:
        shutil.make_archive("mine", "zip", "mine")
    local.download(wanted("mine" if outer is None else "mine.zip"), Path("raw"))
    pairs, _ = find_pairs(Path("raw"))
    assert [pair.sample_id for pair in pairs] == ["Trout/a", "Trout/c", "Trout/d", "fish/b"]
    for pair in pairs:
        fish = np.asarray(Image.open(pair.mask_path)) == 255
        assert np.array_equal(fish, square() & (pair.class_name == "Trout"))
    assert read_problems(Path("raw") / local.PROBLEMS_FILE) == []
    assert Path("raw/groups.csv").is_file()


@pytest.mark.usefixtures("here")
def test_a_roboflow_zip_of_one_part_has_its_groups_beside_the_pictures() -> None:
    part(Path("mine/train"), Path("mine/train/_annotations.coco.json"), "a.jpg")
    Path("mine/train/groups.csv").write_text("sample_id,group_id\n")
    shutil.make_archive("mine", "zip", "mine")
    local.download(wanted("mine.zip"), Path("raw"))
    assert Path("raw/groups.csv").is_file()
    assert [pair.sample_id for pair in find_pairs(Path("raw"))[0]] == ["Trout/a"]


@pytest.mark.usefixtures("here")
def test_json_beside_what_is_read_is_named(caplog: pytest.LogCaptureFixture) -> None:
    coco2017(Path("mine"))
    with caplog.at_level("INFO"):
        local.download(wanted("mine"), Path("raw"))
    used, passed_over = caplog.messages[:2]
    assert "instances_train2017.json, annotations/instances_val2017.json" in used
    assert "annotations/captions_train2017.json, annotations/captions_val2017.json" in passed_over
    assert len(find_pairs(Path("raw"))[0]) == 4


@pytest.mark.parametrize("categories", [("Trout", "Trout"), ("Trout", "Cod")])
@pytest.mark.usefixtures("here")
def test_pictures_of_one_name_in_two_parts_keep_their_own_masks(
    categories: tuple[str, str],
) -> None:
    for split, fish, category in zip(("train", "valid"), (1, 2), categories, strict=True):
        file = Path("mine") / split / "_annotations.coco.json"
        part(file.parent, file, "a.jpg", f"{split}.jpg", fish=fish, category=category)
        Image.new("RGB", SIZE[::-1], (0, 9, 0) if fish == 1 else (9, 0, 0)).save(
            file.parent / "a.jpg"
        )
    paths = coco.find_files(Path("mine"))
    pairs, problems = coco.write_pairs(paths, Path("mine"), Path("drawn"))
    found = {pair.sample_id: pair.image_path.as_posix() for pair in pairs}
    assert found["Trout/a"] == "mine/train/a.jpg"
    if categories[1] == "Cod":
        assert found["Cod/a"] == "mine/valid/a.jpg"
        assert problems == []
    else:
        assert [(one.kind, one.path) for one in problems] == [("duplicate_stem", "valid/a.jpg")]
        assert "train/a.jpg is of class Trout, too" in problems[0].message


@pytest.mark.usefixtures("here")
def test_a_picture_that_is_missing_in_its_part_is_not_taken_from_another() -> None:
    for split in ("train", "valid"):
        part(
            Path("mine") / split,
            Path("mine") / split / "_annotations.coco.json",
            "a.jpg",
            f"{split}.png",
        )
    Path("mine/train/a.jpg").unlink()
    Path("mine/valid/_annotations.coco.json").write_text(
        '{"images": [], "annotations": [{"image_id": 3}], "categories": []}'
    )
    paths = coco.find_files(Path("mine"))
    pairs, problems = coco.write_pairs(paths, Path("mine"), Path("drawn"))
    assert [pair.image_path.as_posix() for pair in pairs] == ["mine/train/train.png"]
    assert [(one.kind, one.path) for one in problems] == [
        ("annotation_without_image", "valid/_annotations.coco.json"),
        ("image_without_mask", "valid/a.jpg"),
        ("image_without_mask", "valid/valid.png"),
        ("mask_without_image", "a.jpg"),
    ]
    assert "it stands in train/_annotations.coco.json" in problems[3].message


@pytest.mark.usefixtures("here")
def test_a_picture_that_two_files_list_is_left_out() -> None:
    for name in ("default", "default (1)"):
        part(Path("mine"), Path(f"mine/annotations/instances_{name}.json"), "a.jpg", "b.jpg")
    with pytest.raises(DataError, match="no image has a mask") as caught:
        local.download(wanted("mine"), Path("raw"))
    assert "listed 2 times, in annotations/instances_default (1).json, annot" in caught.value.what


@pytest.mark.usefixtures("here")
def test_a_class_fish_is_spelled_alike_in_all_files() -> None:
    part(Path("mine/a"), Path("mine/a/_annotations.coco.json"), "a.jpg", category="Fish")
    part(Path("mine/b"), Path("mine/b/_annotations.coco.json"), "b.jpg", fish=0)
    labelled, _ = coco.read(*coco.find_files(Path("mine")))
    assert [picture.class_name for picture in labelled] == ["Fish", "Fish"]


@pytest.mark.usefixtures("here")
def test_coco_files_at_two_places_are_refused() -> None:
    for place in ("annotations.json", "annotations/instances_default.json"):
        part(Path("mine/images"), Path("mine") / place, "a.jpg")
    with pytest.raises(DataError, match="not plain which COCO file is meant") as caught:
        local.download(wanted("mine"), Path("raw"))
    assert "annotations.json, annotations/instances_default.json" in caught.value.what


@pytest.mark.parametrize("place", ["labels.json", "annotations/person_keypoints_default.json"])
@pytest.mark.usefixtures("here")
def test_json_at_another_place_is_named_with_the_places_that_are_read(place: str) -> None:
    part(Path("mine/images"), Path("mine") / place, "a.jpg")
    part(Path("mine/__MACOSX"), Path("mine/__MACOSX/_annotations.coco.json"))
    with pytest.raises(DataError, match="no images with masks") as caught:
        local.download(wanted("mine"), Path("raw"))
    assert f"; {place} would be read" in str(caught.value.remedy)
    for known in ("annotations/instances_*.json", "*/_annotations.coco.json", "result.json"):
        assert known in str(caught.value.expected)


@pytest.mark.usefixtures("here")
def test_who_reads_masks_alone_says_how_to_get_them_from_coco() -> None:
    """`fishseg score` and `fishseg crossvalidate`."""
    roboflow(Path("mine"))
    with pytest.raises(DataError) as caught:
        find_pairs(Path("mine"))
    assert "data.path=FOLDER download` draws the masks" in str(caught.value.remedy)
