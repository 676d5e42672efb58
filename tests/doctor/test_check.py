"""The doctor names what was broken on purpose, nothing else, and leaves the files alone."""

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from tests.factories import save, texture, write_coco, write_folder_per_class, write_mask_pairs, write_voc, write_yolo
from vision_tasks.cli import main
from vision_tasks.doctor.balance import Tally, balance_findings
from vision_tasks.doctor.check import Checkup, check_dataset
from vision_tasks.errors import UserError

# Pictures of the factories are alike, and smaller than what is compared by look.
HARMLESS = {
    "image-id-repeats",
    "annotation-id-repeats",
    "sizes",
    "modes",
    "nothing-annotated",
    "usual-class-missing",
    "class-not-scored",
}


def places(checkup: Checkup) -> dict[str, tuple[str, ...]]:
    return {finding.kind: finding.places for finding in checkup.findings}


def photo(number: int, size: tuple[int, int] = (80, 96)) -> np.ndarray:
    """Blobs of colour that no other number has."""
    luck = np.random.default_rng([7, number])
    coarse = luck.integers(0, 256, (6, 7, 3), dtype=np.uint8)
    return cv2.resize(coarse, size[::-1], interpolation=cv2.INTER_CUBIC)


def write_photos(root: Path, splits: tuple[str, ...] = ("train", "val"), count: int = 6) -> None:
    number = 0
    for split in splits:
        for name in ("a", "b"):
            for i in range(count):
                save(root / split / name / f"{i}.png", photo(number))
                number += 1


@pytest.mark.parametrize("write", [write_folder_per_class, write_coco, write_yolo, write_voc, write_mask_pairs])
def test_healthy_data_has_nothing_but_notes(tmp_path, write):
    write(tmp_path / "data")
    checkup = check_dataset(tmp_path / "data")
    assert checkup.healthy
    assert set(places(checkup)) <= HARMLESS
    assert checkup.record["images"] == sum(checkup.record["splits"].values()) > 0


def test_nothing_is_written_into_the_data(tmp_path):
    write_voc(tmp_path / "data")
    before = {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in tmp_path.rglob("*") if path.is_file()}
    check_dataset(tmp_path / "data")
    assert {path: (path.stat().st_mtime_ns, path.read_bytes()) for path in before} == before
    assert {path for path in tmp_path.rglob("*") if path.is_file()} == set(before)


def test_unreadable_files_are_named_with_the_reason(tmp_path):
    write_photos(tmp_path)
    (tmp_path / "train/a/broken.jpg").write_bytes(b"no image")
    whole = cv2.imencode(".png", photo(99))[1].tobytes()
    (tmp_path / "train/b/cut.png").write_bytes(whole[:-40])
    (tmp_path / "val/b/empty.jpg").touch()
    found = places(check_dataset(tmp_path))
    assert found["unreadable"] == (
        "train/a/broken.jpg: not an image, or of an unknown format",
        "train/b/cut.png: the file is cut short",
        "val/b/empty.jpg: the file is empty",
    )
    without = places(check_dataset(tmp_path, pixels=False))["unreadable"]
    assert [place.split(":")[0] for place in without] == ["train/a/broken.jpg", "val/b/empty.jpg"]


def test_copies_are_found_by_file_by_pixels_and_by_look(tmp_path):
    write_photos(tmp_path)
    shutil.copy(tmp_path / "train/a/0.png", tmp_path / "val/a/copy.png")
    shutil.copy(tmp_path / "train/a/1.png", tmp_path / "train/a/copy.png")
    shutil.copy(tmp_path / "train/a/2.png", tmp_path / "train/b/copy.png")
    save(tmp_path / "val/b/same.bmp", photo(3))
    brighter = np.clip(photo(4) * 0.9 + 20, 0, 255).astype(np.uint8)
    save(tmp_path / "val/a/near.jpg", cv2.resize(brighter, (240, 200)))
    found = places(check_dataset(tmp_path))
    assert found["same-file-in-two-splits"] == ("train/a/0.png = val/a/copy.png",)
    assert found["same-file"] == ("train/a/1.png = train/a/copy.png", "train/a/2.png = train/b/copy.png")
    assert found["same-file-other-truth"] == ("train/a/2.png = train/b/copy.png",)
    assert found["same-pixels-in-two-splits"] == ("train/a/3.png = val/b/same.bmp",)
    assert found["same-pixels-other-truth"] == ("train/a/3.png = val/b/same.bmp",)
    (near,) = found["near-duplicate-in-two-splits"]
    assert near.startswith("train/a/4.png ~ val/a/near.jpg: ")
    assert "near-duplicate" not in found
    without = places(check_dataset(tmp_path, pixels=False))
    assert {kind for kind in without if kind.startswith(("same", "near"))} == {
        "same-file-in-two-splits", "same-file", "same-file-other-truth"
    }  # fmt: skip


