"""Data sets of every kind as shards and back: the same bytes, ids, truth and batches; webdataset reads them too."""

import json
import os
import tarfile
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import PIL.Image
import pytest
import torch

from tests.factories import write_coco, write_folder_per_class, write_mask_pairs, write_mnist, write_table, write_yolo
from vision_tasks import load_dataset, luck, train
from vision_tasks.augment.plan import Planner
from vision_tasks.cli import main
from vision_tasks.commands.shard import bytes_in, shard_dataset
from vision_tasks.commands.shard_members import members_of
from vision_tasks.config import Policy
from vision_tasks.data.decode import decode
from vision_tasks.data.loader import Loader
from vision_tasks.errors import UserError
from vision_tasks.types import Boxes, Labels, Masks, Sample

CANVAS = (32, 40)
BUSY = Policy(crop_area=(0.5, 1), flip_x=0.5, rotate=10, brightness=0.2, mosaic=0.5, cutmix=0.5, mixup=0.5)
WRITERS = {"classify": write_folder_per_class, "detect": write_coco, "segment": write_mask_pairs}


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("outside") / "cache"
    monkeypatch.setenv("VISION_TASKS_CACHE", str(folder))
    return folder


def same_truth(one: Labels | Boxes | Masks, other: Labels | Boxes | Masks) -> bool:
    pairs = [(getattr(one, name), getattr(other, name)) for name in vars(one)]
    tensors = [(a, b) for a, b in pairs if isinstance(a, torch.Tensor)]
    return all(a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.is_floating_point()) for a, b in tensors)


@pytest.mark.parametrize("task", WRITERS)
@pytest.mark.parametrize("splits", [("train", "val", "test"), ()], ids=["splits", "whole"])
def test_what_is_written_is_what_was_read(tmp_path, task, splits):
    WRITERS[task](tmp_path / "data", splits=splits)
    before = load_dataset(task, tmp_path / "data")
    out = shard_dataset(tmp_path / "data", tmp_path / "shards", task=task, shard_size="10kB")
    after = load_dataset(task, out)
    assert after.format == "webdataset"
    assert (after.classes, after.class_ids, after.exclusive) == (before.classes, before.class_ids, before.exclusive)
    assert after.image_ids == before.image_ids
    assert after.negatives == before.negatives
    assert {split: [each.id for each in samples] for split, samples in after.splits.items()} == {
        split: [each.id for each in samples] for split, samples in before.splits.items()
    }
    for split, samples in before.splits.items():
        for mine, theirs in zip(samples, after.splits[split], strict=True):
            assert theirs.data() == mine.path.read_bytes()
            size = cv2.imread(str(mine.path)).shape[:2]
            assert same_truth(mine.truth(size), theirs.truth(size))
            assert mine.stratum == theirs.stratum
    assert len(list(out.glob("*.tar"))) > len(before.splits)  # more than one a split


@pytest.mark.parametrize("task", WRITERS)
def test_batches_are_those_of_the_folder_bit_for_bit(tmp_path, task):
    WRITERS[task](tmp_path / "data")
    shard_dataset(tmp_path / "data", tmp_path / "shards", task=task, shard_size="10kB")
    batches = []
    for folder in ("data", "shards"):
        samples = load_dataset(task, tmp_path / folder).splits["train"]
        keys = luck.keys(sample.id for sample in samples)
        planner = Planner(BUSY, CANVAS, "letterbox", keys, seed=3, epochs=2)
        order = luck.order(3, "order", 0, keys)
        plans = [planner.plan(0, order[start : start + 4]) for start in range(0, len(order), 4)]
        batches.append(list(Loader(samples, plans, CANVAS, detail=CANVAS, workers=2)))
    for mine, theirs in zip(*batches, strict=True):
        assert torch.equal(mine.images, theirs.images)
        assert same_truth(mine.targets, theirs.targets)
        assert [info.id for info in mine.info] == [info.id for info in theirs.info]


