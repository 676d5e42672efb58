"""Conversions keep all that the target can hold, and name the rest; pycocotools reads what is written."""

import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from pycocotools.coco import COCO

from tests.factories import save, texture, write_annotation, write_coco, write_coco_file, write_mask_pairs, write_yolo
from vision_tasks import load_dataset
from vision_tasks.cli import main
from vision_tasks.commands.conversion import new_names, run_lengths
from vision_tasks.commands.convert import convert_dataset
from vision_tasks.errors import UserError
from vision_tasks.types import Sample

SIZE = (60, 90)


def write_random_boxes(root: Path, seed: int, splits: tuple[str, ...] = ("train", "val")) -> None:
    """COCO data of two splits: boxes between pixels, crowds, areas of outlines, an empty image, ids with gaps."""
    luck = np.random.default_rng(seed)
    for split in splits:
        images, boxes = [], []
        for i in range(4):
            name = f"{split} {i}.png"
            save(root / split / name, texture(SIZE, luck))
            images.append({"id": 7 * i + 3, "file_name": name, "width": SIZE[1], "height": SIZE[0]})
            for k in range(3 * (i > 0)):
                x0, y0 = luck.uniform(0, (SIZE[1] - 20, SIZE[0] - 20))
                w, h = luck.uniform(2, 20, 2)
                boxes.append({"id": len(boxes) + 1, "image_id": 7 * i + 3, "category_id": int(luck.choice([2, 5, 9])),
                              "bbox": [x0, y0, w, h], "area": w * h * (0.5 if k == 1 else 1),
                              "iscrowd": int(k == 2 and i == 1)})  # fmt: skip
        write_coco_file(
            root / split / "_annotations.coco.json", {2: "cat", 5: 'dog "x" & <y>', 9: "été"}, images, boxes
        )


def truths(root: Path, task: str = "detect") -> dict[str, dict[str, list[Any]]]:
    """{split: {image name: [(class, edges, crowd, area), ...]}}"""
    dataset = load_dataset(task, root)
    found: dict[str, dict[str, list[Any]]] = {}
    for split, samples in dataset.splits.items():
        found[split] = {}
        for sample in samples:
            boxes = sample.truth(SIZE)
            area = boxes.area[0].tolist() if boxes.area is not None else [np.nan] * boxes.label.shape[1]
            found[split][sample.path.name.replace(" ", "_")] = [
                (dataset.classes[label], xyxy, crowd, area)
                for label, xyxy, crowd, area in zip(
                    boxes.label[0].tolist(), boxes.xyxy[0].tolist(), boxes.crowd[0].tolist(), area, strict=True
                )
            ]
    return found


def assert_same(found: dict[str, Any], expected: dict[str, Any], crowds: bool, areas: bool) -> None:
    assert found.keys() == expected.keys()
    for split, images in expected.items():
        assert found[split].keys() == images.keys()
        for name, rows in images.items():
            kept = [row for row in rows if crowds or not row[2]]
            assert [row[0] for row in found[split][name]] == [row[0] for row in kept]
            for one, other in zip(found[split][name], kept, strict=True):
                assert one[1] == pytest.approx(other[1], abs=1e-6)
                assert one[2] == other[2]
                assert not areas or one[3] == pytest.approx(other[3])


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("to", ["coco", "yolo", "voc"])
def test_boxes_come_back(tmp_path, to, seed):
    write_random_boxes(tmp_path / "data", seed)
    losses = convert_dataset(tmp_path / "data", to, tmp_path / "out", task="detect").counts
    expected = truths(tmp_path / "data")
    assert_same(truths(tmp_path / "out"), expected, crowds=to == "coco", areas=to == "coco")
    if to == "coco":
        assert losses == {"'supercategory' of categories": 6}
        before, after = load_dataset("detect", tmp_path / "data"), load_dataset("detect", tmp_path / "out")
        assert after.class_ids == before.class_ids == (2, 5, 9)
        assert [*after.image_ids.values()] == [*before.image_ids.values()]
    else:
        assert losses["boxes around crowds, left out"] == 2
        assert losses["areas that aren't those of their boxes"] == 6
        assert losses["ids of images"] == 8
        assert losses["ids of classes"] == 3


def test_pycocotools_reads_the_boxes(tmp_path):
    write_random_boxes(tmp_path / "data", 5)
    convert_dataset(tmp_path / "data", "coco", tmp_path / "out", task="detect")
    ours, theirs = (
        COCO(str(path))
        for path in (tmp_path / "out/annotations/instances_val.json", tmp_path / "data/val/_annotations.coco.json")
    )
    assert ours.getImgIds() == theirs.getImgIds()
    for image in theirs.getImgIds():
        pairs = zip(ours.imgToAnns[image], theirs.imgToAnns[image], strict=True)
        for one, other in pairs:
            assert one["bbox"] == pytest.approx(other["bbox"])
            assert [one[key] for key in ("category_id", "iscrowd")] == [
                other[key] for key in ("category_id", "iscrowd")
            ]
            assert one["area"] == pytest.approx(other["area"])


