"""A scale for all pictures, or for each from a table."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from measured_masks import mask, photograph, run, table

from fishseg.cli.scales import number

NAMES = ("day1/IMG_1.jpg", "day2/IMG_1.jpg", "day2/IMG_2.jpg", "Äsche, alt.jpg")


@pytest.fixture(autouse=True)
def pictures(workspace: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    for name in NAMES:
        photograph(f"in/{name}")
        mask(f"drawn/{Path(name).with_suffix('.png')}", (20, 20, 40, 10))


def measured(content: str | bytes, *arguments: str) -> int | str | None:
    encoded = content.encode() if isinstance(content, str) else content
    Path("scales.csv").write_bytes(encoded)
    return run("in", "drawn", "--out", "out", "--scales", "scales.csv", *arguments)


def scales() -> dict[str, tuple[str, str]]:
    return {row["image"]: (row["mm_per_px"], row["scale_from"]) for row in table()}


@pytest.mark.parametrize(
    "content",
    [
        'image,mm_per_px\nday1/IMG_1.jpg,0.21\nday2/IMG_1.jpg,0.5\n"Äsche, alt.jpg",2\n',
        "\ufeffimage;mm_per_px\r\nday1/IMG_1.jpg;0,21\r\nday2/IMG_1.jpg;0,5\r\nÄsche, alt.jpg;2\n",
        "image\tmm_per_px\nday1\\IMG_1.jpg\t0,21\nday2\\IMG_1.jpg\t0,50\nÄsche, alt.jpg\t2,0\n",
        'MM_per_px, note, Image\n"0,21",x,day1/IMG_1.jpg\n0.5,,day2/IMG_1.jpg\n2,,"Äsche, alt.jpg"',
        "image;mm_per_px\nday1/IMG_1.jpg;0,21\nday2/IMG_1.jpg;0,5\nÄsche, alt.jpg;2".encode(
            "cp1252"
        ),
        (
            "image\tmm_per_px\r\nday1/IMG_1.jpg\t0,21\r\nday2/IMG_1.jpg\t0,5\r\n"
            "Äsche, alt.jpg\t2\r\n"
        ).encode("utf-16"),
        "sep=;\r\nimage;mm_per_px\r\nday1/IMG_1.jpg;0,21\r\nday2/IMG_1.jpg;0,5\r\nÄsche, alt.jpg;2",
        "image;mm_per_px\nin/day1/IMG_1.jpg;0,21\nin/day2/IMG_1.jpg;0,5\nA\u0308sche, alt.jpg;2",
        "image;mm_per_px\nday1/IMG_1.jpg;0,21\nday2/IMG_1.jpg;0,5\nÄsche, alt.jpg;2\nIMG_2.jpg; \n",
    ],
    ids=[
        "comma",
        "German Excel",
        "tabs",
        "other order",
        "plain CSV of Excel",
        "Unicode text of Excel",
        "marked",
        "more folders, accents apart",
        "one not known yet",
    ],
)
def test_each_picture_gets_its_own_scale(content: str | bytes) -> None:
    assert measured(content) == 0
    assert scales() == {
        "day1/IMG_1.jpg": ("0.21", "scales.csv"),
        "day2/IMG_1.jpg": ("0.5", "scales.csv"),
        "day2/IMG_2.jpg": ("", ""),
        "Äsche, alt.jpg": ("2.0", "scales.csv"),
    }
    rows = {row["image"]: row for row in table()}
    assert rows["day2/IMG_1.jpg"]["area_mm2"] == "100.0"
    assert rows["day2/IMG_2.jpg"]["area_mm2"] == ""


def test_the_others_have_the_scale_of_all() -> None:
    assert measured("image,mm_per_px\nIMG_2.jpg,0.21\n", "--mm-per-px", "0,5") == 0
    assert scales()["day2/IMG_2.jpg"] == ("0.21", "scales.csv")
    assert scales()["day1/IMG_1.jpg"] == ("0.5", "--mm-per-px")


def test_a_mistyped_scale_is_taken_back() -> None:
    assert measured("image,mm_per_px\nIMG_2.jpg,0.21\n", "--mm-per-px", "50") == 0
    assert run("in", "drawn", "--out", "out") == 0
    assert scales()["day1/IMG_1.jpg"] == ("50.0", "--mm-per-px")
    assert run("in", "drawn", "--out", "out", "--scale", "none") == 0
    assert set(table()[0]) & {"mm_per_px", "length_mm"} == set()
    assert run("in", "drawn", "--out", "out", "--scale", "none", "--mm-per-px", "5") == 0
    assert scales()["day1/IMG_1.jpg"] == ("5.0", "--mm-per-px")
    assert measured("image,mm_per_px\nIMG_2.jpg,0.21\n", "--scale", "none") == 0
    assert scales()["day2/IMG_2.jpg"] == ("0.21", "scales.csv")
    assert scales()["day1/IMG_1.jpg"] == ("", "")


def test_a_path_is_not_taken_for_a_name_of_another_path(
    caplog: pytest.LogCaptureFixture,
) -> None:
    photograph("in/IMG_1.jpg")
    mask("drawn/IMG_1.png", (20, 20, 40, 10))
    assert measured("image,mm_per_px\nIMG_1.jpg,0.21\n", "--mm-per-px", "5") == 0
    assert scales()["IMG_1.jpg"] == ("0.21", "scales.csv")
    assert scales()["day1/IMG_1.jpg"] == ("5.0", "--mm-per-px")
    last = caplog.records[-1].getMessage()
    assert (
        "IMG_1.jpg: taken for in/IMG_1.jpg, as measurements.csv has it, and not for day1/" in last
    )
    whole = "image,mm_per_px\nIMG_1.jpg,1\nday1/IMG_1.jpg,2\nday2/IMG_1.jpg,3\n"
    assert measured(whole) == 0
    assert [scale for scale, _ in scales().values()] == ["1.0", "2.0", "3.0", "5.0", "5.0"]
    assert "to know" not in caplog.records[-1].getMessage()


def test_a_name_that_was_given_to_another_picture_is_nobodys(
    caplog: pytest.LogCaptureFixture,
) -> None:
    """The first picture keeps its row, and the second one has the first one's name."""
    assert run("in", "drawn", "--out", "out") == 0
    for old, new in (("in/day2/IMG_2.jpg", "perch.jpg"), ("drawn/day2/IMG_2.png", "perch.png")):
        Path(old).rename(Path(old).with_name(new))
    assert run("in", "drawn", "--out", "out") == 0
    photograph("in/day2/IMG_2.jpg", (92, 60))
    mask("drawn/day2/IMG_2.png", (20, 20, 30, 10), size=(92, 60))
    assert measured("image,mm_per_px\nday2/IMG_2.jpg,3\n") == 0
    last = caplog.records[-1].getMessage()
    assert "perch.jpg: the picture that was day2/IMG_2.jpg, and is called so still" in last
    assert "there are 2 pictures of this name: write perch.jpg or IMG_2.jpg" in last
    assert "mm_per_px" not in table()[0]
    assert measured("image,mm_per_px\nperch.jpg,3\nIMG_2.jpg,4\n") == 0
    assert scales()["day2/IMG_2.jpg"][0] == "3.0"
    assert scales()["in/day2/IMG_2.jpg"][0] == "4.0"