def test_training_on_shards_ends_with_the_weights_of_training_on_the_folder(tmp_path):
    write_folder_per_class(tmp_path / "data")
    shard_dataset(tmp_path / "data", tmp_path / "shards")
    settings = {"model": "lenet5", "image_size": 32, "epochs": 2, "batch_size": 4, "device": "cpu"}
    runs = [
        train("classify", data=tmp_path / name, out=tmp_path / "runs" / name, **settings) for name in ("data", "shards")
    ]
    assert (runs[0] / "last.safetensors").read_bytes() == (runs[1] / "last.safetensors").read_bytes()


def test_a_buffer_makes_another_order_which_the_run_remembers(tmp_path):
    write_folder_per_class(tmp_path / "data")
    shards = shard_dataset(tmp_path / "data", tmp_path / "shards", shard_size="10kB")
    settings = {"model": "lenet5", "image_size": 32, "batch_size": 4, "device": "cpu", "shuffle_buffer": 3, "epochs": 2}
    whole = train("classify", data=shards, out=tmp_path / "whole", **settings)
    plain = train("classify", data=shards, out=tmp_path / "plain", **settings | {"shuffle_buffer": 0})
    assert (whole / "last.safetensors").read_bytes() != (plain / "last.safetensors").read_bytes()
    assert "shuffle_buffer = 3" in (whole / "config.toml").read_text()


@pytest.mark.parametrize("task", WRITERS)
def test_the_webdataset_library_reads_the_same_bytes(tmp_path, task):
    webdataset = pytest.importorskip("webdataset")
    WRITERS[task](tmp_path / "data")
    before = load_dataset(task, tmp_path / "data")
    out = shard_dataset(tmp_path / "data", tmp_path / "shards", task=task, shard_size="10kB")
    for split, samples in before.splits.items():
        urls = sorted(str(path) for path in out.glob(f"{split}-*.tar"))
        read = list(webdataset.WebDataset(urls, shardshuffle=False, empty_check=False))
        assert len(read) == len(samples)
        images = {json.loads(each["json"])["image"]: each["jpg"] for each in read}
        assert images == {sample.id: sample.path.read_bytes() for sample in samples}
        if task == "classify":
            assert sorted(int(each["cls"]) for each in read) == sorted(
                int(sample.truth(None).weight.argmax()) for sample in samples
            )
        if task == "segment":
            masks = {json.loads(each["json"])["image"]: each["mask.png"] for each in read}
            for sample in samples:
                index = cv2.imdecode(np.frombuffer(masks[sample.id], np.uint8), cv2.IMREAD_UNCHANGED)
                assert (index == sample.truth(None).index[0].numpy()).all()


def test_the_standard_library_finds_the_same_bytes(tmp_path):
    write_folder_per_class(tmp_path / "data", splits=())
    (sample, *_) = load_dataset("classify", tmp_path / "data").splits["all"]
    out = shard_dataset(tmp_path / "data", tmp_path / "shards")
    with tarfile.open(out / "all-000000.tar") as tar:
        names = tar.getnames()
        assert tar.extractfile("000000000.jpg").read() == sample.path.read_bytes()
        said = json.loads(tar.extractfile("000000000.json").read())
        assert said == {"image": "a/000.jpg", "width": 48, "height": 40, "labels": ["a"]}
        assert tar.extractfile("000000000.cls").read() == b"0"
        assert {(member.mtime, member.uid, member.uname, member.mode) for member in tar} == {(0, 0, "", 0o644)}
    assert [name.partition(".")[2] for name in names] == ["jpg", "json", "cls"] * 12


def test_the_same_data_gives_the_same_bytes(tmp_path):
    write_folder_per_class(tmp_path / "data")
    for name in ("one", "two"):
        for path in (tmp_path / "data").rglob("*.jpg"):
            os.utime(path, (0, 10**9 if name == "one" else 10**6))
        shard_dataset(tmp_path / "data", tmp_path / name, shard_size="10kB")
    one, two = ({path.name: path.read_bytes() for path in (tmp_path / name).iterdir()} for name in ("one", "two"))
    assert one == two
    assert str(tmp_path).encode() not in b"".join(one.values())


