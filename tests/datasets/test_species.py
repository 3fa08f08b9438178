"""Species as data: what the file may hold."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from fishseg.datasets.sample.species import SPECIES, Fish, MedianFin, Shrimp


def test_the_order_that_seeds_rest_on() -> None:
    kinds = [type(species) for species in SPECIES]
    assert kinds == [Fish] * 6 + [Shrimp] + [Fish] * 2
    assert [species.name for species in SPECIES] == sorted(species.name for species in SPECIES)


def test_two_folders_of_photographs_are_spelled_otherwise() -> None:
    spelled = {species.name: species.source_folder for species in SPECIES}
    assert {name: folder for name, folder in spelled.items() if name != folder} == {
        "Gilt-Head Bream": "Gilt Head Bream",
        "Hourse Mackerel": "Horse Mackerel",
    }


def test_fins_stand_on_the_body_and_in_order() -> None:
    for species in SPECIES:
        if isinstance(species, Fish):
            for fin in (*species.dorsal_fins, *species.anal_fins):
                assert species.head < fin.start < fin.end < species.tail.start


def test_what_a_part_does_not_have_is_refused() -> None:
    fin = {"start": 0.4, "end": 0.5, "height": 0.1}
    assert MedianFin.model_validate(fin).peak == 0.3
    with pytest.raises(ValidationError, match="hight"):
        MedianFin.model_validate({**fin, "hight": 0.1})
    with pytest.raises(ValidationError, match="height"):
        MedianFin.model_validate({"start": 0.4, "end": 0.5})
