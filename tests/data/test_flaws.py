"""What is wrong with a data set is told once a kind, and listed as a whole."""

import json
from pathlib import Path

import vision_tasks as vt
from tests import factories
from vision_tasks.data.flaws import Flaw, in_short, write_flaws


def flaw(name: str, what: str, **options: bool) -> Flaw:
    return Flaw(Path(name), what, **options)


def test_flaws_that_differ_by_their_case_alone_are_one_kind():
    flaws = [
        flaw("a.txt", "line 3: cat box has no area: dropped", of_truth=True),
        flaw("b.txt", "line 17: dog box has no area: dropped", of_truth=True),
        flaw("b.txt", "line 4: dog box (1, 2, 3, 4) reaches outside the image: clipped", of_truth=True),
        flaw("c.txt", "line 4: 'odd one' box (5.5, 2, 3, 4) reaches outside the image: clipped", of_truth=True),
    ]
    assert in_short(flaws, ["cat", "dog"]) == [
        "a.txt: line 3: cat box has no area: dropped (and 1 like it)",
        "b.txt: line 4: dog box (1, 2, 3, 4) reaches outside the image: clipped (and 1 like it)",
    ]


def test_changes_of_truth_come_first_and_the_list_keeps_its_order(tmp_path):
    flaws = [flaw("a", "is not read"), flaw("b", "was dropped", of_truth=True)]
    assert in_short(flaws, []) == ["b: was dropped", "a: is not read"]
    write_flaws(tmp_path, flaws)
    assert (tmp_path / "flaws.txt").read_text() == "a: is not read\nb: was dropped\n"
    assert in_short([], []) == []


def test_training_and_evaluation_keep_the_whole_list(tmp_path, capsys):
    factories.write_coco(tmp_path / "data", splits=("train", "val"))
    for path in (tmp_path / "data").rglob("*.json"):
        content = json.loads(path.read_text())
        images = [image["id"] for image in content["images"]]
        content["annotations"] += [factories.coco_box(900 + image, image, 1, (5, 5, 0, 9)) for image in images]
        path.write_text(json.dumps(content))
    run = vt.train(
        "detect", data=tmp_path / "data", out=tmp_path / "run", model="yolov8n", image_size=32, epochs=1, batch_size=4,
        device="cpu",
    )  # fmt: skip
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("flaw: ")]
    listed = (run / "flaws.txt").read_text().splitlines()
    assert len([line for line in listed if "no area: dropped" in line]) == 12
    assert len([line for line in said if "no area: dropped (and 11 like it)" in line]) == 1
    vt.evaluate("detect", weights=run, data=tmp_path / "data", split="val", out=tmp_path / "scores", device="cpu")
    assert (tmp_path / "scores" / "flaws.txt").read_text().splitlines() == listed