def test_what_is_stored_besides_colours_of_8_bits(tmp_path):
    write_photos(tmp_path, ("train",))
    folder = tmp_path / "train/a"
    Image.fromarray(np.dstack([photo(50), np.full((80, 96), 255, np.uint8)])).save(folder / "alpha.png")
    fading = np.tile(np.arange(96, dtype=np.uint8), (80, 1))
    Image.fromarray(np.dstack([photo(51), fading])).save(folder / "fading.png")
    cv2.imwrite(str(folder / "deep.png"), photo(52).astype(np.uint16) * 257)
    Image.fromarray(photo(53)).save(folder / "turned.jpg", exif=_orientation(6))
    frames = [Image.fromarray(photo(number)) for number in (54, 55)]
    frames[0].save(folder / "film.gif", save_all=True, append_images=frames[1:])
    save(folder / "grey.png", np.repeat(photo(56)[..., :1], 3, axis=2))
    save(folder / "flat.png", np.full((80, 96, 3), (90, 91, 90), np.uint8))
    save(folder / "long.png", photo(57, (20, 600)))
    save(folder / "tiny.png", photo(58, (9, 12)))
    findings = {finding.kind: finding for finding in check_dataset(tmp_path).findings}
    alone = {
        "more-than-8-bits": "train/a/deep.png: 16 bits, RGB",
        "turned-by-exif": "train/a/turned.jpg: orientation 6",
        "more-than-one-frame": "train/a/film.gif: 2 frames",
        "grey-among-colours": "train/a/grey.png",
        "flat": "train/a/flat.png: 0.00",
        "extreme-aspect": "train/a/long.png: 600x20",
        "tiny-image": "train/a/tiny.png: 12x9",
    }
    assert {kind: findings[kind].places for kind in alone} == {kind: (place,) for kind, place in alone.items()}
    assert findings["constant-alpha"].what == "an alpha that is 255 everywhere says nothing, in 1 images"
    assert "96x80: 18" in findings["sizes"].places
    assert "80x96: 1" in findings["sizes"].places  # upright


def _orientation(code: int) -> Image.Exif:
    exif = Image.Exif()
    exif[0x0112] = code
    return exif


def test_boxes_that_can_hardly_be_meant(tmp_path):
    root = tmp_path / "data"
    (root / "images").mkdir(parents=True)
    boxes = {
        "tiny": [(0, (10, 10, 11, 30))],
        "whole": [(1, (0, 0, 100, 79))],
        "twice": [(0, (10, 10, 50, 50)), (0, (10, 10, 50, 50.5)), (0, (10, 10, 50, 60))],
        "both": [(0, (20, 20, 70, 60)), (1, (20, 20, 70, 60))],
        "outside": [(0, (90, 10, 120, 30)), (0, (5, 5, 5, 9))],
    }
    listed, annotations = [], []
    for number, (name, own) in enumerate(boxes.items(), 1):
        save(root / "images" / f"{name}.png", photo(number, (80, 100)))
        listed.append({"id": number, "file_name": f"{name}.png", "width": 100, "height": 80})
        for label, (x0, y0, x1, y1) in own:
            annotations.append({"id": len(annotations) + 1, "image_id": number, "category_id": label + 1, "iscrowd": 0,
                                "bbox": [x0, y0, x1 - x0, y1 - y0]})  # fmt: skip
    categories = [{"id": 1, "name": "cat"}, {"id": 2, "name": "dog"}]
    content = {"images": listed, "annotations": annotations, "categories": categories}
    (root / "annotations.json").write_text(json.dumps(content))
    found = places(check_dataset(root, task="detect"))
    assert found["tiny-box"] == ("images/tiny.png: cat (10, 10, 11, 30)",)
    assert found["box-covers-image"] == ("images/whole.png: dog (0, 0, 100, 79)",)
    assert found["box-twice"] == ("images/twice.png: cat (10, 10, 50, 50)",)
    assert found["box-of-two-classes"] == ("images/both.png: cat (20, 20, 70, 60) is dog too",)
    assert found["label-error"] == (
        "annotations.json: annotation 8: cat box (90, 10, 30, 20) of outside.png reaches outside the image of 100x80: "
        "clipped",
        "annotations.json: annotation 9: cat box (5, 5, 0, 4) of outside.png has no area: dropped",
    )