def test_shards_are_about_as_large_as_asked_and_shuffled_where_trained_on(tmp_path):
    write_folder_per_class(tmp_path / "data", per_class=30)
    out = shard_dataset(tmp_path / "data", tmp_path / "shards", shard_size="20kB")
    shards = sorted(out.glob("train-*.tar"))
    assert len(shards) > 3
    assert all(path.stat().st_size <= 20_000 + 1024 + 10_240 for path in shards)
    about = json.loads((out / "dataset.json").read_text())
    assert sum(each["samples"] for each in about["shards"].values()) == 180
    trained = load_dataset("classify", out).splits["train"]
    by_place = sorted(trained, key=lambda sample: (sample.extent.shard, sample.extent.offset))
    strata = [sample.stratum for sample in by_place]
    assert strata != sorted(strata)
    assert 15 < sum(a != b for a, b in pairwise(strata)) < 45  # about every second, of 60


def test_several_labels_and_none_survive(tmp_path):
    labels = {"1.jpg": "tree|sky", "2.jpg": "sky", "3.jpg": "|", "4.jpg": "tree", "a.b.JPG": "tree|sky"}
    write_table(tmp_path / "data" / "labels.csv", labels)
    before = load_dataset("classify", tmp_path / "data")
    after = load_dataset("classify", shard_dataset(tmp_path / "data", tmp_path / "shards"))
    assert not after.exclusive
    assert after.classes == before.classes
    assert [sample.id for sample in after.splits["all"]] == [sample.id for sample in before.splits["all"]]
    for mine, theirs in zip(before.splits["all"], after.splits["all"], strict=True):
        assert same_truth(mine.truth(None), theirs.truth(None))


def test_packed_images_become_pngs_of_the_same_pixels(tmp_path):
    write_mnist(tmp_path / "data", {"train": 12, "t10k": 5})
    before = load_dataset("classify", tmp_path / "data")
    after = load_dataset("classify", shard_dataset(tmp_path / "data", tmp_path / "shards"))
    for split, samples in before.splits.items():
        for mine, theirs in zip(samples, after.splits[split], strict=True):
            stored = cv2.imdecode(np.frombuffer(theirs.data(), np.uint8), cv2.IMREAD_COLOR_RGB)
            assert (stored == mine.pixels()).all()
            assert mine.id == theirs.id


def test_sizes_are_of_images_as_people_see_them(tmp_path):
    """An image that lies on its side, by its EXIF orientation, is as wide as the file is high."""
    turned = PIL.Image.new("RGB", (30, 20))
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    turned.save(tmp_path / "x.jpg", exif=exif)
    asked = []

    def truth(size):
        asked.append(size)
        return Labels.one_hot(1, 2)

    members = members_of(Sample("x.jpg", tmp_path / "x.jpg", truth), ("a", "b"), 7)
    assert asked == [(30, 20)] == [decode(members["jpg"]).size]
    assert json.loads(members["json"]) == {"image": "x.jpg", "image_id": 7, "width": 20, "height": 30, "labels": ["b"]}
    assert members["cls"] == b"1"


@pytest.mark.shared
@pytest.mark.parametrize(("task", "name"), [("detect", "detect-bccd-voc"), ("segment", "segment-nuclei-dsb2018")])
def test_real_data_survives(tmp_path, shared_data, task, name):
    before = load_dataset(task, shared_data / name)
    after = load_dataset(task, shard_dataset(shared_data / name, tmp_path / "shards", task=task, shard_size="1MB"))
    assert [(flaw.what, flaw.of_truth) for flaw in after.flaws[: len(before.flaws)]] == [
        (flaw.what, flaw.of_truth) for flaw in before.flaws
    ]
    for split, samples in before.splits.items():
        assert [sample.id for sample in samples] == [sample.id for sample in after.splits[split]]
        for mine, theirs in zip(samples[:50], after.splits[split], strict=False):
            assert theirs.data() == mine.path.read_bytes()
            assert same_truth(mine.truth(None), theirs.truth(None))


