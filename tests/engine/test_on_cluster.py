"""Work of a cluster: the files are those that one machine writes, whatever the sources, and it is gone on with."""

import io
import json
import os
import tarfile
import zipfile
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import cv2
import numpy as np
import pytest
import torch

import vision_tasks as vt
from tests.engine.test_going_on import picture
from vision_tasks.commands.predict import _Model
from vision_tasks.engine.cluster_messages import Answer, Order
from vision_tasks.engine.cluster_worker import Worker
from vision_tasks.engine.evaluate import Inference
from vision_tasks.engine.on_cluster import OnCluster, Workers, _table, device_of_workers, require_cluster, spread_over
from vision_tasks.engine.sources import Walk
from vision_tasks.engine.store import Outcome, Version
from vision_tasks.errors import UserError
from vision_tasks.models.checkpoint import save_model
from vision_tasks.models.weights import Weights
from vision_tasks.types import InputSpec


@pytest.fixture(scope="module")
def cluster():
    """Two machines with a worker each; here they are one."""
    ray = pytest.importorskip("ray", reason="the extra ray is not installed")
    from ray.cluster_utils import Cluster

    require_cluster("ray", "torch")
    machines = Cluster(initialize_head=True, head_node_args={"num_cpus": 1, "include_dashboard": False})
    machines.add_node(num_cpus=1)
    ray.init(machines.address, log_to_driver=False, logging_level="ERROR")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("vision_tasks.engine.on_cluster._PART", 5)
        patch.setattr("vision_tasks.engine.on_cluster._ROUND", 2)
        yield ray
    ray.shutdown()
    machines.shutdown()


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    path = tmp_path_factory.mktemp("weights") / "segment.safetensors"
    torch.manual_seed(0)
    save_model(vt.create_model("unet:resnet18", ("a", "b")), path, InputSpec((32, 32), "letterbox"))
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Of every kind of source, some of them broken."""
    folder = tmp_path_factory.mktemp("photos")
    for number in range(27):
        picture(folder / "below" / f"{number}.png", number, (20 + number % 3, 32))
    picture(folder / "large.png", 1, (150, 170))
    (folder / "broken.png").write_bytes(b"broken")
    data = (folder / "below" / "0.png").read_bytes()
    with zipfile.ZipFile(folder / "some.zip", "w") as archive:
        archive.writestr("in/zip.png", data)
        archive.writestr("../out.png", data)
    with tarfile.open(folder / "some.tar.gz", "w:gz") as archive:
        for name, content in (("tar.png", data), ("broken.png", b"no image")):
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    frames(folder / "film.avi")
    return folder


def sources(photos):
    return [photos, *(photos / name for name in ("some.zip", "some.tar.gz", "film.avi"))]


def frames(path):
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter.fourcc(*"MJPG"), 5, (32, 24))
    for number in range(3):
        writer.write(np.full((24, 32, 3), 60 * number, np.uint8))
    writer.release()


def call(weights, source, out, **options):
    given = {"formats": "masks,drawings", "batch_size": 4, "device": "cpu"} | options
    return vt.predict("segment", weights=weights, source=source, out=out, **given)


def files(folder):
    """All that was written, but for the store."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.startswith("progress.sqlite")
    }


@pytest.mark.slow
def test_a_cluster_writes_what_one_machine_does(cluster, weights, photos, tmp_path):
    told = [call(weights, sources(photos), tmp_path / name, tile=64, engine_cluster=each)
            for name, each in (("one", None), ("many", "ray"))]  # fmt: skip
    assert told[0] == told[1]
    assert (told[0].predicted, told[0].failed) == (27 + 1 + 2 + 3, 3)
    one, many = files(tmp_path / "one"), files(tmp_path / "many")
    assert one.keys() == many.keys()
    assert [name for name in one if one[name] != many[name]] == []


@pytest.mark.slow
def test_what_was_ended_is_gone_on_with_by_a_cluster_and_back(cluster, weights, photos, tmp_path):
    some = sorted((photos / "below").glob("1*.png"))
    (tmp_path / "photos").mkdir()
    for path in some[:6]:
        (tmp_path / "photos" / path.name).write_bytes(path.read_bytes())
    call(weights, tmp_path / "photos", tmp_path / "out")
    for path in some[6:]:
        (tmp_path / "photos" / path.name).write_bytes(path.read_bytes())
    assert call(weights, tmp_path / "photos", tmp_path / "out", engine_cluster="ray").before == 6
    again = call(weights, tmp_path / "photos", tmp_path / "out")
    assert (again.predicted, again.before) == (len(some), len(some))


@pytest.mark.parametrize("still_here", [True, False])
def test_an_image_that_only_this_machine_has_is_told_and_one_that_is_gone_fails(photos, still_here):
    (item,) = Walk([photos / "large.png"])
    order = Order.of(replace(item, version=Version(1, 2)))  # what it was when it was found
    stub = SimpleNamespace(all=list, writer=None)
    (table,) = Worker(lambda: lambda *_: stub)(_table([order]))
    (answer,) = (Answer(**row) for row in table.to_pylist())
    taken = []
    writer = SimpleNamespace(kept=nullcontext, one=nullcontext, take=lambda outcome, _: taken.append(outcome.reason))
    bar = SimpleNamespace(advance=lambda _: None)
    work = OnCluster(dict, Workers(1, 1, 0), (1, 1), writer, None, bar)
    work._underway[item.name] = item if still_here else replace(item, version=Version(1, 2))
    if still_here:
        with pytest.raises(UserError, match=r"large\.png is another file on .*, or none; machines must know images by"):
            work._take([answer])
    else:
        work._take([answer])
    assert taken == ([] if still_here else ["is gone, or was replaced, since it was found"])