def test_masks_that_can_hardly_be_meant(tmp_path):
    write_mask_pairs(tmp_path, splits=("train",))
    masks = {
        "void": np.full((48, 64), 255, np.uint8),
        "plain": np.full((48, 64), 1, np.uint8),
        "mostly": np.where(np.arange(64) < 32, 255, np.arange(48)[:, None] % 3).astype(np.uint8),
        "beyond": np.full((48, 64), 9, np.uint8),
        "small": np.zeros((24, 32), np.uint8),
    }
    for number, (name, mask) in enumerate(masks.items()):
        save(tmp_path / f"train/images/{name}.png", photo(number, (48, 64)))
        save(tmp_path / f"train/masks/{name}.png", mask)
    found = places(check_dataset(tmp_path))
    assert found["mask-empty"] == ("train/images/void.png: every pixel is void",)
    assert found["mask-of-one-class"] == ("train/images/plain.png: nothing but a",)
    assert found["mask-mostly-void"] == ("train/images/mostly.png: 50% void",)
    beyond, small = found["label-unreadable"]
    assert "beyond.png: has the values 9 (3072 pixels)" in beyond
    assert "small.png) is 32x24, the image is 64x48" in small
    void = (64 * 48 + 32 * 48) / (7 * 64 * 48)
    assert found["void"] == (f"train: {void:.1%}",)
    assert "label-unreadable" not in places(check_dataset(tmp_path, pixels=False))


def test_classes_that_are_too_rare(tmp_path):
    for split, counts in {"train": {"a": 6, "b": 120, "c": 1}, "val": {"a": 2, "b": 3, "c": 0}}.items():
        for name, count in counts.items():
            (tmp_path / "images").mkdir(exist_ok=True)
            for i in range(count):
                save(tmp_path / f"images/{split}{name}{i}.png", texture((8, 8), np.random.default_rng(i)))
    rows = [
        f"images/{path.name},{path.stem.rstrip('0123456789')[-1]},{'train' if path.name.startswith('train') else 'val'}"
        for path in sorted((tmp_path / "images").iterdir())
    ]
    (tmp_path / "labels.csv").write_text("path,label,split\n" + "\n".join(rows) + "\n")
    checkup = check_dataset(tmp_path, task="classify", pixels=False)
    found = places(checkup)
    assert found["class-in-one-image"] == ("c: images/trainc0.png",)
    assert found["class-not-scored"] == ("c",)
    assert found["uneven-classes"] == ("b: 93.18%", "a: 6.06%", "c: 0.76%")
    assert checkup.record["classes"][1] == {
        "name": "b", "count": {"train": 120, "val": 3}, "images": {"train": 120, "val": 3}
    }  # fmt: skip


def test_classes_that_are_scored_and_not_trained():
    counts = np.array([[4.0, 0, 0], [3, 5, 0]])
    tally = Tally(("train", "test"), ("a", "b", "c"), counts, counts.astype(int), np.array([4, 5]), np.zeros(2))
    found = {finding.kind: finding for finding in balance_findings(tally, ())}
    assert found["class-not-trained"].places == ("b",)
    assert found["class-not-trained"].severity == "error"
    assert found["class-without-examples"].places == ("c",)
    assert set(found) == {"class-not-trained", "class-without-examples"}


