"""The Python interface, its page in docs/, and that importing it costs nothing."""

from __future__ import annotations

import copy
import doctest
import pickle
import subprocess
import sys
import typing
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pydantic
import pytest
from numpy.typing import NDArray
from PIL import Image, ImageSequence

import fishseg
from fishseg import api, cli
from fishseg.errors import BackboneError, CacheError, DataError, ModelError
from fishseg.prediction import loading
from fishseg.prediction.loading import Loaded
from fishseg.prediction.model import Answer

REPOSITORY = Path(__file__).parents[1]
FISH = (slice(20, 40), slice(10, 70))  # a bar of 60 x 20 pixels


class RedIsFish:
    """A model to whom the share of red is the probability of fish."""

    threshold = 0.5

    def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
        return image[..., 0].astype(np.float32) / np.float32(255)


ABOUT = loading.about({"trained_on": {"Trout": 100, "Shrimp": 80}})


@pytest.fixture
def photo(workspace: Path) -> Path:
    """A red bar on black; the models of every name find it."""
    pixels = np.zeros((60, 80, 3), np.uint8)
    pixels[FISH] = (255, 0, 0)
    path = workspace / "photo.jpg"
    Image.fromarray(pixels).save(path, quality=100, subsampling=0)
    return path


@pytest.fixture
def model(photo: Path, monkeypatch: pytest.MonkeyPatch) -> fishseg.Model:
    def load(*_: object, **__: object) -> Loaded:
        return Loaded(model=RedIsFish(), identity="red", about=ABOUT)

    monkeypatch.setattr(api, "load_model", load)
    return fishseg.load()


def test_the_page_in_docs_is_true(model: fishseg.Model, photo: Path) -> None:
    Path("photos").mkdir()
    for name, picture in (("a", Image.open(photo)), ("b", Image.new("RGB", (80, 60)))):
        picture.save(f"photos/{name}.jpg", quality=100, subsampling=0)
    page = REPOSITORY / "docs/api.md"
    failed, tried = doctest.testfile(str(page), module_relative=False, encoding="utf-8")
    assert tried > 20
    assert failed == 0
    assert Image.open("overlay.png").size == (80, 60)
    assert Image.open("cut-out.png").mode == "RGBA"


def test_every_kind_of_picture_gives_the_same(model: fishseg.Model, photo: Path) -> None:
    with Image.open(photo) as opened:
        opened.load()
        array = np.asarray(opened)
        results = model([str(photo), photo, opened, array, array[::1]])
    assert isinstance(results, list)
    for result in results:
        assert np.array_equal(result.image, array)
        assert np.array_equal(result.mask, results[0].mask)
    assert isinstance(model((photo,)), list)
    assert model([]) == []


@pytest.mark.parametrize("name", ["turned.jpg", "turned.png", "turned.tif", "turned.webp"])
def test_files_and_pillow_s_images_are_turned_upright_alike(
    name: str, model: fishseg.Model, photo: Path
) -> None:
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.open(photo).save(name, exif=exif)
    from_file = model(name)
    assert from_file.image.shape == (80, 60, 3)
    assert np.array_equal(from_file.image, model(Image.open(name)).image)


def test_pillow_s_images_of_other_modes(model: fishseg.Model, photo: Path) -> None:
    red = Image.open(photo)
    clear = red.convert("RGBA")
    clear.putalpha(0)
    assert model(clear).fish == ()  # what is transparent is black
    assert model(red.convert("L")).image.shape == (60, 80, 3)
    wide = Image.fromarray(np.full((4, 4), 65535, np.uint16))
    assert (model(wide).image == 255).all()
    multiplied = Image.new("LA", (4, 4), (200, 255)).convert("La")
    assert (model(multiplied).image == 200).all()
    with pytest.raises(DataError, match="32-bit"):
        model(Image.new("F", (4, 4)))


