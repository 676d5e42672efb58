"""What the READMEs of the shared sets list, as far as a machine can see it, is found."""

from pathlib import Path

import pytest

from vision_tasks.doctor.check import check_dataset
from vision_tasks.doctor.finding import Finding

pytestmark = pytest.mark.shared


def checked(path: Path, **options: bool) -> dict[str, Finding]:
    return {finding.kind: finding for finding in check_dataset(path, **options).findings}


def names(finding: Finding) -> list[str]:
    return sorted(Path(place.split(":")[0]).stem for place in finding.places)


def test_clothing_has_94_sizes_and_no_copies(shared_data: Path) -> None:
    found = checked(shared_data / "classify-clothing-small")
    assert set(found) == {"sizes"}
    assert found["sizes"].what == "sizes, 400x400 to 867x400"
    assert len(found["sizes"].places) == 94
    assert found["sizes"].places[:2] == ("400x533: 226", "400x534: 111")


def test_eurosat_has_141_flat_tiles_and_no_copies(shared_data: Path) -> None:
    found = checked(shared_data / "classify-eurosat-rgb")
    assert set(found) == {"flat"}
    assert len(found["flat"].places) == 141
    classes = [place.split("/")[1] for place in found["flat"].places]
    assert classes.count("SeaLake") + classes.count("Forest") > 120


@pytest.mark.slow
def test_mnist_has_nothing_that_a_machine_can_see(shared_data: Path) -> None:
    checkup = check_dataset(shared_data / "classify-mnist-idx", pixels=False)
    assert checkup.healthy
    assert not checkup.findings
    assert checkup.record["splits"] == {"train": 60000, "test": 10000}
    assert sum(row["count"]["train"] for row in checkup.record["classes"]) == 60000


def test_blood_cells_have_two_empty_boxes_and_15_images_without_red_cells(shared_data: Path) -> None:
    found = checked(shared_data / "detect-bccd-voc")
    assert names(found["label-error"]) == ["BloodImage_00338", "BloodImage_00343"]
    assert all("RBC" in place and "no area" in place for place in found["label-error"].places)
    without = [place for place in found["usual-class-missing"].places if place.endswith(": RBC")]
    numbers = (134, 147, 150, 152, 224, 249, 250, 258, 267, 268, 303, 322, 327, 330, 350)
    assert sorted(without) == [f"JPEGImages/BloodImage_{number:05}.jpg: RBC" for number in numbers]
    assert not {kind for kind in found if kind.startswith(("same", "near-duplicate-in", "unreadable"))}


def test_blood_cells_are_counted_as_their_readme_does(shared_data: Path) -> None:
    rows = check_dataset(shared_data / "detect-bccd-voc", pixels=False).record["classes"]
    assert {row["name"]: row["count"] for row in rows} == {
        "RBC": {"train": 2382 - _empty(shared_data, "train"), "val": 968 - _empty(shared_data, "val"),
                "test": 805 - _empty(shared_data, "test")},
        "WBC": {"train": 214, "val": 87, "test": 71},
        "Platelets": {"train": 209, "val": 83, "test": 69},
    }  # fmt: skip


def _empty(shared_data: Path, split: str) -> int:
    """How many of the two boxes without an area lie in a split."""
    listed = (shared_data / "detect-bccd-voc/ImageSets/Main" / f"{split}.txt").read_text().split()
    return len({"BloodImage_00338", "BloodImage_00343"} & set(listed))


def test_chess_has_ids_that_repeat_an_empty_and_a_one_off_class_and_a_box_twice(shared_data: Path) -> None:
    found = checked(shared_data / "detect-chess-coco")
    (twice,) = found["label-error"].places
    assert "annotation 1325: white-rook" in twice
    assert "26d663ab5ffbec49f9dc8e592982cfd4" in twice
    assert "listed twice" in twice
    (once,) = found["class-in-one-image"].places
    assert once.startswith("bishop: train/f1ea0167087976926d4fe0aa36b961ce")
    (pieces,) = found["reader-flaw"].places
    assert "'pieces' has no annotation" in pieces
    (empty,) = found["nothing-annotated"].places
    assert empty.startswith("test/e0d38d159ad3a801d0304d7e275812cc")
    assert len(found["category-id-0"].places) == 3
    assert {"image-id-repeats", "annotation-id-repeats", "near-duplicate-in-two-splits"} <= set(found)
    assert not {"same-file", "same-file-in-two-splits", "same-pixels-in-two-splits", "unreadable"} & set(found)


def test_camvid_has_void_rare_classes_and_drives_in_two_splits(shared_data: Path) -> None:
    found = checked(shared_data / "segment-camvid")
    assert found["void"].what == "splits with void, 3.6% of all pixels"
    assert names(found["mask-mostly-void"]) == ["0016E5_06690", "0016E5_06720"]
    shares = dict(place.split(": ") for place in found["uneven-classes"].places)
    counted = 1 - 0.036
    assert float(shares["Road"][:-1]) * counted == pytest.approx(29.3, abs=0.1)
    assert float(shares["Bicyclist"][:-1]) * counted == pytest.approx(0.5, abs=0.1)
    films = {place.split(":")[0]: place for place in found["sequence-in-two-splits"].places}
    assert films.keys() == {"0016E5", "0001TP"}
    assert "val 101" in films["0016E5"]
    assert "sizes" not in found
    assert "unreadable" not in found


def test_nuclei_have_6_sizes_and_an_alpha_that_says_nothing(shared_data: Path) -> None:
    found = checked(shared_data / "segment-nuclei-dsb2018")
    assert set(found) == {"sizes", "constant-alpha", "grey-among-colours"}
    assert len(found["sizes"].places) == 6
    assert found["constant-alpha"].what == "an alpha that is 255 everywhere says nothing, in 104 images"
    assert len(found["grey-among-colours"].places) == 104 - 26