def test_a_chain_of_formats_ends_where_it_began(tmp_path):
    written = write_yolo(tmp_path / "a", splits=(), described=False)
    for source, to, out in (("a", "voc", "b"), ("b", "coco", "c"), ("c", "yolo", "d")):
        convert_dataset(tmp_path / source, to, tmp_path / out, task="detect")
    first, last = truths(tmp_path / "a"), truths(tmp_path / "d")
    assert_same(last, first, crowds=True, areas=False)
    assert sum(map(len, written["all"].values())) == sum(map(len, last["all"].values())) > 0


def test_marks_of_voc_are_counted(tmp_path):
    save(tmp_path / "data/JPEGImages/a.png", texture(SIZE, np.random.default_rng(0)))
    path = tmp_path / "data/Annotations/a.xml"
    write_annotation(path, SIZE, [("cat", (3, 4, 20, 30)), ("dog", (5, 5, 40, 40))])
    text = path.read_text().replace("<difficult>0", "<difficult>1", 1)
    path.write_text(text.replace("<difficult>0", "<truncated>1</truncated><pose>Left</pose><difficult>0", 1))
    losses = convert_dataset(tmp_path / "data", "coco", tmp_path / "out", task="detect").counts
    assert losses == {"objects marked difficult": 1, "objects marked truncated": 1, "objects with a pose": 1}
    assert truths(tmp_path / "out")["all"]["a.png"][1][:2] == ("dog", [5, 5, 40, 40])


def test_what_voc_would_take_for_a_click_is_left_out_and_said(tmp_path):
    save(tmp_path / "data/images/a.png", texture(SIZE, np.random.default_rng(0)))
    listed = [{"id": 1, "file_name": "a.png", "width": 90, "height": 60}]
    boxes = [
        {"id": i, "image_id": 1, "category_id": 1, "bbox": box}
        for i, box in enumerate([[3, 4, 1, 9], [3, 4, 2, 9], [3.5, 4, 8, 8]], 1)
    ]
    write_coco_file(tmp_path / "data/annotations.json", {1: "cat", 2: "dog"}, listed, boxes)
    losses = convert_dataset(tmp_path / "data", "voc", tmp_path / "out").counts
    assert losses["boxes of one pixel or less in width or height, left out"] == 1
    assert losses["boxes with decimals, which some readers of VOC refuse"] == 1
    assert losses["classes without a box, which VOC has no list of"] == 1
    assert [row[1] for row in truths(tmp_path / "out")["all"]["a.png"]] == [[3, 4, 5, 13], [3.5, 4, 11.5, 12]]


def index_of(dataset: Any) -> dict[str, np.ndarray]:
    """{split/image: names of the classes [H,W]}; void is "void"."""
    names = np.array([*dataset.classes, *["?"] * (255 - len(dataset.classes)), "void"])
    return {
        f"{split}/{sample.path.name}": names[sample.truth(None).index[0].numpy()]
        for split, samples in dataset.splits.items()
        for sample in samples
    }


@pytest.mark.parametrize("splits", [("train", "val"), ()])
def test_masks_to_coco_and_back(tmp_path, splits):
    write_mask_pairs(tmp_path / "data", splits=splits)
    for path in [*(tmp_path / "data").rglob("masks/000.png")]:
        mask = cv2.imread(str(path), cv2.IMREAD_UNCHANGED)
        mask[:5, :9] = 255
        cv2.imwrite(str(path), mask)
    convert_dataset(tmp_path / "data", "coco", tmp_path / "coco")
    convert_dataset(tmp_path / "coco", "masks", tmp_path / "back")
    before, coco, back = (index_of(load_dataset("segment", tmp_path / name)) for name in ("data", "coco", "back"))
    assert before.keys() == coco.keys() == back.keys()
    assert all((before[key] == coco[key]).all() and (before[key] == back[key]).all() for key in before)
    (path, *_) = sorted((tmp_path / "coco").rglob("*.json"))
    oracle = COCO(str(path))
    for image in oracle.getImgIds():
        name = oracle.imgs[image]["file_name"]
        found = np.full(oracle.annToMask(oracle.imgToAnns[image][0]).shape, "background", object)
        for annotation in oracle.imgToAnns[image]:
            inside = oracle.annToMask(annotation).astype(bool)
            assert inside.sum() == annotation["area"]
            label = "void" if annotation["iscrowd"] else oracle.cats[annotation["category_id"]]["name"]
            found[inside] = label
        assert (found == before[f"{splits[0] if splits else 'all'}/{name}"]).all()