def remedy_of(model: fishseg.Model, array: NDArray[Any]) -> str:
    with pytest.raises(DataError, match=r"expected: \(H, W, 3\) uint8") as caught:
        model(array)
    assert caught.value.remedy is not None
    return caught.value.remedy


PICTURE = np.zeros((6, 8, 3), np.uint8)
PICTURE[2:4, 1:7] = 255


@pytest.mark.parametrize(
    ("array", "written"),
    [
        (PICTURE.astype(np.uint16) * 257, "model(numpy.uint8(image // 257))"),
        (PICTURE.astype(np.uint16) * 4, "model(numpy.uint8(image // 4))"),
        (PICTURE.astype(np.uint16) * 16, "model(numpy.uint8(image // 16))"),
        (PICTURE.astype(np.uint16), "model(image.astype(numpy.uint8))"),
        (PICTURE.astype(np.int64), "model(image.astype(numpy.uint8))"),
        (PICTURE.transpose(2, 0, 1), "model(image.transpose(1, 2, 0))"),
        (PICTURE / 255, "model(numpy.uint8(numpy.rint(255 * image)))"),
        (PICTURE.astype(np.float32), "model(numpy.uint8(numpy.rint(image)))"),
        (
            PICTURE.transpose(2, 0, 1) / 255,
            "model(numpy.uint8(numpy.rint(255 * image.transpose(1, 2, 0))))",
        ),
        (PICTURE[..., :1], "model(PIL.Image.fromarray(image[..., 0]))"),
        (PICTURE[None, ..., 0], "model(PIL.Image.fromarray(image[0]))"),
        (PICTURE[..., 0], "model(PIL.Image.fromarray(image))"),
        (PICTURE[..., 0] > 0, "model(PIL.Image.fromarray(numpy.uint8(255) * image))"),
        (np.dstack([PICTURE, np.full((6, 8), 255, np.uint8)]), "model(PIL.Image.fromarray(image))"),
    ],
)
def test_what_to_write_for_a_wrong_array_is_right(
    array: NDArray[Any], written: str, model: fishseg.Model
) -> None:
    assert remedy_of(model, array) == written
    names = {"model": model, "image": array, "numpy": np, "PIL": PIL}
    assert np.array_equal(eval(written, names).image, PICTURE)


@pytest.mark.parametrize(
    ("batch", "written"),
    [
        (np.stack([PICTURE] * 2), "model(list(batch))"),
        (
            np.stack([PICTURE.transpose(2, 0, 1) / 255] * 2),
            "model([numpy.uint8(numpy.rint(255 * image.transpose(1, 2, 0))) for image in batch])",
        ),
    ],
)
def test_what_to_write_for_a_batch_is_right(
    batch: NDArray[Any], written: str, model: fishseg.Model
) -> None:
    assert remedy_of(model, batch) == written
    results = eval(written, {"model": model, "batch": batch, "numpy": np})
    assert [np.array_equal(result.image, PICTURE) for result in results] == [True, True]


@pytest.mark.parametrize(
    "array",
    [
        np.zeros((0, 4, 3), np.uint8),
        np.zeros((0, 4, 4, 3), np.uint8),
        np.zeros((5, 5, 7), np.uint8),
        np.zeros(4, np.uint8),
        np.full((4, 4, 3), np.nan),
        np.full((4, 4, 3), -1.0),
        np.full((4, 4, 3), 1e5),
        np.full((4, 4, 3), 70_000),
        np.full((4, 4, 3), "a"),
        np.full((4, 4, 3), None),
    ],
)
def test_of_other_arrays_nothing_is_promised(array: NDArray[Any], model: fishseg.Model) -> None:
    assert remedy_of(model, array).startswith("bring its values to 0 to 255")


SHADES = [np.full((4, 4, 3), 40 * number, np.uint8) for number in range(6)]


