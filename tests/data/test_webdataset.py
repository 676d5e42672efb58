"""Shards as the webdataset library and others write them, whole and damaged, here and behind a URL."""

import io
import json
import tarfile
import threading
from collections.abc import Iterator, Mapping
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

from tests.factories import write_coco, write_folder_per_class
from vision_tasks import evaluate, load_dataset, train
from vision_tasks.commands.shard import shard_dataset
from vision_tasks.data.decode import DecodeError, decode, first_band_count
from vision_tasks.data.shards.index import ENDING
from vision_tasks.engine.upright import upright
from vision_tasks.errors import UserError

SIZE = (24, 30)
Members = Mapping[str, bytes]


@pytest.fixture(autouse=True)
def cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("outside") / "cache"
    monkeypatch.setenv("VISION_TASKS_CACHE", str(folder))
    return folder


def picture(number: int, ending: str = ".jpg") -> bytes:
    pixels = np.random.default_rng(number).integers(0, 255, (*SIZE, 3), np.uint8)
    return cv2.imencode(ending, pixels)[1].tobytes()


def mask(*values: int) -> bytes:
    return cv2.imencode(".png", np.resize(np.array(values, np.uint8), SIZE))[1].tobytes()


def write_tar(path: Path, contents: Members) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as tar:
        for name, content in contents.items():
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))


def write_labels(path: Path, labels: list[int | str], start: int = 0) -> None:
    contents: dict[str, bytes] = {}
    for number, label in enumerate(labels, start):
        contents |= {f"{number:04}.jpg": picture(number), f"{number:04}.cls": str(label).encode()}
    write_tar(path, contents)


def classes_of(samples) -> list[list[int]]:
    return [sample.truth(None).weight[0].nonzero().flatten().tolist() for sample in samples]


def test_shards_that_the_library_writes_are_read(tmp_path):
    webdataset = pytest.importorskip("webdataset")
    with webdataset.ShardWriter(str(tmp_path / "train-%06d.tar"), maxcount=4, verbose=0) as sink:
        for number in range(10):
            sink.write({"__key__": f"{number:05}", "jpg": picture(number), "cls": number % 3, "json": {"x": number}})
    with webdataset.TarWriter(str(tmp_path / "val-000000.tar")) as sink:
        sink.write({"__key__": "d.ir/a", "png": picture(99, ".png"), "cls": 1})
    dataset = load_dataset("classify", tmp_path)
    assert dataset.classes == ("0", "1", "2")
    assert classes_of(dataset.splits["train"]) == [[number % 3] for number in range(10)]
    assert [sample.data() for sample in dataset.splits["train"]] == [picture(number) for number in range(10)]
    assert [sample.id for sample in dataset.splits["train"]][3:5] == [
        "train-000000/00003.jpg",
        "train-000001/00004.jpg",
    ]
    assert dataset.splits["val"][0].data() == picture(99, ".png")
    assert dataset.flaws == ()
    assert dataset.exclusive


@pytest.mark.parametrize(
    ("names", "splits"),
    [
        (["imagenet-train-0.tar", "imagenet-val-0.tar"], ["train", "val"]),
        (["train/0.tar", "validation/0.tar"], ["train", "val"]),
        (["0.tar", "1.tar"], ["all"]),
        (["training-set_test_0.tar", "x.tar"], ["test", "all"]),
    ],
)
def test_splits_are_told_by_names(tmp_path, names, splits):
    for place, name in enumerate(names):
        write_labels(tmp_path / "data" / name, [0, 1], start=10 * place)
    assert list(load_dataset("classify", tmp_path / "data").splits) == splits


@pytest.mark.parametrize("name", ["train-{000..001}.tar", "{train-000,train-001}.tar"])
def test_a_pattern_names_shards(tmp_path, monkeypatch, name):
    for place in range(3):
        write_labels(tmp_path / f"train-{place:03}.tar", [0, 1, place], start=10 * place)
    assert len(load_dataset("classify", tmp_path / name).splits["train"]) == 6
    monkeypatch.chdir(tmp_path)
    assert len(load_dataset("classify", name).splits["train"]) == 6
    with pytest.raises(UserError, match=r"train-003\.tar: No such file"):
        load_dataset("classify", "train-{000..003}.tar")


def test_one_tar_is_a_data_set(tmp_path):
    write_labels(tmp_path / "some.tar", ["cat", "dog", "cat"])
    dataset = load_dataset("classify", tmp_path / "some.tar")
    assert dataset.classes == ("cat", "dog")
    assert classes_of(dataset.splits["all"]) == [[0], [1], [0]]
    assert [sample.stratum for sample in dataset.splits["all"]] == ["cat", "dog", "cat"]