def test_ids_that_mean_several_things(tmp_path):
    write_coco(tmp_path, classes={0: "a", 1: "b"}, splits=("train", "val"), images=3)
    found = places(check_dataset(tmp_path, task="detect"))
    assert sorted(found["image-id-repeats"]) == ["100", "98", "99"]
    assert sorted(found["annotation-id-repeats"]) == ["annotation 0", "annotation 1", "annotation 2"]
    assert found["category-id-0"] == ("train/_annotations.coco.json: a", "val/_annotations.coco.json: a")


def test_frames_of_one_film_in_two_splits(tmp_path):
    write_photos(tmp_path)
    number = 100
    for film, splits in {"day1": ("train",), "day2": ("train", "val")}.items():
        for i in range(12):
            save(tmp_path / splits[i % len(splits)] / "a" / f"{film}_{i:04}.png", photo(number))
            number += 1
    assert places(check_dataset(tmp_path, pixels=False))["sequence-in-two-splits"] == ("day2: train 6, val 6",)


def test_labels_that_cant_be_read_are_findings(tmp_path, capsys):
    write_yolo(tmp_path / "data")
    (tmp_path / "data/labels/train/train_000.txt").write_text("0 0.5 0.5\n7 0.5 0.5 0.1 0.1\n")
    checkup = check_dataset(tmp_path / "data", out=tmp_path / "out")
    (finding,) = checkup.findings
    assert (finding.kind, finding.severity, len(finding.places)) == ("labels-unreadable", "error", 2)
    assert "train_000.txt, line 1: 3 numbers" in finding.places[0]
    assert "class 7 has no name" in finding.places[1]
    assert (tmp_path / "out/check.html").exists()


def test_what_is_no_data_set_is_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("nothing here")
    with pytest.raises(UserError, match="not laid out in a way that is known"):
        check_dataset(tmp_path)
    with pytest.raises(UserError, match="no such file or folder"):
        check_dataset(tmp_path / "missing")
    write_photos(tmp_path / "data")
    with pytest.raises(UserError, match="in the data set's own folder"):
        check_dataset(tmp_path / "data", out=tmp_path / "data/report")
    with pytest.raises(UserError, match="unknown task 'detekt'; did you mean detect"):
        check_dataset(tmp_path / "data", task="detekt")
    with pytest.raises(UserError, match="unknown data format 'folders'"):
        check_dataset(tmp_path / "data", data_format="folders")
    with pytest.raises(UserError, match="not laid out in a way that is known"):
        check_dataset(tmp_path / "data", task="segment")
    assert check_dataset(tmp_path / "data", data_format="folder-per-class", pixels=False).healthy


def test_exit_codes_and_files(tmp_path, monkeypatch, capsys):
    write_photos(tmp_path / "data")
    command = ["vision-tasks", "data", "check", str(tmp_path / "data"), "--out", str(tmp_path / "out")]

    def run(*more: str) -> int:
        monkeypatch.setattr("sys.argv", [*command, *more])
        with pytest.raises(SystemExit) as stopped:
            main()
        return int(stopped.value.code)

    assert run() == 0
    assert "nothing is wrong with it" in capsys.readouterr().out
    (tmp_path / "data/train/a/<b>&.jpg").write_bytes(b"")
    assert run("--no-pixels") == 3
    assert "images that can't be read: 1 (train/a/<b>&.jpg: the file is empty)" in capsys.readouterr().out
    record = json.loads((tmp_path / "out/check.json").read_text())
    assert not record["healthy"]
    assert record["findings"][0]["places"] == ["train/a/<b>&.jpg: the file is empty"]
    assert "train/a/&lt;b&gt;&amp;.jpg: the file is empty" in (tmp_path / "out/check.html").read_text()
    monkeypatch.setattr("sys.argv", ["vision-tasks", "data", "check", str(tmp_path / "nowhere")])
    with pytest.raises(SystemExit) as stopped:
        main()
    assert stopped.value.code == 2