def test_two_lines_for_one_picture(caplog: pytest.LogCaptureFixture) -> None:
    assert measured("image,mm_per_px\nIMG_2.jpg,3\nday2/IMG_2.jpg,4\n") == 0
    assert scales()["day2/IMG_2.jpg"][0] == "4.0"
    assert "IMG_2.jpg: day2/IMG_2.jpg is the same picture" in caplog.records[-1].getMessage()


def test_lines_of_no_use_are_named(caplog: pytest.LogCaptureFixture) -> None:
    assert measured("image,mm_per_px\nIMG_1.jpg,0.21\nnone.jpg,1\nIMG_2.jpg,3\n") == 0
    used, last = caplog.records[-1].getMessage().split("to know:")
    assert used == "4 pictures used\n"  # every picture could be used
    assert "scales.csv: IMG_1.jpg: there are 2 pictures of this name" in last
    assert "scales.csv: none.jpg: no such picture" in last
    assert scales()["day1/IMG_1.jpg"] == ("", "")
    assert scales()["day2/IMG_2.jpg"] == ("3.0", "scales.csv")


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("", "its first line is ''"),
        ("picture,scale\na,1\n", "its first line is 'picture,scale'"),
        ("image,mm_per_px\nIMG_2.jpg,0,21\n", "part the columns by semicolons"),
        ("image,mm_per_px\nIMG_2.jpg,0\n", "'0' is no scale of 'IMG_2.jpg'"),
        ("image,mm_per_px\nIMG_2.jpg,-1\n", "no scale"),
        ("image,mm_per_px\nIMG_2.jpg,inf\n", "no scale"),
        ("mm_per_px,image\n1\n", "no image"),
        ("PK\x03\x04 and more", "it is a workbook"),
        ("image;mm_per_px\nIMG_2.jpg;1.234,5\n", "'1.234,5' is no scale"),
        ("image;mm_per_px\n;1\n", "no image"),
        ("image,mm_per_px\nIMG_2.jpg,1\nIMG_2.jpg,2\n", "has two scales"),
    ],
)
def test_a_table_that_cannot_be_used_ends_the_run_before_it_begins(content: str, said: str) -> None:
    assert said in str(measured(content))
    assert not Path("out").exists()


def test_there_is_no_such_table() -> None:
    assert "cannot be read" in str(run("in", "drawn", "--out", "out", "--scales", "none.csv"))


@pytest.mark.parametrize("text", ["1.234,5", "1,234.5", "1,2,3", "1_0", "0x1", "", "one"])
def test_what_is_no_number(text: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("in", "drawn", "--out", "out", "--mm-per-px", text) == 2
    assert "is no number: write it like 0.21" in capsys.readouterr().err


@given(st.floats(min_value=1e-3, max_value=1e6, allow_nan=False))
def test_point_and_comma_mean_the_same(value: float) -> None:
    text = f"{value:f}"
    assert number(text) == number(text.replace(".", ",")) == float(text)