@pytest.mark.parametrize(
    ("said", "labels"),
    [
        ({"label": "b"}, [1]),
        ({"labels": ["a", "b"]}, [0, 1]),
        ({"class": 1}, [1]),
        ({"labels": []}, []),
        ({"cls": 0}, [0]),
    ],
)
def test_labels_in_json(tmp_path, said, labels):
    write_tar(tmp_path / "x.tar", {"0.png": picture(0, ".png"), "0.json": json.dumps(said).encode()})
    (tmp_path / "classes.txt").write_text("a\nb\n")
    assert classes_of(load_dataset("classify", tmp_path).splits["all"]) == [labels]


@pytest.mark.parametrize("label", ["c", "2", "-1", "1.5"])
def test_a_label_that_is_no_class_is_an_error(tmp_path, label):
    write_labels(tmp_path / "x.tar", [0, 1, label])
    (tmp_path / "classes.txt").write_text("a\nb\n")
    with pytest.raises(UserError, match=rf"x\.tar/0002: has the label '{label}', which is none of the 2 classes"):
        load_dataset("classify", tmp_path)


def test_boxes(tmp_path):
    objects = [
        {"label": "car", "box": [1, 2, 11.5, 12]},
        {"label": "bus", "box": [0, 0, 30, 24], "crowd": True, "area": 5},
        {"label": "bus", "box": [20, 5, 40, 9]},  # reaches outside
        {"label": "bus", "box": [3, 3, 3, 9]},  # has no area
    ]
    said = {"width": SIZE[1], "height": SIZE[0], "objects": objects}
    contents = {
        "0.jpg": picture(0),
        "0.json": json.dumps(said).encode(),
        "1.jpg": picture(1),
        "1.json": b'{"objects":[]}',
    }
    write_tar(tmp_path / "train-0.tar", contents)
    dataset = load_dataset("detect", tmp_path)
    truth = dataset.splits["train"][0].truth(SIZE)
    assert dataset.classes == ("bus", "car")
    assert truth.xyxy[0].tolist() == [[1, 2, 11.5, 12], [0, 0, 30, 24], [20, 5, 30, 9]]
    assert truth.label[0].tolist() == [1, 0, 0]
    assert truth.crowd[0].tolist() == [False, True, False]
    assert truth.area[0].nan_to_num(-1).tolist() == [-1, 5, -1]
    assert [flaw.of_truth for flaw in dataset.flaws] == [True, True]
    assert dataset.negatives == {"train-0/1.jpg"}
    with pytest.raises(DecodeError, match="is for 30x24, the image is 24x30"):
        dataset.splits["train"][0].truth(SIZE[::-1])


@pytest.mark.parametrize(
    "one", [3, {}, {"label": "a"}, {"label": "a", "box": [1, 2, 3]}, {"label": "a", "box": [1, 2, "3", 4]},
            {"label": None, "box": [1, 2, 3, 4]}, {"label": "a", "box": [1, 2, 3, 10**400]}]
)  # fmt: skip
def test_an_object_that_makes_no_sense_is_an_error(tmp_path, one):
    objects = [{"label": "a", "box": [0, 0, 1, 1]}, one]
    write_tar(tmp_path / "x.tar", {"0.jpg": picture(0), "0.json": json.dumps({"objects": objects}).encode()})
    with pytest.raises(UserError, match=r"x\.tar/0\.json: object 1 is"):
        load_dataset("detect", tmp_path)


@pytest.mark.parametrize("ending", ["mask.png", "seg.png", "png"])
def test_masks(tmp_path, ending):
    write_tar(tmp_path / "val-0.tar", {f"0.{ending}": mask(0, 1, 2, 255), "0.jpg": picture(0)})
    (tmp_path / "classes.txt").write_text("ground\na\nb\n")
    (sample,) = load_dataset("segment", tmp_path).splits["val"]
    assert sample.data() == picture(0)
    assert torch.equal(
        sample.truth(SIZE).index[0], torch.from_numpy(np.resize(np.array([0, 1, 2, 255], np.uint8), SIZE))
    )
    with pytest.raises(DecodeError, match=r"its mask \(.*val-0\.tar/0\..*png\) is 30x24, the image is 3x2"):
        sample.truth((2, 3))