@pytest.mark.parametrize("step", [1, -1])
def test_an_array_may_be_filled_anew_while_a_stream_runs(step: int, model: fishseg.Model) -> None:
    def frames() -> Iterator[NDArray[np.uint8]]:
        buffer = np.empty((4, 4, 3), np.uint8)
        for shade in SHADES:
            buffer[:] = shade
            yield buffer[..., ::step]

    results = list(model.stream(frames()))
    for shade, result in zip(SHADES, results, strict=True):
        assert np.array_equal(result.image, shade)


def test_a_film_may_be_wound_on_and_a_file_closed_while_a_stream_runs(
    model: fishseg.Model, workspace: Path
) -> None:
    pictures = [Image.fromarray(shade) for shade in SHADES]
    pictures[0].save("film.tif", save_all=True, append_images=pictures[1:])
    with Image.open("film.tif") as film:
        results = list(model.stream(ImageSequence.Iterator(film)))
    assert [int(result.image[0, 0, 0]) for result in results] == [0, 40, 80, 120, 160, 200]

    def opened() -> Iterator[Image.Image]:
        for number, picture in enumerate(pictures):
            picture.save(f"{number}.png")
            with Image.open(f"{number}.png") as image:
                yield image

    assert len(list(model.stream(opened()))) == len(pictures)


def test_a_result_keeps_the_picture_as_it_was(model: fishseg.Model) -> None:
    image = SHADES[3].copy()
    result = model(image)
    image[:] = 0
    assert np.array_equal(result.image, SHADES[3])


def test_what_is_missed_is_given_back_as_it_came(model: fishseg.Model) -> None:
    given: list[fishseg.Photograph] = [
        np.zeros((4, 4), np.uint8),
        Image.new("F", (4, 4)),
        Path("missing.jpg"),
    ]
    missed: list[object] = []
    assert not list(model.stream(given, on_error=lambda image, _: missed.append(image)))
    assert [one is other for one, other in zip(missed, given, strict=True)] == [True] * 3


def test_a_picture_that_cannot_be_read(model: fishseg.Model, photo: Path) -> None:
    with pytest.raises(fishseg.FishsegError, match=r"missing\.jpg"):
        model([photo, "missing.jpg"])
    paths: list[str | Path] = [photo, "missing.jpg"]
    stream = model.stream(iter(paths))
    assert len(next(stream).fish) == 1
    with pytest.raises(DataError):
        next(stream)


