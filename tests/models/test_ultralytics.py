"""YOLO against ultralytics' own pipeline: the networks by name, what they learn by, and its checkpoints."""

import copy
import io
import logging
import os
import pickle
import struct
import subprocess
import sys
import zipfile
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

import vision_tasks as vt
from tests import factories
from tests.models.test_contract import YoloContract
from tests.models.yolo import CLASSES, check_boxes, saved, ultralytics_network, ultralytics_rows, yolo
from vision_tasks.cards import class_ids, class_names, weight_card, weight_cards_for
from vision_tasks.engine.train import Training
from vision_tasks.errors import UserError
from vision_tasks.models.base import TaskModel
from vision_tasks.models.checkpoint import load_model, load_weights, model_of
from vision_tasks.models.registry import MODELS, create_model, model_entry
from vision_tasks.models.transfer import start_from
from vision_tasks.models.ultralytics_files import read_ultralytics
from vision_tasks.models.ultralytics_yolo import UltralyticsYolo
from vision_tasks.models.weights import Weights
from vision_tasks.types import Boxes, InputSpec

NAMES = [name for name, entry in MODELS.items() if entry.family == "ultralytics"]


def truth() -> Boxes:
    boxes = torch.tensor([[4.0, 4, 44, 36], [50, 10, 90, 60]])
    return Boxes.single(boxes, torch.tensor([0, 2]))


# --- predictions and losses ---


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo26n"])
def test_yolo_predicts_what_ultralytics_does(name: str) -> None:
    model = yolo(name)
    images = torch.rand(2, 3, 128, 160)
    check_boxes(model.predict(images), ultralytics_rows(model.net, images, end2end=name == "yolo26n"), (128, 160))


@pytest.mark.parametrize("name", ["yolov8n", "yolo26n"])
def test_yolo_losses_are_ultralytics_per_image(name: str) -> None:
    model = yolo(name).train()
    images = torch.rand(3, 3, 128, 160)
    targets = Boxes.stack([truth(), truth().blank((128, 160)), truth()])
    one, two = (24 / 160, 20 / 128, 40 / 160, 32 / 128), (70 / 160, 35 / 128, 40 / 160, 50 / 128)
    batch = {
        "img": images,
        "batch_idx": torch.tensor([0.0, 0, 2, 2]),
        "cls": torch.tensor([0.0, 2, 0, 2]),
        "bboxes": torch.tensor([one, two, one, two]),
    }
    expected, _ = model.net.init_criterion()(model.net(images), batch)
    losses = model(images, targets)
    assert list(losses) == ["box", "cls", "l1" if name == "yolo26n" else "dfl"]
    torch.testing.assert_close(torch.stack(list(losses.values())) * 3, expected)


def test_yolo26_moves_its_weight_to_the_end_to_end_head() -> None:
    model = yolo("yolo26n")
    images = torch.rand(1, 3, 128, 160)
    totals = []
    for done in (0.0, 0.5, 1.0):
        model.anneal(done)
        totals.append(torch.stack(list(model(images, truth()).values())).sum())
    assert totals[0] != totals[2]
    torch.testing.assert_close(totals[1], (totals[0] + totals[2]) / 2)
    loss = model._loss(torch.device("cpu"))
    assert (loss.o2m, loss.o2o) == pytest.approx((loss.final_o2m, 1 - loss.final_o2m))