def test_masks_that_are_none(tmp_path):
    colours = cv2.imencode(".png", np.random.default_rng(0).integers(0, 255, (*SIZE, 3), np.uint8))[1].tobytes()
    bad = {"0": mask(7), "1": colours, "2": b"no image"}
    write_tar(
        tmp_path / "x.tar", {f"{n}.{e}": d for n, m in bad.items() for e, d in (("jpg", picture(0)), ("seg.png", m))}
    )
    with pytest.raises(UserError, match=r"nothing lists the classes; put a classes\.txt"):
        load_dataset("segment", tmp_path)
    (tmp_path / "classes.txt").write_text("ground\na\n")
    samples = load_dataset("segment", tmp_path).splits["all"]
    for sample, error, said in zip(
        samples, (UserError, UserError, DecodeError), ("has the values 7,", "one channel", "can't be read"), strict=True
    ):
        with pytest.raises(error, match=said):
            sample.truth(SIZE)


def test_bands_and_sizes_are_those_of_files(tmp_path):
    path = tmp_path / "x.png"
    cv2.imwrite(str(path), np.full((64, 96), 1000, np.uint16))
    write_tar(
        tmp_path / "x.tar", {"0.png": path.read_bytes(), "0.cls": b"0", "1.png": picture(1, ".png"), "1.cls": b"1"}
    )
    path.unlink()
    samples = load_dataset("classify", tmp_path).splits["all"]
    assert first_band_count(samples) == 1
    assert decode(samples[0].data()).size == (64, 96)


def test_a_person_sees_the_same_picture(tmp_path):
    write_tar(tmp_path / "x.tar", {"0.jpg": picture(0), "0.cls": b"0", "1.jpg": picture(1), "1.cls": b"1"})
    (tmp_path / "0.jpg").write_bytes(picture(0))
    samples = load_dataset("classify", tmp_path / "x.tar").splits["all"]
    alone = replace(samples[0], path=tmp_path / "0.jpg", data=None)
    assert (upright(samples[0], None) == upright(alone, None)).all()


def cut(path: Path, size: int) -> None:
    path.write_bytes(path.read_bytes()[:size])


def test_a_shard_cut_short_keeps_what_is_before_the_cut_and_counts_the_rest(tmp_path):
    write_folder_per_class(tmp_path / "data", per_class=10, splits=("train", "val"))
    out = shard_dataset(tmp_path / "data", tmp_path / "shards")
    whole = load_dataset("classify", out)
    shard = out / "train-000000.tar"
    by_place = sorted(whole.splits["train"], key=lambda sample: sample.extent.offset)
    kept = by_place[:7]
    cut(shard, by_place[7].extent.offset + 100)
    dataset = load_dataset("classify", out)
    assert {sample.id for sample in dataset.splits["train"]} == {sample.id for sample in kept}
    assert [sample.data() for sample in dataset.splits["train"]] == [
        (tmp_path / "data" / sample.id).read_bytes() for sample in dataset.splits["train"]
    ]
    (flaw,) = dataset.flaws
    assert flaw.path == shard
    assert flaw.what.endswith("13 of its 20 samples are lost")
    assert "is cut short: it ends at byte" in flaw.what


