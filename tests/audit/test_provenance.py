from __future__ import annotations

import pickle
from pathlib import Path
from typing import Literal, TypeAlias

import numpy as np
import pytest
from drawn_photos import HEIGHT, WIDTH, DrawnSet, draw_board, draw_photo, moved, transform
from numpy.typing import NDArray
from PIL import Image

from fishseg.audit.inventory import build_inventory
from fishseg.audit.provenance import Audited, audit
from fishseg.audit.tracing import samples_of, trace
from fishseg.audit.verdicts import judge
from fishseg.images.masks import read_mask, read_truth
from fishseg.params import AuditParams
from fishseg.store import file_sha256
from fishseg.tables import read_inventory, write_inventory

Photo: TypeAlias = tuple[NDArray[np.uint8], NDArray[np.bool_]]

# Near the angles at which rounding, symmetry or the frame could deceive.
TURNS = [(False, 0.0), (True, 0.3), (False, 89.8), (True, 90.0), (False, 180.0), (True, 181.0)]


@pytest.fixture
def drawn(workspace: Path) -> DrawnSet:
    (workspace / "data").mkdir(exist_ok=True)
    return DrawnSet(workspace / "data/raw")


Masks = Literal["keep", "reject", "repair"]


def settings(masks: Masks = "repair") -> AuditParams:
    return AuditParams(
        max_broken_share=0.0,
        masks=masks,
        min_likeness=0.4,
        min_mask_agreement=0.9,
        min_agreeing_masks=3,
    )


def audited(drawn: DrawnSet, masks: Masks = "repair", workers: int = 1) -> Audited:
    inventory = build_inventory(drawn.raw, max_broken_share=0.0)
    place = Path("data/masks")
    return audit(inventory.table, drawn.raw, settings(masks), place, workers=workers)


def add_family(
    drawn: DrawnSet, class_name: str, photo: Photo, name: str = "", turns: int = 4
) -> list[str]:
    """A photograph, if it has a name, and turned copies of it."""
    source = drawn.add_photo(class_name, name, photo[0]) if name else ""
    return [
        drawn.add_copy(class_name, photo, source=source, flipped=flipped, degrees=degrees)
        for flipped, degrees in TURNS[:turns]
    ]


def groups(found: Audited) -> dict[str, str]:
    return dict(zip(found.table["sample_id"], found.table["group_id"], strict=True))


def status(found: Audited) -> dict[str, str]:
    return dict(zip(found.table["sample_id"], found.table["mask_status"], strict=True))


def iou(one: NDArray[np.bool_], other: NDArray[np.bool_]) -> float:
    return float((one & other).sum() / (one | other).sum())


def test_every_copy_is_placed_and_every_mask_verified(drawn: DrawnSet) -> None:
    for class_name, seeds in (("Trout", (1, 2)), ("Hourse Mackerel", (3,))):
        for seed in seeds:
            photo = draw_photo(seed)
            folder = class_name.replace("Hourse", "Horse")
            source = drawn.add_photo(folder, f"DSC {seed}.png", photo[0])
            for flipped, degrees in TURNS:
                drawn.add_copy(class_name, photo, source=source, flipped=flipped, degrees=degrees)
    found = audited(drawn)
    drawn.check(found.copies)
    assert groups(found) == {sample: made[0] for sample, made in drawn.truth.items()}
    assert set(found.table["mask_status"]) == {"ok"}
    assert found.table["mask_agreement"].min() > 0.94
    assert found.metrics["n_photos"] == found.metrics["n_groups"] == 3
    assert found.metrics["copies"] == {
        "placed_on_a_photo": 18,
        "linked_to_other_copies": 0,
        "of_nothing": 0,
        "low_confidence": 0,
    }
    assert found.metrics["residual_px"]["median"] < 0.3
    # What goes to the inventory comes back.
    write_inventory(found.table, Path("data/inventory.csv"))
    assert read_inventory(Path("data/inventory.csv")).equals(found.table)