@pytest.mark.slow
def test_what_a_worker_misses_is_told_in_a_line(cluster, weights, photos, tmp_path, monkeypatch):
    def gone(*_):
        raise UserError("weights.safetensors does not exist")

    monkeypatch.setattr("vision_tasks.commands.predict._begun", gone)
    with pytest.raises(UserError, match=r"a worker of the cluster: weights\.safetensors does not exist"):
        call(weights, photos, tmp_path / "out", engine_cluster="ray")


@pytest.mark.slow
def test_what_ends_a_worker_is_told_in_a_line(cluster, weights, photos, tmp_path, monkeypatch):
    def broken(*_):
        raise RuntimeError("the driver is too old")

    monkeypatch.setattr("vision_tasks.commands.predict._begun", broken)
    with pytest.raises(UserError, match="a worker of the cluster ended: RuntimeError: the driver is too old; each"):
        call(weights, photos, tmp_path / "out", engine_cluster="ray")


@pytest.mark.slow
def test_a_worker_that_dies_again_and_again_is_told(cluster, weights, photos, tmp_path, monkeypatch):
    monkeypatch.setattr("vision_tasks.commands.predict._begun", lambda *_: os._exit(1))
    with pytest.raises(UserError, match=r"a worker of the cluster ended: .*the same call goes on"):
        call(weights, photos, tmp_path / "out", engine_cluster="ray")


@pytest.mark.slow
def test_workers_may_have_gpus(cluster):
    """Ray has rules of its own for them; none is here to run on."""
    work = OnCluster(dict, Workers(1, 1, 1), (1, 1), None, None, None)
    assert work._dataset([cluster.put(_table([Order("{}")]))]) is not None


def test_parts_grow_when_all_workers_have_one():
    work = OnCluster(dict, Workers(3, 1, 0), (4, 16), None, None, None)
    assert [work._size() for _ in range(10)] == [4, 4, 4, 8, 8, 8, 16, 16, 16, 16]


def test_workers_get_a_device_that_they_have():
    model = Inference(vt.create_model("lenet5", ("a", "b")), torch.device("cpu"), "fp32")
    given = [("auto", "torch"), ("cuda:1", "compile"), ("cuda", "openvino"), ("cpu", "torch"), ("auto", "onnx")]
    assert [device_of_workers(*each, model) for each in given] == ["auto", "cuda", "cpu", "cpu", "cpu"]


def test_cards_are_fetched_by_each_machine(monkeypatch, tmp_path):
    found = {"resnet50": Weights("resnet50", tmp_path / "cached.pth", object()), "run": Weights("run", Path("best.st"))}
    monkeypatch.setattr("vision_tasks.commands.predict.resolve", found.get)
    given = {name: _Model("classify", name, "fp32", "torch", "cpu", None).for_others().weights for name in found}
    assert given == {"resnet50": "resnet50", "run": str(Path.cwd() / "best.st")}


def test_auto_is_for_one_machine(weights, photos, tmp_path):
    with pytest.raises(UserError, match="with --engine-cluster name the engine"):
        call(weights, photos, tmp_path / "out", engine_cluster="ray", engine="auto")


def test_other_clusters_are_unknown(weights, photos, tmp_path):
    with pytest.raises(UserError, match="unknown cluster 'slurm'; known: ray"):
        call(weights, photos, tmp_path / "out", engine_cluster="slurm")
    assert not (tmp_path / "out").exists()


def test_a_missing_extra_is_named(weights, photos, tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "ray", None)
    with pytest.raises(UserError, match=r"pip install 'vision-tasks\[ray\]'"):
        call(weights, photos, tmp_path / "out", engine_cluster="ray")


@pytest.mark.parametrize(
    ("machines", "use_gpus", "expected"),
    [
        ([(2, 0)], True, Workers(1, 2, 0)),
        ([(1, 0), (1, 0)], True, Workers(2, 1, 0)),
        ([(16, 0), (10, 0), (0, 0)], True, Workers(6, 4, 0)),
        ([(1, 0), (64, 0)], True, Workers(16, 4, 0)),
        ([(16, 2), (8, 1)], True, Workers(3, 8, 1)),
        ([(16, 2), (8, 1)], False, Workers(6, 4, 0)),
        ([(2, 4)], True, Workers(2, 1, 1)),
    ],
)
def test_workers_fill_the_machines(machines, use_gpus, expected):
    assert spread_over(machines, use_gpus) == expected


def test_a_cluster_of_nobody_is_told():
    with pytest.raises(UserError, match="has CPUs to offer"):
        spread_over([(0, 1)], True)


def test_orders_and_answers_arrive_as_they_were_sent(photos):
    with zipfile.ZipFile(photos / "some.zip") as archive:
        inside = archive.read("in/zip.png")
    items = {item.name: item.fetched() for item in Walk(sources(photos)) if hasattr(item, "member")}
    for name, item in items.items():
        there = Order(*Order.of(item)).item()
        assert (there.name, there.path, there.version) == (name, item.path, item.version)
        assert there.sha256() == item.sha256()
    assert Order.of(items["some.zip/in/zip.png"]).content == inside
    assert Order.of(items["below/3.png"]).content is None
    outcome = Outcome("a\udcff.png", Version(3, 4), "ab", (5, 6), [{"label": "ä", "score": 0.1}])
    assert Answer(*Answer.of(outcome, [b"x"])).result() == outcome
    assert json.loads(Answer.of(outcome, []).outcome)["size"] == [5, 6]
