from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from drawn_photos import HEIGHT, WIDTH, DrawnSet, draw_photo, moved, transform
from PIL import Image

from fishseg.audit.inventory import build_inventory
from fishseg.audit.provenance import Audited, audit, write_tables
from fishseg.params import AuditParams
from fishseg.report.figures import draw_audit, read_copies

FILES = ["agreement.png", "group_size.png", "masks.png", "photographs.png"]
PARAMS = AuditParams(
    max_broken_share=0.0,
    masks="repair",
    min_likeness=0.4,
    min_mask_agreement=0.9,
    min_agreeing_masks=3,
)


def audited(drawn: DrawnSet) -> Audited:
    table = build_inventory(drawn.raw, max_broken_share=0.0).table
    return audit(table, drawn.raw, PARAMS, Path("data/masks"), workers=1)


def draw(found: Audited, folder: Path) -> None:
    """Draw an audit from the tables that it leaves."""
    write_tables(found, folder / "tables")
    folder.joinpath("plots").mkdir()
    copies = read_copies(folder / "tables/copies.csv", found.table)
    draw_audit(copies, Path("data/raw"), folder / "plots")


def pixels(path: Path) -> np.ndarray:
    return np.asarray(Image.open(path).convert("RGB"))


@pytest.fixture
def found(workspace: Path) -> Audited:
    drawn = DrawnSet(workspace / "data/raw")
    for class_name, seed in (("Trout", 1), ("Sea Bass", 2)):
        photo = draw_photo(seed)
        drawn.add_photo(class_name, "a $1 photo.png", photo[0])
        for degrees in (20, 110, 200):
            drawn.add_copy(class_name, photo, flipped=degrees == 110, degrees=degrees)
    wrong = moved(photo[1], transform(True, 60))
    drawn.add_copy("Sea Bass", photo, degrees=300, mask=wrong)
    return audited(drawn)


def test_all_files_are_written_the_same_twice(found: Audited, workspace: Path) -> None:
    draw(found, workspace / "one")
    draw(found, workspace / "two")
    assert sorted(path.name for path in (workspace / "one/plots").iterdir()) == FILES
    for name in FILES:
        assert (workspace / "one/plots" / name).read_bytes() == (
            workspace / "two/plots" / name
        ).read_bytes()


def test_a_copy_turned_back_looks_like_its_photo(found: Audited, workspace: Path) -> None:
    draw(found, workspace)
    sheet = pixels(workspace / "plots/photographs.png").astype(int)
    # The tiles of the first row: the photograph and its first copy, 150 pixels wide each.
    tile = round(150 * HEIGHT / WIDTH)
    photograph, copy = (sheet[76 : 76 + tile, x : x + 150] for x in (14, 14 + 154))
    middle = np.hypot(*np.mgrid[-1 : 1 : tile * 1j, -1.3 : 1.3 : 150 * 1j]) < 0.8
    assert np.abs(photograph - copy)[middle].mean() < 8
    assert np.abs(photograph - copy[:, ::-1])[middle].mean() > 16


def test_the_worst_mask_comes_first(found: Audited, workspace: Path) -> None:
    draw(found, workspace)
    sheet = pixels(workspace / "plots/masks.png").astype(int)
    tile = round(150 * HEIGHT / WIDTH)
    worst, next_worst = (
        [sheet[y : y + tile, 14 + n * 154 : 164 + n * 154] for n in (1, 2)]
        for y in (76, 76 + tile + 24)
    )
    assert np.abs(worst[0] - worst[1]).mean() > 5
    np.testing.assert_array_equal(next_worst[0], next_worst[1])


def test_samples_without_siblings_give_pictures_that_say_so(workspace: Path) -> None:
    drawn = DrawnSet(workspace / "data/raw")
    drawn.add_copy("Trout", draw_photo(1))
    draw(audited(drawn), workspace)
    assert sorted(path.name for path in (workspace / "plots").iterdir()) == FILES