def test_the_same_bits_twice_and_by_processes(drawn: DrawnSet, workspace: Path) -> None:
    for seed in (1, 2):
        add_family(drawn, "Trout", draw_photo(seed), f"{seed}.png")
    first = audited(drawn)
    again = audited(drawn)
    assert first.table.equals(again.table)
    (workspace / "data/.store").rename(workspace / "data/old")
    together = audited(drawn, workers=2)
    assert first.copies.equals(together.copies)
    assert first.metrics == together.metrics


@pytest.mark.parametrize("masks", ["keep", "reject", "repair"])
def test_a_wrong_mask_is_kept_rejected_or_repaired(drawn: DrawnSet, masks: Masks) -> None:
    photo = draw_photo(5)
    add_family(drawn, "Trout", photo, "a.png")
    shifted = moved(photo[1], transform(True, 120))
    bad = drawn.add_copy("Trout", photo, flipped=True, degrees=33, mask=shifted)
    before = {path: path.read_bytes() for path in drawn.raw.rglob("*.png")}
    found = audited(drawn, masks)
    assert {path: path.read_bytes() for path in drawn.raw.rglob("*.png")} == before

    expected = {"keep": "unverified", "reject": "rejected", "repair": "repaired"}[masks]
    assert {sample for sample, now in status(found).items() if now == "ok"} == (
        set(drawn.truth) - {bad}
    )
    assert status(found)[bad] == expected
    assert found.metrics["masks"]["wrong"] == 1
    assert found.metrics["per_class"]["trout"]["n_wrong_masks"] == 1
    row = found.table.set_index("sample_id").loc[bad]
    assert row["mask_agreement"] < 0.7
    if masks != "repair":
        assert row["mask_path"].startswith("data/raw/")
        assert not Path("data/masks").exists()
        return
    assert row["mask_path"] == "data/masks/Trout/00005.png"
    assert row["raw_mask_path"].startswith("data/raw/")
    repaired = read_mask(Path(row["mask_path"]), (HEIGHT, WIDTH), str(row["mask_rule"]))
    exact = moved(photo[1], transform(True, 33)) > 0
    assert iou(repaired, exact) > 0.95
    assert row["foreground_fraction"] == pytest.approx(repaired.mean(), abs=1e-6)


def test_verdicts_hold_no_pixels_and_repairs_keep_to_their_rows(drawn: DrawnSet) -> None:
    wrong = []
    for seed in (1, 2):
        photo = draw_photo(seed)
        add_family(drawn, "Trout", photo, f"{seed}.png")
        shifted = moved(photo[1], transform(True, 120))
        wrong.append(drawn.add_copy("Trout", photo, degrees=20, mask=shifted))
    samples = samples_of(build_inventory(drawn.raw, max_broken_share=0.0).table)
    traced = trace(samples, drawn.raw, min_likeness=0.4, workers=1)
    verdicts = judge(
        samples, traced, min_agreement=0.9, min_masks=3, repair_to=Path("data/masks"), workers=1
    )
    assert max(len(pickle.dumps(verdict)) for verdict in verdicts) < 1000  # a mask has 30,000
    repaired = {
        sample.sample_id: verdict.repaired
        for sample, verdict in zip(samples, verdicts, strict=True)
        if verdict.repaired
    }
    assert sorted(repaired) == wrong
    for sample_id, put_in in repaired.items():
        assert put_in.mask_path == f"data/masks/{sample_id}.png"
        assert put_in.mask_sha256 == file_sha256(Path(put_in.mask_path))
    table = audited(drawn).table.set_index("sample_id")
    for row in table.reset_index().to_dict("records"):
        changed = row["mask_path"] != row["raw_mask_path"]
        assert changed == (row["sample_id"] in wrong)
        assert row["mask_sha256"] == file_sha256(Path(row["mask_path"]))


@pytest.mark.parametrize("level", [0, 255])
def test_an_even_mask_is_repaired(drawn: DrawnSet, level: int) -> None:
    photo = draw_photo(6)
    add_family(drawn, "Trout", photo, "a.png")
    even = np.full((HEIGHT, WIDTH), level, np.uint8)
    bad = drawn.add_copy("Trout", photo, degrees=200, mask=even)
    found = audited(drawn)
    assert status(found)[bad] == "repaired"