def test_the_same_masks_and_numbers_as_the_command_line(
    model: fishseg.Model, photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(loading, "load_model", vars(api)["load_model"])
    with pytest.raises(SystemExit) as stopped:
        cli.main(["predict", str(photo), "--out", "out"])
    assert stopped.value.code == 0
    result = model(photo)
    assert np.array_equal(np.asarray(Image.open("out/masks/photo.png")) > 0, result.mask)
    assert np.array_equal(np.asarray(Image.open("out/overlays/photo.png")), result.overlay())
    header, row = Path("out/measurements.csv").read_text(encoding="utf-8-sig").splitlines()
    values = dict(zip(header.split(","), row.split(","), strict=True))
    (fish,) = result.fish
    assert float(values["length_px"]) == round(fish.length_px, 2)
    assert float(values["area_px"]) == fish.area_px == 60 * 20
    assert float(values["confidence"]) == round(fish.confidence, 4)
    assert values["check"] == "; ".join(fish.check)


def test_fish_that_touch_are_told_apart_where_the_model_says_so(
    photo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Apart(RedIsFish):
        """Takes every thirtieth column for one between fish."""

        def answer(self, image: NDArray[np.uint8]) -> Answer:
            interior = np.ones(image.shape[:2], np.float32)
            interior[:, ::30] = 0
            return Answer(self.probability(image), interior=interior)

    for given, n_fish in ((RedIsFish(), 1), (Apart(), 3)):
        loaded = Loaded(model=given, identity="red", about=ABOUT)
        monkeypatch.setattr(api, "load_model", lambda *_, loaded=loaded, **__: loaded)
        result = fishseg.load()(photo)
        assert len(result.fish) == n_fish
        assert sum(one.area_px for one in result.fish) == result.mask.sum()


def test_options_are_handed_on(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[tuple[object, object]] = []

    def load(*places: object, **options: object) -> Loaded:
        asked.append((places, options))
        return Loaded(model=RedIsFish(), identity="red", about=ABOUT)

    monkeypatch.setattr(api, "load_model", load)
    fishseg.load("a.onnx", tta=2, fine=True, threshold=0.25)
    fishseg.load(Path("decoder"), backbone="backbone")
    assert asked == [
        ((Path("a.onnx"), None), {"tta": 2, "fine": True, "threshold": 0.25}),
        ((Path("decoder"), Path("backbone")), {"tta": 1, "fine": None, "threshold": None}),
    ]
    with pytest.raises(ValueError, match="threshold"):
        fishseg.load(threshold=1)
    with pytest.raises(ValueError, match="tta"):
        fishseg.load(tta=3)
    asked.clear()
    fishseg.load(tta=True, threshold=np.float64(0.25))
    assert repr(asked) == "[((None, None), {'tta': 1, 'threshold': 0.25, 'fine': None})]"


def test_a_missing_model_is_said(workspace: Path) -> None:
    with pytest.raises(ModelError, match="no such file"):
        fishseg.load("model.onnx")


@pytest.mark.parametrize("thing", [None, 3, b"bytes", iter([])])
def test_what_is_no_picture_is_said(model: fishseg.Model, thing: Any) -> None:
    with pytest.raises(fishseg.FishsegError, match=type(thing).__name__) as caught:
        model(thing)
    assert "model.stream" in str(caught.value)


def test_places_where_nothing_lies_are_said(workspace: Path) -> None:
    Path("empty").mkdir()
    for nothing in ("empty", ".", Path()):
        with pytest.raises(CacheError, match="this folder holds no decoder"):
            fishseg.load(nothing)
    with pytest.raises(ModelError, match="name of the model is empty"):
        fishseg.load("")
    with pytest.raises(BackboneError, match="name of the backbone is empty"):
        fishseg.load(backbone="")
    for missing in ("nope", "empty"):
        with pytest.raises(BackboneError, match="there is no backbone there") as caught:
            fishseg.load(backbone=missing)
        assert "leave it out" in str(caught.value)
        assert "dvc" not in str(caught.value)


def test_a_fish_has_its_own_mask(model: fishseg.Model, photo: Path) -> None:
    result = model(photo)
    (fish,) = result.fish
    left, top, width, height = fish.box
    assert fish.mask.shape == (height, width)
    assert np.array_equal(result.mask[top : top + height, left : left + width], fish.mask)


def test_a_picture_without_a_name_counts(model: fishseg.Model, photo: Path) -> None:
    wrong = np.zeros((3, 3), np.uint8)
    with pytest.raises(fishseg.FishsegError) as caught:
        model([photo, wrong])
    assert caught.value.where == "picture 2"


def test_what_goes_wrong_in_the_model_is_said(photo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Hungry(RedIsFish):
        """Wants more memory than there is for the first picture."""

        asked = 0

        def probability(self, image: NDArray[np.uint8]) -> NDArray[np.float32]:
            self.asked += 1
            if self.asked == 1:
                raise MemoryError("one exabyte")
            return super().probability(image)

    loaded = Loaded(model=Hungry(), identity="red", about=ABOUT)
    monkeypatch.setattr(api, "load_model", lambda *_, **__: loaded)
    missed: list[str] = []
    model = fishseg.load()
    results = list(model.stream([photo, photo], on_error=lambda _, e: missed.append(e.what)))
    assert len(results) == len(missed) == 1
    assert "not enough memory" in missed[0]
    assert model.identity == "red"


def test_a_place_that_cannot_be_written_is_said(monkeypatch: pytest.MonkeyPatch) -> None:
    def load(*_: object, **__: object) -> Loaded:
        raise PermissionError(13, "Permission denied", "/cache")

    monkeypatch.setattr(api, "load_model", load)
    with pytest.raises(fishseg.FishsegError, match="Permission denied"):
        fishseg.load()


def test_one_picture_is_not_taken_for_its_letters_or_rows(
    model: fishseg.Model, photo: Path
) -> None:
    array = np.asarray(Image.open(photo))
    for single in (str(photo), photo, Image.open(photo), array):
        (result,) = model.stream(single)
        assert np.array_equal(result.image, array)
    for wrong in (array[..., 0], photo.read_bytes()):
        with pytest.raises(DataError) as caught:
            list(model.stream(wrong))  # type: ignore[arg-type]
        assert caught.value.where == "picture 1"
    batch = np.stack([array, array[::-1]])
    for one, result in zip(batch, model.stream(batch), strict=True):
        assert np.array_equal(result.image, one)


def test_a_model_cannot_be_changed(model: fishseg.Model) -> None:
    for name in ("threshold", "identity", "about"):
        with pytest.raises(AttributeError):
            setattr(model, name, getattr(model, name))


def test_a_model_stays_in_its_process_and_results_do_not(model: fishseg.Model, photo: Path) -> None:
    for send in (pickle.dumps, copy.deepcopy):
        with pytest.raises(TypeError, match=r"call fishseg\.load\(\) there"):
            send(model)
    result = model(photo)
    received = pickle.loads(pickle.dumps(result))
    assert np.array_equal(received.mask, result.mask)
    assert received.fish[0].length_px == result.fish[0].length_px


def test_hints_can_be_read() -> None:
    def of_a_server(photo: fishseg.Photograph | None = None) -> None: ...

    assert typing.get_type_hints(of_a_server)["photo"] == api.Photograph | None
    for public in (fishseg.load, fishseg.Model.__call__, fishseg.Model.stream):
        assert typing.get_type_hints(public)["return"]
    assert typing.get_type_hints(fishseg.Result)["answer"] is Answer
    assert typing.get_type_hints(fishseg.Fish)["length_px"] is float

    class Request(pydantic.BaseModel):
        model_config = pydantic.ConfigDict(arbitrary_types_allowed=True)
        photo: fishseg.Photograph

    assert Request(photo="a.jpg").photo == "a.jpg"
    with pytest.raises(pydantic.ValidationError):
        Request.model_validate({"photo": 3})


def test_results_are_told_apart_by_what_they_are(model: fishseg.Model, photo: Path) -> None:
    one, other = model([photo, photo])
    assert (one == other, one == one) == (False, True)
    assert len({one, other, one.fish[0], other.fish[0]}) == 4
    assert "axis" not in repr(one.fish[0])


def test_a_folder_that_is_not_there_is_said(workspace: Path) -> None:
    with pytest.raises(fishseg.FishsegError, match="no such file or folder"):
        fishseg.load("data/decodre")


def test_threads_may_share_a_model(model: fishseg.Model, photo: Path) -> None:
    with ThreadPoolExecutor(4) as pool:
        lengths = {result.fish[0].length_px for result in pool.map(model, [photo] * 8)}
    assert len(lengths) == 1


def test_importing_costs_nothing() -> None:
    program = "import sys, fishseg; print(*sorted(sys.modules)); print(fishseg.__version__)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    modules, version = done.stdout.splitlines()
    assert version == fishseg.__version__
    assert not {"numpy", "cv2", "PIL", "torch", "openvino"} & set(modules.split())


def test_the_kinds_of_errors_need_no_import_of_their_own() -> None:
    program = "import fishseg; print(fishseg.errors.DataError.__name__)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=REPOSITORY
    )
    assert done.stdout.strip() == "DataError"
    page = (REPOSITORY / "docs/api.md").read_text(encoding="utf-8")
    for name in ("DataError", "ParameterError", "ModelError", "BackboneError", "StorageError"):
        assert f"`{name}`" in page


def test_what_is_public_is_there_and_nothing_else_is_made_up() -> None:
    for name in fishseg.__all__:
        assert getattr(fishseg, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'segment'"):
        fishseg.segment  # noqa: B018