@pytest.mark.parametrize("part", ["image", "label", "between"])
def test_a_cut_in_any_part_of_a_sample_of_anyones_shard(tmp_path, part):
    write_labels(tmp_path / "x.tar", [0, 1, 0, 1])
    places = {sample.id: sample.extent for sample in load_dataset("classify", tmp_path).splits["all"]}
    last = places["x/0003.jpg"]
    end = last.offset + -(-last.size // 512) * 512
    cut(tmp_path / "x.tar", {"image": last.offset + 9, "label": end + 512, "between": end}[part])
    dataset = load_dataset("classify", tmp_path)
    assert classes_of(dataset.splits["all"]) == [[0], [1], [0]]
    (flaw,) = dataset.flaws
    assert "is cut short" in flaw.what
    assert flaw.what.endswith("after 3 samples")


def test_a_shard_that_shrinks_later_fails_sample_by_sample(tmp_path):
    write_labels(tmp_path / "x.tar", [0, 1])
    samples = load_dataset("classify", tmp_path).splits["all"]
    cut(tmp_path / "x.tar", 600)
    with pytest.raises(DecodeError, match="has changed, or was cut"):
        samples[1].data()


def test_a_missing_shard_is_counted(tmp_path):
    write_folder_per_class(tmp_path / "data", splits=("train", "val"))
    out = shard_dataset(tmp_path / "data", tmp_path / "shards", shard_size="8kB")
    (out / "train-000001.tar").unlink()
    (flaw,) = load_dataset("classify", out).flaws
    assert flaw.path == out / "train-000001.tar"
    assert "the shard is missing: its" in flaw.what


def test_samples_without_image_or_truth_are_flaws(tmp_path):
    contents = {
        "0.jpg": picture(0),
        "0.cls": b"0",
        "1.cls": b"1",
        "2.jpg": picture(2),
        "3.jpg": picture(3),
        "3.cls": b"1",
    }
    write_tar(tmp_path / "x.tar", contents | {"README": b"hello", "._4.jpg": b"mac", "dir/.hidden": b""})
    dataset = load_dataset("classify", tmp_path)
    assert classes_of(dataset.splits["all"]) == [[0], [1]]
    assert [flaw.what for flaw in dataset.flaws] == [
        "2 samples have no image, or no label (.cls, or .json): not read (1, 2)"
    ]


def test_a_name_that_comes_twice_is_read_once(tmp_path):
    write_tar(tmp_path / "x.tar", {"0.jpg": picture(0), "0.cls": b"0", "1.jpg": picture(1), "1.cls": b"1"})
    with tarfile.open(tmp_path / "x.tar", "a") as tar:
        for name, content in (("0.jpg", picture(5)), ("0.cls", b"1")):
            header = tarfile.TarInfo(name)
            header.size = len(content)
            tar.addfile(header, io.BytesIO(content))
    dataset = load_dataset("classify", tmp_path)
    assert [sample.data() for sample in dataset.splits["all"]] == [picture(0), picture(1)]
    assert "1 samples have the name of an earlier one: not read (x/0.jpg)" in dataset.flaws[0].what


@pytest.mark.parametrize("name", ["train-0.tar.gz", "train-0.tgz", "train-0.tar.zst"])
def test_compressed_shards_are_refused_with_a_remedy(tmp_path, name):
    (tmp_path / name).write_bytes(b"\x1f\x8b" + bytes(100))
    for data in (tmp_path, tmp_path / name):
        with pytest.raises(UserError, match=r"is compressed.*unpack it to a \.tar"):
            load_dataset("classify", data)


def test_what_is_no_tar_is_named(tmp_path):
    (tmp_path / "x.tar").write_bytes(b"GIF89a" * 200)
    with pytest.raises(UserError, match=r"none of its shards has an image with label.*no header of a tar"):
        load_dataset("classify", tmp_path)


def test_archives_left_beside_their_contents_are_no_shards(tmp_path):
    write_folder_per_class(tmp_path / "data")
    write_tar(tmp_path / "data" / "download.tar", {"x": b""})
    assert load_dataset("classify", tmp_path / "data").format == "folder-per-class"
    write_coco(tmp_path / "coco")
    write_tar(tmp_path / "coco" / "train.tar", {"x": b""})
    assert load_dataset("detect", tmp_path / "coco").format == "coco"


@pytest.mark.parametrize(
    "text", ["{", "[]", "{}", '{"classes": 3, "shards": {}}', '{"classes": ["a"], "shards": {"x": 1}}']
)
def test_a_dataset_json_that_makes_no_sense_is_named(tmp_path, text):
    write_labels(tmp_path / "x.tar", [0, 1])
    (tmp_path / "dataset.json").write_text(text)
    with pytest.raises(UserError, match=r"dataset\.json: isn't what"):
        load_dataset("classify", tmp_path)


# Behind a URL


class Ranges(BaseHTTPRequestHandler):
    """Serves a folder, parts of files too."""

    folder: Path
    asked: list[str]
    parts = True

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        self._answer(body=True)

    def _answer(self, body: bool) -> None:
        path = self.folder / self.path.lstrip("/").partition("?")[0]
        if not path.is_file():
            self.send_error(404)
            return
        data, wanted = path.read_bytes(), self.headers.get("Range")
        if wanted and self.parts:
            first, last = wanted.removeprefix("bytes=").split("-")
            part = data[int(first) : int(last) + 1 if last else None]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {first}-{int(first) + len(part) - 1}/{len(data)}")
            data = part
        else:
            self.send_response(200)
        if body:
            self.asked.append(f"{path.name} {wanted}")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[str, type[Ranges]]]:
    handler = type("Handler", (Ranges,), {"folder": tmp_path / "shards", "asked": []})
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as http:
        thread = threading.Thread(target=http.serve_forever, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{http.server_address[1]}", handler
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["", "/", "/train-{000000..000001}.tar"])
def test_shards_behind_a_url_are_those_on_the_disk(tmp_path, server, name):
    url, handler = server
    write_folder_per_class(tmp_path / "data", splits=("train", "val"))
    out = shard_dataset(tmp_path / "data", tmp_path / "shards", shard_size="12kB")
    here, there = load_dataset("classify", out), load_dataset("classify", url + name)
    assert there.classes == here.classes
    assert there.flaws == here.flaws
    mine = here.splits["train"]
    if name.endswith(".tar"):
        mine = [each for each in mine if Path(each.extent.shard).name in ("train-000000.tar", "train-000001.tar")]
    assert [sample.id for sample in there.splits["train"]] == [sample.id for sample in mine]
    assert [sample.data() for sample in there.splits["train"]] == [sample.data() for sample in mine]
    assert not any(str(tmp_path) in str(sample.path) for sample in there.splits["train"])
    assert all(" bytes=" in line for line in handler.asked if ".tar " in line)