@pytest.mark.parametrize("epochs", [1, 2, 7])
def test_yolo26_shifts_from_epoch_to_epoch_as_ultralytics_does(
    epochs: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a training of ours tells the model, beside their loss, which is updated at each epoch's end."""
    factories.write_voc(tmp_path / "data")
    told: list[float] = []
    monkeypatch.setattr(UltralyticsYolo, "anneal", lambda _, done: told.append(done))
    monkeypatch.setattr(Training, "_learn", lambda *_: None)
    monkeypatch.setattr(Training, "_finish_epoch", next_epoch)
    vt.train("detect", data=tmp_path / "data", model="yolov8n", image_size=64, epochs=epochs, out=tmp_path / "run")
    monkeypatch.undo()
    model = yolo("yolo26n")
    model.net.args.epochs = epochs
    theirs = model.net.init_criterion()
    for done in told:
        model.anneal(done)
        ours = model._loss(torch.device("cpu"))
        assert (ours.o2m, ours.o2o) == pytest.approx((theirs.o2m, theirs.o2o))
        theirs.update()
    assert len(told) == epochs


def next_epoch(training: Training[Boxes]) -> None:
    training.position = training.position.next_epoch()


def test_suppression_is_torchvisions() -> None:
    """ultralytics' own orders boxes of equal scores otherwise, and is slow."""
    code = (
        "import sys, torch\nfrom vision_tasks.models.registry import create_model\n"
        "model = create_model('yolov8n', ('a',))\nassert 'torchvision' not in sys.modules\n"
        "from unittest import mock\nimport ultralytics.utils.nms as nms\n"
        "with mock.patch.object(nms.TorchNMS, 'nms', side_effect=AssertionError):\n"
        "    with torch.no_grad(): [branch[-1].bias.add_(9) for branch in model.net.model[-1].cv3]\n"
        "    print(bool(model.predict(torch.rand(1, 3, 64, 64)).valid.any()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout == "True\n", done.stderr


def test_yolo_anchors_do_not_stay_in_bfloat16() -> None:
    model = yolo("yolov8n")
    images = torch.rand(1, 3, 128, 160)
    before = model.predict(images)
    with torch.autocast("cpu", torch.bfloat16):
        assert model.predict(images).xyxy.dtype == torch.float32
    assert torch.equal(model.predict(images).xyxy, before.xyxy)


# --- names and recipe ---


def test_the_recipe_is_the_default_of_its_authors() -> None:
    model = create_model("yolov8n", CLASSES)
    from ultralytics.cfg import get_cfg

    theirs, ours = get_cfg(), model_entry("yolo11n").recipe
    augment = ours["augment"]
    assert (augment["hue"], augment["saturation"], augment["brightness"]) == (theirs.hsv_h, theirs.hsv_s, theirs.hsv_v)
    assert augment["zoom"] == (1 - theirs.scale, 1 + theirs.scale)
    assert (augment["shift"], augment["flip_x"], augment["flip_y"]) == (theirs.translate, theirs.fliplr, theirs.flipud)
    assert (augment["mosaic"], augment["mixup"], augment["cutmix"]) == (theirs.mosaic, theirs.mixup, theirs.cutmix)
    assert augment["mix_off"] == theirs.close_mosaic
    assert augment["mixup_alpha"] == 32  # written out in their MixUp
    assert (ours["batch_size"], ours["warmup_epochs"]) == (theirs.batch, theirs.warmup_epochs)
    assert ours["weight_decay"] == theirs.weight_decay
    assert (model.net.args.box, model.net.args.cls, model.net.args.dfl) == (7.5, 0.5, 1.5)


def test_the_rate_is_that_of_its_authors_for_six_classes() -> None:
    """Theirs depends on the number of classes, ours doesn't."""
    model, ours = create_model("yolov8n", CLASSES), model_entry("yolo11n").recipe
    from ultralytics.engine.trainer import BaseTrainer

    rates = {}
    for classes in (3, 6, 80):
        trainer = SimpleNamespace(data={"nc": classes}, args=SimpleNamespace(lr0=0.01, momentum=0.9))
        optimiser = BaseTrainer.build_optimizer(trainer, model.net, "auto", iterations=10_000)
        assert type(optimiser).__name__.lower() == ours["optimiser"]
        rates[classes] = optimiser.param_groups[0]["lr"]
    assert rates == {3: 0.001429, 6: ours["lr"], 80: 0.000119}
    assert optimiser.param_groups[0]["betas"][0] == ours["momentum"]


@pytest.mark.parametrize("name", NAMES)
def test_names_are_of_networks_that_ultralytics_describes(name: str) -> None:
    create_model("yolov8n", CLASSES)  # its import is tamed there
    from ultralytics.nn.tasks import yaml_model_load

    described = yaml_model_load(f"{name.removesuffix('u')}.yaml")
    assert described["head"][-1][2] in ("Detect", "v10Detect")
    scales = described.get("scales", {})  # of one or none, nothing need be chosen
    assert described["scale"] in scales or len(scales) < 2


@pytest.mark.slow
@pytest.mark.parametrize("name", NAMES)
def test_every_network_builds_and_divides_its_canvas(name: str) -> None:
    model = create_model(name, CLASSES)
    assert int(max(model.net.stride)) == model.info.size_multiple or name == "yolov3-tinyu"
    assert model.info.size_multiple % int(max(model.net.stride)) == 0


class FurtherYolo(YoloContract):
    luck = 3  # of images among whose untrained scores no two are too near to one another

    def images(self, count: int = 2) -> Tensor:
        return torch.rand(count, 3, *self.canvas, generator=torch.Generator().manual_seed(self.luck + count))


@pytest.mark.slow
class TestYolo5(FurtherYolo):
    name = "yolov5nu"


class TestYolo10(FurtherYolo):
    name = "yolov10n"
    may_rest = "one2one_cv2"  # gives each box to one place, which need not be of every stride


@pytest.mark.slow
class TestYolo12(FurtherYolo):
    name = "yolo12n"


@pytest.mark.slow
class TestYolo6(FurtherYolo):
    name = "yolov6n"


class DeepYolo(FurtherYolo):
    """Untrained, what they give is so large (logits of 40 to 80,000) that suppression tips on its rounding."""

    def test_a_batch_equals_its_images(self, model: TaskModel[Any]) -> None:
        images = self.images(3)
        batch = model.eval()._raw(images)
        for i in range(3):
            single = model._raw(images[i : i + 1])
            for part in ("boxes", "scores"):
                tolerance = 1e-3 * float(batch[part].detach().std())
                torch.testing.assert_close(single[part], batch[part][i : i + 1], atol=tolerance, rtol=0)


@pytest.mark.slow
class TestYolo9(DeepYolo):
    name = "yolov9t"


@pytest.mark.slow
class TestYolo11m(DeepYolo):
    name = "yolo11m"
    rate = 1e-4
    luck = 6


# --- checkpoints ---


@pytest.mark.parametrize("name", ["yolov8n", "yolo11n", "yolo26n", "yolov10n", "yolov5n"])
def test_a_checkpoint_gives_the_boxes_that_ultralytics_gives(tmp_path: Path, name: str) -> None:
    net = ultralytics_network(name)
    model, card = load_model(saved(tmp_path / "best.pt", net))
    assert (card.name.removesuffix("u"), card.classes) == (name, CLASSES)
    assert card.input == InputSpec((160, 160), "letterbox")
    assert model.info.code_licence == model.info.weights_licence == card.weights_licence == "AGPL-3.0"
    images = torch.rand(2, 3, 160, 160)
    found = model.predict(images)
    check_boxes(found, ultralytics_rows(net, images, name in ("yolo26n", "yolov10n")), (160, 160))
    assert found.score is not None
    assert (found.score.amax(dim=1) - found.score.amin(dim=1) > 0.1).all()


def test_tensors_are_bit_for_bit(tmp_path: Path) -> None:
    net = ultralytics_network("yolo11n")
    model, _ = load_model(saved(tmp_path / "best.pt", net))
    theirs = net.state_dict()
    assert len(theirs) == 499
    assert {name.removeprefix("net."): tensor for name, tensor in model.state_dict().items()}.keys() == theirs.keys()
    assert all(torch.equal(tensor, theirs[name]) for name, tensor in model.net.state_dict().items())


def test_what_ultralytics_itself_saves(tmp_path: Path) -> None:
    create_model("yolov8n", CLASSES)
    from ultralytics import YOLO

    whole = YOLO("yolo11n.yaml", verbose=False)
    whole.save(tmp_path / "net.pt")
    model, card = load_model(tmp_path / "net.pt")
    assert (card.name, len(card.classes), card.input.canvas) == ("yolo11n", 80, (640, 640))
    assert torch.equal(model.net.model[0].conv.weight, whole.model.model[0].conv.weight.half().float())


def test_the_mean_of_weights_is_preferred(tmp_path: Path) -> None:
    net, mean = ultralytics_network("yolov8n"), ultralytics_network("yolov8n")
    nn.init.constant_(mean.model[0].conv.weight, 0.25)
    model, _ = load_model(saved(tmp_path / "last.pt", net, ema=mean.half()))
    assert (model.net.model[0].conv.weight == 0.25).all()


@pytest.mark.parametrize(
    ("imgsz", "canvas"),
    [(320, (320, 320)), (300, (320, 320)), ([96, 130], (96, 160)), (None, (640, 640))],
)
def test_the_canvas_is_that_of_the_training(tmp_path: Path, imgsz: Any, canvas: tuple[int, int]) -> None:
    path = saved(tmp_path / "best.pt", ultralytics_network("yolov8n"), train_args={"imgsz": imgsz} if imgsz else {})
    assert load_model(path)[1].input.canvas == canvas


def test_classes_of_coco_go_out_under_its_ids(tmp_path: Path) -> None:
    card = weight_card("yolo11n_coco")
    names, ids = class_names(card), class_ids(card)
    assert (len(names), len(ids), ids[0], ids[11], ids[-1]) == (80, 80, 1, 13, 90)
    model, loaded = load_model(saved(tmp_path / "best.pt", ultralytics_network("yolov8n", names)))
    assert (loaded.classes, loaded.class_ids, model.info.class_ids) == (names, ids, ids)
    assert load_model(saved(tmp_path / "own.pt", ultralytics_network("yolov8n")))[1].class_ids == ()


def test_the_list_of_coco_is_ultralytics_and_torchvisions() -> None:
    create_model("yolov8n", CLASSES)
    from torchvision.models.detection import FasterRCNN_ResNet50_FPN_Weights
    from ultralytics.data.converter import coco80_to_coco91_class
    from ultralytics.utils import ROOT, YAML

    card = weight_card("yolov8n_coco")
    assert dict(enumerate(class_names(card))) == YAML.load(ROOT / "cfg/datasets/coco.yaml")["names"]
    assert [*class_ids(card)] == coco80_to_coco91_class()
    slots = FasterRCNN_ResNet50_FPN_Weights.DEFAULT.meta["categories"]
    assert [slots[i] for i in class_ids(card)] == [*class_names(card)]


@pytest.mark.parametrize(
    ("described", "name"),
    [
        ({"yaml_file": "yolo11n.yaml", "scale": "n"}, "yolo11n"),
        ({"yaml_file": "/home/ann/ultralytics/cfg/models/11/yolo11.yaml", "scale": "n"}, "yolo11n"),
        ({"yaml_file": r"C:\\Users\\ann\\yolo11n.yaml", "scale": "n"}, "yolo11n"),
        ({"yaml_file": "yolo11n.yaml"}, "yolo11n"),
    ],
)
def test_ways_of_naming_a_network(tmp_path: Path, described: dict[str, str], name: str) -> None:
    net = ultralytics_network("yolo11n")
    net.yaml = {key: value for key, value in net.yaml.items() if key not in ("yaml_file", "scale")} | described
    assert model_of(saved(tmp_path / "best.pt", net)) == name


def test_a_training_starts_from_a_checkpoint_with_other_classes(tmp_path: Path) -> None:
    net = ultralytics_network("yolo11n", tuple(f"c{i}" for i in range(80)))
    model = create_model("yolo11n", CLASSES)
    account = start_from(model, saved(tmp_path / "best.pt", net))
    assert account.startswith(f"took 448 of 499 tensors from yolo11n ({tmp_path / 'best.pt'}); new: net.model.23.cv3.")
    assert model.info.weights_licence == "AGPL-3.0"
    assert torch.equal(model.net.model[23].cv2[0][2].weight, net.model[23].cv2[0][2].weight)
    same = create_model("yolo11n", tuple(f"c{i}" for i in range(80)))
    assert start_from(same, tmp_path / "best.pt").startswith("took 499 of 499 tensors from yolo11n")


def test_predict_and_evaluate_take_a_checkpoint(tmp_path: Path) -> None:
    factories.write_voc(tmp_path / "data")
    net = ultralytics_network("yolov8n", vt.load_dataset("detect", tmp_path / "data").classes)
    path = saved(tmp_path / "best.pt", net, train_args={"imgsz": 64})
    out = vt.predict("detect", weights=path, source=tmp_path / "data" / "JPEGImages", out=tmp_path / "out")
    assert (tmp_path / "out" / "predictions.jsonl").exists(), out
    assert 0 <= vt.evaluate("detect", weights=path, data=tmp_path / "data", split="val")["map"] <= 1


# --- checkpoints that are refused, or do nothing ---


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


def test_code_in_a_checkpoint_never_runs(tmp_path: Path) -> None:
    net, evil = ultralytics_network("yolov8n"), Evil(tmp_path / "ran")
    net.criterion = evil
    model, _ = load_model(saved(tmp_path / "best.pt", net, train_args={"imgsz": evil}, extra=[evil], git={"a": evil}))
    assert torch.equal(model.net.model[0].conv.weight, net.model[0].conv.weight)
    saved(tmp_path / "none.pt", net, model=evil, ema={"ultralytics.nn.tasks": evil})
    with pytest.raises(UserError, match=r"none\.pt: mentions ultralytics, but holds no network") as error:
        load_model(tmp_path / "none.pt")
    assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_reading_imports_nothing(tmp_path: Path) -> None:
    saved(tmp_path / "best.pt", ultralytics_network("yolov8n"))
    code = (
        "import sys; from pathlib import Path\n"
        "from vision_tasks.models.ultralytics_files import read_ultralytics\n"
        "theirs = read_ultralytics(Path(sys.argv[1])); print(theirs.name, len(theirs.tensors()))\n"
        "assert not {'ultralytics', 'torchvision'} & set(sys.modules)\n"
    )
    done = subprocess.run([sys.executable, "-c", code, tmp_path / "best.pt"], capture_output=True, text=True)
    assert (done.stdout, done.returncode) == ("yolov8n 355\n", 0), done.stderr


def test_networks_that_are_none_of_ultralytics_own(tmp_path: Path) -> None:
    own, relu = ultralytics_network("yolov8n"), ultralytics_network("yolov8n", activation="torch.nn.ReLU()")
    own.yaml["yaml_file"] = "mine.yaml"
    wider = ultralytics_network("yolov8n")
    wider.yaml["scale"], wider.yaml["yaml_file"] = "s", "yolov8s.yaml"
    other = ultralytics_network("yolov8n")
    other.model[9].m.stride = 2
    segmenting = ultralytics_network("yolov8n")
    segmenting.__class__ = sys.modules["ultralytics.nn.tasks"].SegmentationModel
    nameless = ultralytics_network("yolov8n")
    nameless.names = None
    for net, message in {
        own: r"described by mine\.yaml, which is none of ultralytics' own that `vision-tasks models` lists",
        relu: r"no plain yolov8n: model\.0\.act is a ReLU and no SiLU$",
        wider: r"does not hold a yolov8s: wrong shape net\.model\.0\.conv\.weight 16x3x3x3 instead of 32x3x3x3, ",
        other: r"no plain yolov8n: model\.9\.m has stride 2 instead of 1$",
        segmenting: "holds a SegmentationModel of ultralytics; only its DetectionModel is read",
        nameless: "doesn't name all of its classes",
    }.items():
        with pytest.raises(UserError, match=rf"best\.pt.*{message}") as error:
            load_model(saved(tmp_path / "best.pt", net))
        assert "\n" not in str(error.value)


def layers(part: str, place: int, value: Any) -> list[Any]:
    """Those of a description, with another value at one place of a layer."""
    create_model("yolov8n", CLASSES)
    from ultralytics.nn.tasks import yaml_model_load

    described: list[Any] = copy.deepcopy(yaml_model_load("yolov8n.yaml")[part])
    layer = described[place]
    layer[0 if part == "head" else 3] = value
    return described


@pytest.mark.parametrize(
    ("part", "place", "value", "message"),
    [
        ("backbone", 4, [256, False], r"model\.4\.m\.0 has add False instead of True, model\.4\.m\.1 has add False "),
        ("head", 1, [-1, 5], r"model\.11 has f \[-1, 5\] instead of \[-1, 6\]$"),
    ],
)
def test_the_same_tensors_wired_otherwise(tmp_path: Path, part: str, place: int, value: Any, message: str) -> None:
    """An edited description under a known name: all names and shapes agree, but not the boxes."""
    net, usual = ultralytics_network("yolov8n", **{part: layers(part, place, value)}), ultralytics_network("yolov8n")
    usual.load_state_dict(net.state_dict())
    images = torch.rand(1, 3, 160, 160)
    with torch.no_grad():
        assert not torch.allclose(net(images)[0], usual(images)[0], atol=0.1)
    with pytest.raises(UserError, match=rf"its network is no plain yolov8n: {message}"):
        load_model(saved(tmp_path / "best.pt", net))


def test_heads_of_attention_are_counted(tmp_path: Path) -> None:
    net = ultralytics_network("yolo11n")
    net.model[10].m[0].attn.num_heads = 1
    with pytest.raises(UserError, match=r"model\.10\.m\.0\.attn has num_heads 1 instead of 2$"):
        load_model(saved(tmp_path / "best.pt", net))


def archive(path: Path, pickled: bytes, compress: int = zipfile.ZIP_STORED, **members: bytes) -> Path:
    with zipfile.ZipFile(path, "w", compress) as file:
        file.writestr("best/data.pkl", pickled)
        for name, content in members.items():
            file.writestr(f"best/{name}", content)
    return path


MENTION = b"\x80\x02cultralytics.nn.tasks\nDetectionModel\n0"  # named, and dropped


@pytest.mark.parametrize(
    ("pickled", "message"),
    [
        (MENTION + b"]r\xff\xff\xff\xff.", "mentions ultralytics, but holds no network"),  # a memo of 64 GB
        (MENTION + b"(X\xff\xff\xff\x7fabc", "damaged"),
        (MENTION + b"}X\x05\x00\x00\x00modelX\x01\x00\x00\x00as.", "holds no network"),
        (MENTION + b"cos\nsystem\nX\x04\x00\x00\x00truei\x85R.", "damaged"),
        (MENTION + b"]" * 200_000 + b"a" * 199_999 + b".", "holds no network"),
        (MENTION, "damaged"),
        (
            MENTION + b"\x96" + struct.pack("<Q", 1 << 62) + b".",
            r"damaged \(KeyError\)",
        ),  # bytes, allocated before they are read
        # A tuple of a tuple twice, and so on: its hash takes 2^60 steps.
        (MENTION + b"})" + b"2\x86" * 60 + b"Ns.", r"damaged \(UnpicklingError\)"),
        (MENTION + b"})" + b"2\x86" * 60 + b"0(" + b")" + b"2\x86" * 60 + b"Nu.", r"damaged \(UnpicklingError\)"),
        (MENTION + b"()" + b"2\x86" * 60 + b"Nd.", r"damaged \(UnpicklingError\)"),
        (MENTION + b"cbuiltins\nset\n(])" + b"2\x86" * 60 + b"atR.", r"damaged \(UnpicklingError\)"),
        (MENTION + b"ccollections\nOrderedDict\n(]])" + b"2\x86" * 60 + b"aNaatR.", r"damaged \(TypeError\)"),
        (
            MENTION + b"}\x8b" + struct.pack("<i", 1000) + b"\1" * 1000 + b"Ns.",
            r"damaged \(UnpicklingError\)",
        ),  # a long number
    ],
)
def test_pickles_that_want_too_much(tmp_path: Path, pickled: bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        load_model(archive(tmp_path / "best.pt", pickled))
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(("deep", "name"), [(2000, "a"), (2, "a" * 2000)])
def test_networks_without_an_end(tmp_path: Path, deep: int, name: str) -> None:
    """Parts within parts: their names are as long as all above them."""
    text = b"X" + struct.pack("<i", len(name)) + name.encode()
    modules = b"X\x08\x00\x00\x00_modules"
    part = b"ctorch.nn\nModule\n)R"
    inner = part + (b"}" + modules + b"}" + text + part) * deep + b"ssb" * deep
    network = b"cultralytics.nn.tasks\nDetectionModel\n)R}" + modules + b"}" + text + inner + b"ssb"
    content = b"\x80\x02}X\x05\x00\x00\x00model" + network + b"s."
    with pytest.raises(UserError, match="its network has no end; the file is damaged"):
        load_model(archive(tmp_path / "best.pt", content))


def rewritten(path: Path, compress: int, member: str, content: bytes) -> Path:
    with zipfile.ZipFile(path) as file:
        members = {name: file.read(name) for name in file.namelist()}
    with zipfile.ZipFile(path, "w", compress) as file:
        for name, before in members.items():
            file.writestr(name, content if name.endswith(member) else before)
    return path


def test_archives_that_are_damaged_or_a_bomb(tmp_path: Path) -> None:
    path = saved(tmp_path / "best.pt", ultralytics_network("yolov8n"))
    whole = path.read_bytes()
    for compress, member, content in (
        (zipfile.ZIP_DEFLATED, "version", b"3"),
        (zipfile.ZIP_STORED, "data/0", b"short"),
        (zipfile.ZIP_STORED, "byteorder", b"big"),
    ):
        path.write_bytes(whole)
        with pytest.raises(UserError, match=r"best\.pt: not a checkpoint, or damaged"):
            load_model(rewritten(path, compress, member, content))
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(UserError, match="damaged"):
        load_model(path)


@pytest.mark.parametrize(
    ("place", "value", "kind"),
    [(6, b"\xff\xff", NotImplementedError), (46, b"\xff\xff", UnicodeDecodeError), (0, b"PK\0\0", zipfile.BadZipFile)],
)
def test_a_list_of_members_that_cannot_be_read(tmp_path: Path, place: int, value: bytes, kind: type[Exception]) -> None:
    """The version that it needs, its name, its mark: `zipfile` says something else of each."""
    path = archive(tmp_path / "best.pt", MENTION, é=b"1")
    whole = bytearray(path.read_bytes())
    entry = whole.rindex(b"PK\1\2")
    whole[entry + place : entry + place + len(value)] = value
    path.write_bytes(whole)
    with pytest.raises(kind):
        zipfile.ZipFile(path)
    assert read_ultralytics(path) is None
    with pytest.raises(UserError, match=r"best\.pt: not a state dict, or damaged"):
        load_model(path)


@pytest.mark.parametrize("damaged", [False, True])
def test_files_are_closed(tmp_path: Path, damaged: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    opened: list[zipfile.ZipFile] = []
    build = zipfile.ZipFile.__init__

    def watched(archive: zipfile.ZipFile, *options: Any, **named: Any) -> None:
        opened.append(archive)
        build(archive, *options, **named)

    path = saved(tmp_path / "best.pt", ultralytics_network("yolov8n"))
    if damaged:
        rewritten(path, zipfile.ZIP_DEFLATED, "version", b"3")
    monkeypatch.setattr(zipfile.ZipFile, "__init__", watched)
    with pytest.raises(UserError) if damaged else nullcontext():
        load_model(path)
    assert opened
    assert all(archive.fp is None for archive in opened)


def test_a_checkpoint_is_read_once_until_it_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from vision_tasks.models.inert_pickle import Archive

    read: list[Archive] = []
    content = Archive.content
    monkeypatch.setattr(Archive, "content", lambda archive: (read.append(archive), content(archive))[1])
    path = saved(tmp_path / "best.pt", ultralytics_network("yolov8n"))
    assert model_of(path) == load_model(path)[1].name == "yolov8n"
    start_from(create_model("yolov8n", CLASSES), path)
    assert len(read) == 1
    other = ultralytics_network("yolo11n")
    saved(path, other)
    model, card = load_model(path)
    assert (card.name, len(read)) == ("yolo11n", 2)
    assert torch.equal(model.net.model[0].conv.weight, other.model[0].conv.weight)


@pytest.mark.parametrize(("size", "stride", "offset"), [((1 << 40,), (0,), 0), ((8,), (1,), -1), ((8,), (2,), 0)])
def test_tensors_beyond_their_bytes(
    tmp_path: Path, size: tuple[int, ...], stride: tuple[int, ...], offset: int
) -> None:
    class Tensorish:
        def __reduce__(self) -> Any:
            return torch._utils._rebuild_tensor_v2, (Storage(), offset, size, stride, False, {})

    class Storage:
        pass

    class Pickler(pickle.Pickler):
        def persistent_id(self, value: Any) -> Any:
            return ("storage", torch.FloatStorage, "0", "cpu", 8) if isinstance(value, Storage) else None

    from vision_tasks.models.inert_pickle import Archive, is_tensor

    buffer = io.BytesIO()
    Pickler(buffer, protocol=2).dump({"x": Tensorish()})
    path = tmp_path / "x.pt"
    with zipfile.ZipFile(path, "w") as file:
        file.writestr("x/data.pkl", buffer.getvalue())
        file.writestr("x/data/0", struct.pack("8f", *range(8)))
    opened = Archive.open(path)
    assert opened is not None
    with opened:
        record = opened.content()["x"]
        assert is_tensor(record)
        with pytest.raises(UserError, match="damaged"):
            opened.tensor(record)


@pytest.mark.parametrize(
    "tensor",
    [
        torch.arange(12.0).reshape(3, 4).T[1:],
        torch.arange(5, dtype=torch.int16),
        torch.tensor(3.5, dtype=torch.bfloat16),
        torch.zeros(0, 3),
        torch.tensor([True, False]),
        nn.Parameter(torch.rand(2, 3, dtype=torch.float64)),
    ],
)
def test_tensors_are_as_torch_reads_them(tmp_path: Path, tensor: Tensor) -> None:
    from vision_tasks.models.inert_pickle import Archive, is_tensor

    torch.save({"x": tensor, "y": [1, "two", (3.5, None)]}, tmp_path / "x.pt")
    opened = Archive.open(tmp_path / "x.pt")
    assert opened is not None
    with opened:
        content = opened.content()
        assert content["y"] == [1, "two", (3.5, None)]
        assert is_tensor(content["x"])
        found = opened.tensor(content["x"])
    assert found.dtype == tensor.dtype
    assert torch.equal(found, tensor)
    assert found.is_contiguous()


# --- the process ---


PROBE = """
import logging, os, sys, cv2, numpy, torch
from PIL import Image
cv2.setNumThreads(2)
torch.set_num_threads(1)
torch.set_printoptions(precision=3)
from vision_tasks.models.registry import create_model, model_names
model_names()
assert not {"torchvision", "ultralytics", "segmentation_models_pytorch", "timm"} & set(sys.modules)
import torchvision
def state():
    return (dict(os.environ), cv2.getNumThreads(), torch.save, Image.open, torch.get_num_threads(),
        vars(torch._tensor_str.PRINT_OPTS), numpy.get_printoptions(), torch.get_default_dtype(),
        torch.backends.cudnn.benchmark,
        torch.are_deterministic_algorithms_enabled(), logging.root.manager.disable, logging.root.level)
before = repr(state())
model = create_model("yolo11n", ("a", "b"))
assert repr(state()) == before, (repr(state()), before)
model.predict(torch.rand(1, 3, 64, 64))
assert repr(state()) == before
assert logging.getLogger("ultralytics").level == logging.INFO
"""


def test_ultralytics_leaves_the_process_and_the_home_alone(tmp_path: object) -> None:
    environment = os.environ | {"HOME": str(tmp_path), "PYTHONPATH": os.pathsep.join(["."])}
    environment.pop("YOLO_CONFIG_DIR", None)
    done = subprocess.run([sys.executable, "-c", PROBE], env=environment, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert list(os.scandir(str(tmp_path))) == []


def test_building_a_yolo_keeps_the_level_of_logs() -> None:
    logging.disable(logging.DEBUG)
    try:
        create_model("yolov8n", CLASSES)
        assert logging.root.manager.disable == logging.DEBUG
    finally:
        logging.disable(logging.NOTSET)


# --- cards ---


@pytest.mark.parametrize("name", [f"{model}_coco" for model in NAMES if weight_cards_for(model)])
def test_cards_are_of_the_release_that_ultralytics_takes_files_from(name: str) -> None:
    create_model("yolov8n", CLASSES)
    from ultralytics.utils.downloads import GITHUB_ASSETS_NAMES, GITHUB_ASSETS_REPO

    card = weight_card(name)
    assert name == f"{card.model}_{card.data}"
    assert card.url == f"https://github.com/{GITHUB_ASSETS_REPO}/releases/download/v8.4.0/{card.model}.pt"
    assert f"{card.model}.pt" in GITHUB_ASSETS_NAMES
    assert len(card.sha256 or "") == 64
    assert card.mebibytes == pytest.approx(card.parameters * 2 / 2**20, rel=0.1)  # half precision
    assert (card.code_licence, card.weights_licence) == ("AGPL-3.0", "AGPL-3.0")
    if card.model[-1] == "n":
        net = create_model(card.model, class_names(card)).net
        assert card.parameters == sum(parameter.numel() for parameter in net.parameters())


def test_sizes_of_a_version_are_published_in_rising_order() -> None:
    for version in ("yolov8", "yolo11", "yolo26"):
        cards = [weight_card(f"{version}{size}_coco") for size in "nsmlx"]
        assert all(card.best for card in cards)
        for value in ([card.scores["map"] for card in cards], [card.mebibytes for card in cards]):
            assert value == sorted(value)
        assert len({card.sha256 for card in cards}) == 5


def test_a_card_reads_ultralytics_form(tmp_path: Path) -> None:
    names = class_names(weight_card("yolov8n_coco"))
    net = ultralytics_network("yolov8n", names)
    path = saved(tmp_path / "yolov8n.pt", net)
    model, card = load_weights(Weights("yolov8n_coco", path, weight_card("yolov8n_coco")))
    assert (card.classes, card.class_ids[11], card.input.canvas) == (names, 13, (640, 640))
    assert torch.equal(model.net.model[0].conv.weight, net.model[0].conv.weight)
    assert model.info.class_ids == card.class_ids