def test_numbered_objects_become_outlines_of_their_own(tmp_path):
    write_mask_pairs(tmp_path / "data", splits=(), images=1)
    objects = np.zeros((48, 64), np.uint16)
    objects[3:9, 4:11], objects[20:31, 40:44] = 700, 3
    (tmp_path / "data/instances").mkdir()
    cv2.imwrite(str(tmp_path / "data/instances/000.png"), objects)
    index = np.where(objects == 700, 2, objects > 0).astype(np.uint8)
    save(tmp_path / "data/masks/000.png", index)
    convert_dataset(tmp_path / "data", "coco", tmp_path / "out")
    content = json.loads((tmp_path / "out/annotations.json").read_text())
    found = [(each["category_id"], each["bbox"], each["area"]) for each in content["annotations"]]
    assert found == [(1, [40, 20, 4, 11], 44), (2, [4, 3, 7, 6], 42)]
    assert content["categories"] == [{"id": 1, "name": "a"}, {"id": 2, "name": "b"}]


@pytest.mark.parametrize("seed", range(20))
def test_run_lengths_are_those_of_pycocotools(seed):
    from pycocotools import mask as oracle

    luck = np.random.default_rng(seed)
    inside = luck.random(luck.integers(1, 9, 2)) < luck.random()
    inside.flat[0] = seed % 2
    packed = oracle.frPyObjects({"size": [*inside.shape], "counts": run_lengths(inside)}, *inside.shape)
    assert (oracle.decode(packed).astype(bool) == inside).all()
    assert packed["counts"] == oracle.encode(np.asfortranarray(inside.astype(np.uint8)))["counts"]


@pytest.mark.parametrize("copy", [False, True])
def test_images_are_linked_or_copied_and_stay_what_they_were(tmp_path, copy):
    write_coco(tmp_path / "data", splits=("train",))
    before = {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()}
    convert_dataset(tmp_path / "data", "yolo", tmp_path / "out", task="detect", copy=copy)
    assert {path: path.read_bytes() for path in (tmp_path / "data").rglob("*") if path.is_file()} == before
    placed = sorted((tmp_path / "out/images/train").iterdir())
    assert [path.is_symlink() for path in placed] == [not copy] * 6
    assert [path.read_bytes() for path in placed] == [before[tmp_path / "data/train" / path.name] for path in placed]


def test_names_that_would_meet_are_told_apart():
    ids = ["train/a.jpg", "val/a.jpg", "train/B.png", "train/b.jpg", "train/c d.jpg", "val_a.jpg"]
    names = new_names(Sample(id, Path(id), lambda _: None) for id in ids)
    assert names["train/a.jpg"] == "train_a.jpg"
    assert names["train/c d.jpg"] == "c_d.jpg"
    stems = [Path(name).stem.casefold() for name in names.values()]
    assert len(set(stems)) == len(ids)


def test_what_cant_be_converted_is_refused(tmp_path):
    write_coco(tmp_path / "boxes", splits=())
    write_mask_pairs(tmp_path / "masks", splits=())
    with pytest.raises(UserError, match="unknown format to convert to 'vox'; did you mean voc"):
        convert_dataset(tmp_path / "boxes", "vox", tmp_path / "out")
    with pytest.raises(UserError, match="can be read to segment; yolo holds what is read to detect"):
        convert_dataset(tmp_path / "masks", "yolo", tmp_path / "out")
    with pytest.raises(UserError, match="not empty; give another --out"):
        convert_dataset(tmp_path / "boxes", "yolo", tmp_path / "masks")
    with pytest.raises(UserError, match="in the data set's own folder"):
        convert_dataset(tmp_path / "boxes", "yolo", tmp_path / "boxes/yolo")
    assert not (tmp_path / "out").exists()


def test_the_command_says_what_is_lost(tmp_path, monkeypatch, capsys):
    write_random_boxes(tmp_path / "data", 0)
    (tmp_path / "data/train/train 0.png").write_bytes(b"broken")
    arguments = ["data", "convert", str(tmp_path / "data"), "--to", "yolo", "--out", str(tmp_path / "out")]
    monkeypatch.setattr("sys.argv", ["vision-tasks", *arguments, "--task", "detect"])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 0
    said = capsys.readouterr().err
    assert "not kept: boxes around crowds, left out: 2" in said
    assert "train 0.png: not an image" in said
    assert f"7 images, 1 left out; wrote {tmp_path / 'out'}" in said


@pytest.mark.shared
def test_all_4177_nuclei_become_outlines(tmp_path, shared_data):
    convert_dataset(shared_data / "segment-nuclei-dsb2018", "coco", tmp_path / "out")
    files = [json.loads(path.read_text()) for path in (tmp_path / "out/annotations").iterdir()]
    assert sum(len(file["annotations"]) for file in files) == 4177
    assert sum(len(file["images"]) for file in files) == 104


@pytest.mark.shared
def test_the_1131_marks_of_the_blood_cells_are_missed(tmp_path, shared_data):
    losses = convert_dataset(shared_data / "detect-bccd-voc", "coco", tmp_path / "out", task="detect").counts
    assert losses == {"objects marked truncated": 1131}