def test_what_masks_ignore_is_neither_wrong_nor_background_when_repaired(drawn: DrawnSet) -> None:
    """Half of one right mask is ignored, and a strip of all, as 7; one mask is wrong."""
    photo = draw_photo(5)
    family = add_family(drawn, "Trout", photo, "a.png", turns=5)
    shifted = moved(photo[1], transform(True, 120))
    bad = drawn.add_copy("Trout", photo, flipped=True, degrees=33, mask=shifted)
    strip, half = np.zeros((2, HEIGHT, WIDTH), np.bool_)
    strip[30:45] = half[:, : WIDTH // 2] = True
    for number, (sample, turn) in enumerate(
        zip([*family, bad], [*TURNS[:5], (True, 33)], strict=True)
    ):
        folder = drawn.raw / "Fish_Dataset/Fish_Dataset/Trout/Trout GT"
        path = folder / f"{sample.rpartition('/')[2]}.png"
        levels = np.minimum(np.array(Image.open(path)), 1)
        levels[moved(strip | half if number == 1 else strip, transform(*turn)) > 0] = 7
        Image.fromarray(levels).save(path)
    inventory = build_inventory(drawn.raw, max_broken_share=0.0, mask_values="fish: 1; ignore: 7")
    found = audit(inventory.table, drawn.raw, settings(), Path("data/masks"), workers=1)
    assert status(found) == {**dict.fromkeys(family, "ok"), bad: "repaired"}
    row = found.table.set_index("sample_id").loc[bad]
    truth = read_truth(Path(row["mask_path"]), (HEIGHT, WIDTH), str(row["mask_rule"]))
    ignored = moved(strip, transform(True, 33)) > 0
    assert truth.valid is not None
    assert iou(~truth.valid, ignored) > 0.9
    exact = (moved(photo[1], transform(True, 33)) > 0) & ~ignored
    assert iou(truth.fish, exact) > 0.95
    share = truth.fish.sum() / truth.valid.sum()
    assert row["foreground_fraction"] == pytest.approx(share, abs=1e-6)


def test_a_missing_photo_leaves_its_copies_together(drawn: DrawnSet) -> None:
    add_family(drawn, "Trout", draw_photo(1), "1.png")
    orphans = add_family(drawn, "Trout", draw_photo(2))
    found = audited(drawn)
    assert {groups(found)[sample] for sample in orphans} == {orphans[0]}
    assert {status(found)[sample] for sample in orphans} == {"ok"}
    assert found.metrics["copies"]["linked_to_other_copies"] == 4
    assert found.metrics["n_groups"] == 2


def test_a_copy_of_nothing_is_a_group_of_its_own(drawn: DrawnSet) -> None:
    add_family(drawn, "Trout", draw_photo(1), "1.png")
    stranger = drawn.add_copy("Trout", draw_photo(9))
    _, mask = draw_photo(1)
    board_only = drawn.add_copy("Trout", (draw_board(1), mask))
    even = drawn.add_copy("Trout", (np.full((HEIGHT, WIDTH, 3), 120, np.uint8), mask))
    found = audited(drawn)
    for sample in (stranger, board_only, even):
        assert groups(found)[sample] == sample
        assert status(found)[sample] == "unverified"
    row = found.copies.set_index("sample_id").loc[stranger]
    assert row[["source", "rotation_degrees", "mask_agreement"]].isna().all()
    assert 0 <= row["edge_evidence"] <= 1
    assert found.metrics["copies"]["of_nothing"] == 3


def test_photos_of_one_board_are_told_apart(drawn: DrawnSet) -> None:
    for seed in (1, 2, 3):
        add_family(drawn, "Trout", draw_photo(seed, board=7), f"{seed}.png")
    found = audited(drawn)
    drawn.check(found.copies)
    assert found.metrics["n_groups"] == 3
    assert found.near_duplicates.empty


def test_without_photos_copies_of_one_board_are_not_bridged(drawn: DrawnSet) -> None:
    families = [add_family(drawn, "Trout", draw_photo(seed, board=7)) for seed in (1, 2, 3)]
    found = audited(drawn)
    for family in families:
        assert {groups(found)[sample] for sample in family} == {family[0]}
    assert set(found.table["mask_status"]) == {"ok"}
    turned = found.table.set_index("sample_id").loc[families[0]]
    # Angles count from the copy that stands for the photo: here they differ as those made.
    relative = (turned["rotation_degrees"] - turned["rotation_degrees"].iloc[0]).abs()
    assert turned["flipped"].nunique() == 2
    assert relative.max() > 80


def test_a_class_with_one_photo(drawn: DrawnSet) -> None:
    add_family(drawn, "Trout", draw_photo(1), "only.png")
    found = audited(drawn)
    drawn.check(found.copies)


def test_two_identical_photos_are_one_source(drawn: DrawnSet) -> None:
    photo = draw_photo(1)
    samples = add_family(drawn, "Trout", photo, "a.png")
    drawn.add_photo("Trout", "b.png", photo[0])
    add_family(drawn, "Trout", draw_photo(2), "c.png")
    found = audited(drawn)
    drawn.check(found.copies)
    assert {groups(found)[sample] for sample in samples} == {"NA_Fish_Dataset/Trout/a.png"}
    assert found.near_duplicates[["one", "other"]].to_numpy().tolist() == [
        ["NA_Fish_Dataset/Trout/a.png", "NA_Fish_Dataset/Trout/b.png"]
    ]


def test_one_photo_in_two_classes_is_one_group_and_reported(drawn: DrawnSet) -> None:
    photo = draw_photo(1)
    trout = add_family(drawn, "Trout", photo, "a.png", turns=2)
    bream = [drawn.add_copy("Sea Bass", photo, flipped=True, degrees=d) for d in (40, 70)]
    drawn.add_photo("Sea Bass", "b.png", moved(photo[0], transform(True, 0)))
    found = audited(drawn)
    assert len({groups(found)[sample] for sample in trout + bream}) == 1
    pairs = found.near_duplicates[["one", "other"]].to_numpy().tolist()
    assert ["NA_Fish_Dataset/Sea Bass/b.png", "NA_Fish_Dataset/Trout/a.png"] in pairs
    assert set(found.table["mask_status"]) == {"ok"}


def test_without_photos_near_duplicates_across_classes_are_reported(drawn: DrawnSet) -> None:
    photo = draw_photo(1)
    one = drawn.add_copy("Trout", photo, degrees=15)
    other = drawn.add_copy("Sea Bass", photo, flipped=True, degrees=215)
    found = audited(drawn)
    assert groups(found)[one] == groups(found)[other] == other
    assert found.near_duplicates[["one", "other"]].to_numpy().tolist() == [[other, one]]
    # Two masks prove nothing.
    assert set(found.table["mask_status"]) == {"unverified"}
    assert found.table["mask_agreement"].notna().all()


def test_an_image_mirrored_twice_is_turned_by_half(drawn: DrawnSet) -> None:
    image, mask = draw_photo(4)
    drawn.add_photo("Trout", "a.png", image)
    twice = (image[::-1, ::-1].copy(), mask[::-1, ::-1].copy())
    sample = drawn.add_copy("Trout", twice)
    row = audited(drawn).copies.set_index("sample_id").loc[sample]
    assert row["flipped"] == 0
    assert row["rotation_degrees"] == pytest.approx(180, abs=0.3)


def test_copies_that_show_half_of_the_fish(drawn: DrawnSet) -> None:
    image, mask = draw_photo(4)
    # The photo shows the fish in its corner, so that turning cuts it off.
    cut = np.array([[1, 0, -70], [0, 1, -40], [0, 0, 1]], np.float64)
    photo = (moved(np.tile(image, (2, 2, 1)), cut)[:HEIGHT, :WIDTH], mask)
    shown = moved(np.tile(mask, (2, 2)), cut)[:HEIGHT, :WIDTH] > 0
    shown &= moved(np.pad(mask, ((0, HEIGHT), (0, WIDTH))), cut)[:HEIGHT, :WIDTH] > 0
    add_family(drawn, "Trout", (photo[0], shown), "a.png", turns=6)
    found = audited(drawn)
    drawn.check(found.copies)
    assert set(found.table["mask_status"]) == {"ok"}


def test_a_copy_cropped_to_half_the_frame_is_placed_by_its_features(drawn: DrawnSet) -> None:
    image, mask = draw_photo(4)
    source = drawn.add_photo("Trout", "a.png", image)
    add_family(drawn, "Trout", draw_photo(5), "b.png", turns=1)
    sample = drawn.add_copy("Trout", (image[:, WIDTH // 2 :], mask[:, WIDTH // 2 :]))
    row = audited(drawn).copies.set_index("sample_id").loc[sample]
    assert row["source"] == source
    assert row["scale"] == pytest.approx(1, abs=0.01)
    assert row["shift_x"] == pytest.approx(-WIDTH / 4, abs=0.5)


def test_a_photo_that_cannot_be_read_is_reported(drawn: DrawnSet) -> None:
    samples = add_family(drawn, "Trout", draw_photo(1), "a.png")
    (drawn.raw / "NA_Fish_Dataset/Trout/b.jpg").write_bytes(b"\xff\xd8\xff no JPEG")
    found = audited(drawn)
    assert [(problem.kind, problem.path) for problem in found.problems] == [
        ("broken_photo", "NA_Fish_Dataset/Trout/b.jpg")
    ]
    assert groups(found)[samples[0]] == "NA_Fish_Dataset/Trout/a.png"


def test_groups_that_were_given_stay_and_grow(drawn: DrawnSet) -> None:
    family = add_family(drawn, "Trout", draw_photo(1))
    alone = drawn.add_copy("Trout", draw_photo(2))
    lines = ["sample_id,group_id", f"{family[0]},tank 3", f"{alone},tank 3"]
    lines += [f"{sample},{sample}" for sample in family[1:]]
    (drawn.raw / "groups.csv").write_text("\n".join(lines) + "\n")
    assert set(groups(audited(drawn)).values()) == {"tank 3"}


@pytest.mark.parametrize("named", [0, 2])
def test_a_group_named_after_one_of_its_samples_keeps_it(named: int, drawn: DrawnSet) -> None:
    # Copies of two photographs, and one of none, of which somebody knows that they show one fish.
    samples = [
        add_family(drawn, "Trout", draw_photo(seed), f"{seed}.png", turns=1)[0] for seed in (1, 2)
    ]
    samples.append(drawn.add_copy("Trout", draw_photo(3)))
    other = add_family(drawn, "Trout", draw_photo(4), "4.png", turns=2)
    given = dict.fromkeys(samples, samples[named]) | {sample: sample for sample in other}
    lines = ["sample_id,group_id", *(f"{sample},{group}" for sample, group in given.items())]
    (drawn.raw / "groups.csv").write_text("\n".join(lines) + "\n")
    found = groups(audited(drawn))
    assert {found[sample] for sample in samples} == {samples[named]}
    assert {found[sample] for sample in other} == {"NA_Fish_Dataset/Trout/4.png"}


def test_groups_that_a_dropped_image_tied_stay_together(drawn: DrawnSet) -> None:
    samples = [
        add_family(drawn, "Trout", draw_photo(seed), f"{seed}.png", turns=1)[0] for seed in (1, 2)
    ]
    drawn.add_copy("Trout", draw_photo(1))  # the first picture once more
    lines = ["sample_id,group_id", *(f"{sample},{sample}" for sample in samples)]
    lines.append(f"Trout/00003,{samples[1]}")
    (drawn.raw / "groups.csv").write_text("\n".join(lines) + "\n")
    assert groups(audited(drawn)) == dict.fromkeys(samples, samples[0])


def test_a_single_sample(drawn: DrawnSet) -> None:
    sample = drawn.add_copy("Trout", draw_photo(1))
    found = audited(drawn)
    assert groups(found) == {sample: sample}
    assert status(found) == {sample: "unverified"}
    assert found.metrics["likeness"] == {"smallest": None, "median": None}