def test_the_command_line_writes_them(tmp_path, monkeypatch, capsys):
    write_folder_per_class(tmp_path / "data")
    for arguments, code in (([], 0), ([], 2), (["--shard-size", "much"], 2)):
        line = ["vision-tasks", "data", "shard", str(tmp_path / "data"), "--out", str(tmp_path / "shards"), *arguments]
        monkeypatch.setattr("sys.argv", line)
        with pytest.raises(SystemExit) as ended:
            main()
        assert ended.value.code == code
    said = capsys.readouterr().err
    assert f"36 samples in 3 shards, 0 left out; wrote {tmp_path / 'shards'}" in said
    assert "is there already, and not empty; give another --out" in said
    assert "error: 'much' is no number of bytes; write 256MB or 1GB" in said


def test_boxes_in_shares_become_pixels(tmp_path):
    write_yolo(tmp_path / "data")
    before = load_dataset("detect", tmp_path / "data")
    after = load_dataset("detect", shard_dataset(tmp_path / "data", tmp_path / "shards", task="detect"))
    for mine, theirs in zip(before.splits["train"], after.splits["train"], strict=True):
        assert torch.equal(mine.truth((60, 80)).xyxy, theirs.truth((60, 80)).xyxy)


def test_what_cannot_be_read_is_left_out_and_named(tmp_path, capsys):
    write_mask_pairs(tmp_path / "data", splits=())
    cv2.imwrite(str(tmp_path / "data" / "masks" / "001.png"), np.zeros((5, 5), np.uint8))
    out = shard_dataset(tmp_path / "data", tmp_path / "shards")
    said = capsys.readouterr().err
    assert "left out, cannot be read:" in said
    assert "3 samples in 1 shards, 1 left out" in said
    after = load_dataset("segment", out)
    assert [sample.id for sample in after.splits["all"]] == ["images/000.jpg", "images/002.jpg", "images/003.jpg"]
    assert "5x5, the image is 64x48" in after.flaws[0].what


def test_a_damaged_image_stays_what_it_is(tmp_path):
    write_folder_per_class(tmp_path / "data", splits=())
    (tmp_path / "data" / "a" / "001.jpg").write_bytes(b"no image")
    after = load_dataset("classify", shard_dataset(tmp_path / "data", tmp_path / "shards"))
    assert {sample.id: sample for sample in after.splits["all"]}["a/001.jpg"].data() == b"no image"


@pytest.mark.parametrize("out", ["data", "data/shards", "full", "file"])
def test_a_folder_that_holds_something_or_lies_in_the_data_is_refused(tmp_path, out):
    write_folder_per_class(tmp_path / "data")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "x").touch()
    (tmp_path / "file").touch()
    before = sorted(tmp_path.rglob("*"))
    with pytest.raises(UserError, match="give another --out"):
        shard_dataset(tmp_path / "data", tmp_path / out)
    assert sorted(tmp_path.rglob("*")) == before


def test_an_empty_folder_is_filled(tmp_path):
    write_folder_per_class(tmp_path / "data")
    (tmp_path / "out").mkdir()
    shard_dataset(tmp_path / "data", tmp_path / "out")
    assert (tmp_path / "out" / "dataset.json").is_file()


def test_nothing_is_left_of_what_failed(tmp_path):
    write_mask_pairs(tmp_path / "data")
    cv2.imwrite(str(tmp_path / "data" / "train" / "masks" / "001.png"), np.full((48, 64), 77, np.uint8))
    with pytest.raises(UserError, match="77"):
        shard_dataset(tmp_path / "data", tmp_path / "shards")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["data"]


def test_data_for_more_than_one_task_must_be_told(tmp_path):
    write_coco(tmp_path / "data")
    with pytest.raises(UserError, match="detect or segment; say which by --task"):
        shard_dataset(tmp_path / "data", tmp_path / "out")
    with pytest.raises(UserError, match="no such file"):
        shard_dataset(tmp_path / "nowhere", tmp_path / "out")


@pytest.mark.parametrize(
    ("text", "number"),
    [("256MB", 256_000_000), ("1 GiB", 2**30), ("2.5kb", 2500), ("7", 7), ("3b", 3), ("1TB", 10**12)],
)
def test_numbers_of_bytes(text, number):
    assert bytes_in(text) == number


@pytest.mark.parametrize("text", ["", "MB", "0", "-1", "1QB", "nan", "1e99"])
def test_what_is_no_number_of_bytes(text):
    with pytest.raises(UserError, match="no number of bytes"):
        bytes_in(text)
