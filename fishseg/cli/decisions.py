"""What the user decided on the page of `fishseg predict`: ``decisions.csv`` beside it."""

from __future__ import annotations

import dataclasses
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Any

from fishseg.cli.user_tables import read_rows, who_is_meant
from fishseg.errors import DataError
from fishseg.images.folders import some
from fishseg.report.own_pictures import checksum_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping
    from pathlib import Path

# What the page lets the user save beside it.
DECISIONS = "decisions.csv"
COLUMNS = ("image", "decision")
_VERDICTS = ("accepted", "rejected")
_OPEN = ("", "open")


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decision:
    """A decision on a picture.

    Attributes:
        verdict: ``accepted`` or ``rejected``.
        checksum: of the picture and the mask that it was made on; empty where the table does not
            say, as tables of earlier versions.
    """

    verdict: str
    checksum: str


@dataclasses.dataclass(frozen=True, kw_only=True)
class Decided:
    """The decisions that count.

    Attributes:
        verdicts: by the picture's source.
        outdated: sources of pictures that were decided on with another mask, or as another picture.
        remarks: lines on what does not count.
    """

    verdicts: dict[str, str]
    outdated: frozenset[str]
    remarks: list[str]


def read_decisions(path: Path) -> dict[str, Decision]:
    """What the user decided, by the image as the table names it; nothing where there is no file.

    Raises:
        DataError: the file is damaged.
    """
    if not path.exists():
        return {}

    def refuse(what: str, remedy: str | None = None) -> DataError:
        return DataError(
            f"the decisions cannot be read: {what}",
            where=path,
            expected="the columns image and decision, which is accepted or rejected",
            remedy=remedy or "save them again from index.html, or remove the file",
        )

    decisions: dict[str, Decision] = {}
    for row in read_rows(path, COLUMNS, refuse):
        verdict = row["decision"].strip().casefold()
        if verdict in _OPEN:
            continue
        if verdict not in _VERDICTS:
            raise refuse(f"{row['decision']!r} is no decision on {row['image']!r}")
        decision = Decision(verdict=verdict, checksum=row.get("checksum", "").strip())
        if decisions.setdefault(row["image"], decision).verdict != verdict:
            raise refuse(f"{row['image']!r} has two decisions")
    return decisions


def decided(
    decisions: Mapping[str, Decision], records: Iterable[tuple[str, Mapping[str, Any]]]
) -> Decided:
    """Which decisions count: those on the picture and the mask that are there now.

    One whose table does not say what it was made on counts as well.

    Args:
        decisions: as `read_decisions` gives them.
        records: the name and the record of each picture.
    """
    if not decisions:
        return Decided(verdicts={}, outdated=frozenset(), remarks=[])
    checksums = {}
    places = {}
    for _, record in records:
        checksums[record["source"]] = checksum_of(record)
        places[record["source"]] = PurePosixPath(record["path"])
    # The page writes the names of the table; anything else is a user's way to name a picture.
    exact = {name: name for name in decisions if name in checksums}
    others, useless = who_is_meant(
        decisions.keys() - exact, {name: places[name] for name in places if name not in exact}
    )
    meant = exact | others
    verdicts = {}
    outdated = []
    for name, source in sorted(meant.items()):
        if decisions[name].checksum in ("", checksums[source]):
            verdicts[source] = decisions[name].verdict
        else:
            outdated.append(source)
    remarks = [f"{DECISIONS}: {name}: {what}" for name, what in sorted(useless)]
    if outdated:
        remarks.append(
            f"{DECISIONS}: {some(outdated)}: decided on with another mask or picture than the one "
            "there now, so that it is open again: decide on index.html and save"
        )
    return Decided(verdicts=verdicts, outdated=frozenset(outdated), remarks=remarks)