def test_a_missing_far_shard_is_counted(tmp_path, server):
    write_folder_per_class(tmp_path / "data", splits=("train", "val"))
    out = shard_dataset(tmp_path / "data", tmp_path / "shards", shard_size="8kB")
    (out / "train-000001.tar").unlink()
    here, there = load_dataset("classify", out), load_dataset("classify", server[0])
    assert [flaw.what for flaw in there.flaws] == [flaw.what for flaw in here.flaws]
    assert "the shard is missing: its" in there.flaws[0].what
    with pytest.raises(UserError, match="isn't there"):
        load_dataset("classify", server[0] + "/train-{000000..000001}.tar")


def test_without_an_index_beside_them_far_shards_are_gone_through_once(tmp_path, server, cache):
    url, _ = server
    write_labels(tmp_path / "shards" / "train-000000.tar", [0, 1, 1])
    name = f"{url}/train-000000.tar"
    for _ in range(2):
        assert classes_of(load_dataset("classify", name).splits["train"]) == [[0], [1], [1]]
    assert len(list((cache / "shards").iterdir())) == 1


def test_training_from_a_url_is_buffered_and_reads_every_block_once_an_epoch(tmp_path, server, capsys):
    url, handler = server
    write_folder_per_class(tmp_path / "data", splits=("train", "val"))
    shard_dataset(tmp_path / "data", tmp_path / "shards", shard_size="12kB")
    run = train(
        "classify", data=url, out=tmp_path / "run", model="lenet5", image_size=32, epochs=1, device="cpu", batch_size=4
    )
    assert "shuffled by a buffer of" in capsys.readouterr().err
    tars = [line for line in handler.asked if ".tar " in line]
    assert len(tars) == len(set(tars))
    assert evaluate("classify", weights=run, data=url, split="val")["images"] == 12


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("/train-000009.tar", "isn't there"),
        ("/nothing-here", "name the shards, as"),
        ("/train-000000.tar.gz", "is compressed"),
    ],
)
def test_a_url_of_nothing_is_the_users_error(tmp_path, server, name, said):
    (tmp_path / "shards").mkdir()
    with pytest.raises(UserError, match=said):
        load_dataset("classify", server[0] + name)


def test_a_server_without_parts_is_named(tmp_path, server):
    url, handler = server
    handler.parts = False
    write_tar(tmp_path / "shards" / "a.tar", {"0.jpg": bytes(9_000_000), "0.cls": b"0"})
    with pytest.raises(UserError, match="whole files only"):
        load_dataset("classify", f"{url}/a.tar")


def test_a_server_that_is_away_is_the_users_error(tmp_path, server, monkeypatch):
    monkeypatch.setattr("vision_tasks.data.shards.media._PAUSE", 0.001)
    with pytest.raises(UserError, match="can't be read"):
        load_dataset("classify", "http://127.0.0.1:9/train-0.tar")


def test_an_unknown_scheme_is_named():
    with pytest.raises(UserError, match="check --data"):
        load_dataset("classify", "nosuch://a/train-0.tar")


def test_an_index_from_a_url_beside_the_shard_spares_the_pass(tmp_path, server, cache):
    url, handler = server
    write_folder_per_class(tmp_path / "data", splits=("train", "val"))
    shard_dataset(tmp_path / "data", tmp_path / "shards")
    load_dataset("classify", url)
    assert not cache.exists()
    assert sum(ENDING in line for line in handler.asked) == 2
