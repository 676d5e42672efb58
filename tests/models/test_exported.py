"""Exported files against the networks they were made from, and files that are not what they should be."""

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.models.yolo import yolo
from vision_tasks.engine.export import export_model
from vision_tasks.errors import UserError
from vision_tasks.models.base import TaskModel
from vision_tasks.models.checkpoint import KEY, ModelCard, load_model, save_model
from vision_tasks.models.exportable import Exportable
from vision_tasks.models.exported import ExportedModel
from vision_tasks.models.registry import create_model
from vision_tasks.types import Bands, Boxes, InputSpec

onnx = pytest.importorskip("onnx")
pytest.importorskip("onnxscript")
pytest.importorskip("onnxruntime")

CLASSES = ("cat", "dog", "eel")
SPEC = InputSpec((28, 28), "stretch")
SUFFIX = {"onnx": ".onnx", "openvino": ".xml", "torch": ".safetensors"}


def made(folder: Path, name: str, spec: InputSpec) -> tuple[Exportable[Any], ModelCard]:
    torch.manual_seed(0)
    model = yolo(name) if name.startswith("yolo") else create_model(name, CLASSES, channels=spec.channels).eval()
    save_model(model, folder / "best.safetensors", spec, {"score": 0.5})
    loaded, card = load_model(folder / "best.safetensors")
    assert isinstance(loaded, Exportable)
    return loaded, card


@pytest.fixture(scope="module")
def digits(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Exportable[Any], ModelCard]:
    """A folder with a small network in every format, and the network."""
    folder = tmp_path_factory.mktemp("digits")
    model, card = made(folder, "mnist_cnn", SPEC)
    export_model(model, card, "onnx", folder / "net.onnx")
    export_model(model, card, "torch", folder / "net.safetensors")
    return folder, model, card


@pytest.mark.parametrize("file", ["net.onnx", "net.safetensors"])
@pytest.mark.parametrize("count", [1, 2, 5])
def test_it_predicts_what_the_network_does(
    digits: tuple[Path, Exportable[Any], ModelCard], file: str, count: int
) -> None:
    folder, model, _ = digits
    other, _ = load_model(folder / file)
    images = torch.rand(count, 3, 28, 28)
    torch.testing.assert_close(other.predict(images).weight, model.predict(images).weight, atol=1e-5, rtol=0)


@pytest.mark.parametrize("file", ["net.onnx", "net.safetensors"])
def test_it_knows_what_its_checkpoint_knew(digits: tuple[Path, Exportable[Any], ModelCard], file: str) -> None:
    folder, model, card = digits
    other, found = load_model(folder / file)
    assert replace(found, extra={}) == replace(card, extra={})
    assert other.info == model.info
    assert isinstance(other, Exportable)
    assert other.decoder == model.decoder


def test_it_neither_learns_nor_starts_another(digits: tuple[Path, Exportable[Any], ModelCard]) -> None:
    folder, _, _ = digits
    other, _ = load_model(folder / "net.onnx")
    assert isinstance(other, ExportedModel)
    with pytest.raises(UserError, match="can't be trained"):
        other(torch.rand(1, 3, 28, 28), None)
    with pytest.raises(UserError, match="can't be trained"):
        create_model("mnist_cnn", CLASSES, folder / "net.onnx")


def test_openvino_predicts_what_the_network_does(
    digits: tuple[Path, Exportable[Any], ModelCard], tmp_path: Path
) -> None:
    pytest.importorskip("openvino")
    _, model, card = digits
    export_model(model, card, "openvino", tmp_path / "net.xml")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["net.bin", "net.xml"]
    other, found = load_model(tmp_path / "net.xml")
    assert replace(found, extra={}) == replace(card, extra={})
    for count in (1, 3, 9, 1):
        images = torch.rand(count, 3, 28, 28)
        torch.testing.assert_close(other.predict(images).weight, model.predict(images).weight, atol=1e-5, rtol=0)
    (tmp_path / "net.bin").unlink()
    with pytest.raises(UserError, match=r"net\.bin is missing"):
        load_model(tmp_path / "net.xml")
    (tmp_path / "net.bin").touch()
    (tmp_path / "net.xml").write_text("<soup/>")
    with pytest.raises(UserError, match=r"not an OpenVINO model|not written by"):
        load_model(tmp_path / "net.xml")


@pytest.fixture
def in_openvino(digits: tuple[Path, Exportable[Any], ModelCard], tmp_path: Path) -> TaskModel[Any]:
    pytest.importorskip("openvino")
    _, model, card = digits
    export_model(model, card, "openvino", tmp_path / "net.xml")
    return load_model(tmp_path / "net.xml")[0]


def test_what_openvino_says_of_an_image_depends_on_no_other(in_openvino: TaskModel[Any]) -> None:
    images = torch.rand(4 * torch.get_num_threads() + 3, 3, 28, 28)  # more than are underway at once
    together = in_openvino.predict(images).weight
    kept = together.clone()
    turned = in_openvino.predict(images.flip(0)).weight
    assert torch.equal(turned.flip(0), together)
    assert torch.equal(together, kept)  # the next call writes into other memory
    assert torch.equal(in_openvino.predict(images[:2]).weight, together[:2])
    alone = torch.cat([in_openvino.predict(image[None]).weight for image in images])
    torch.testing.assert_close(alone, together, atol=1e-6, rtol=0)


def test_openvino_goes_on_after_an_error(in_openvino: TaskModel[Any]) -> None:
    images = torch.rand(3, 3, 28, 28)
    before = in_openvino.predict(images).weight
    with pytest.raises(RuntimeError):
        in_openvino.predict(torch.rand(3, 3, 20, 20))
    assert torch.equal(in_openvino.predict(images).weight, before)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["yolov8n", "yolo26n"])
def test_boxes_are_the_same(name: str, tmp_path: Path) -> None:
    model, card = made(tmp_path, name, InputSpec((64, 96), "letterbox"))
    export_model(model, card, "onnx", tmp_path / "net.onnx")
    other, _ = load_model(tmp_path / "net.onnx")
    images = torch.rand(3, 3, 64, 96)
    assert isinstance(other, Exportable)
    with torch.no_grad():
        expected, found = model.eval().outputs(images), other.outputs(images)
    for one, two in zip(expected, found, strict=True):
        torch.testing.assert_close(two, one, atol=0.01, rtol=1e-4)
    # An untrained network's scores lie nearer to one another than rounding: which box is first is told by equal ones.
    boxes, again = model.predict(images), other.decoder(expected, (64, 96))
    assert isinstance(boxes, Boxes)
    assert isinstance(again, Boxes)
    assert int(boxes.valid.sum()) > 30
    assert torch.equal(boxes.xyxy, again.xyxy)
    assert torch.equal(boxes.label, again.label)
    assert int(other.predict(images).valid.sum()) > 30


@pytest.mark.slow
@pytest.mark.parametrize("to", ["onnx", "openvino"])
@pytest.mark.parametrize("canvas", [(64, 64), (50, 70)])
def test_masks_are_the_same(canvas: tuple[int, int], to: str, tmp_path: Path) -> None:
    """The second canvas is padded to what the network can divide, inside of the file, too; and has two bands."""
    pytest.importorskip({"onnx": "onnxruntime"}.get(to, to))
    bands = None if canvas == (64, 64) else Bands((2, 1))
    model, card = made(tmp_path, "unet:resnet18", InputSpec(canvas, "letterbox", bands))
    file = tmp_path / f"net{SUFFIX[to]}"
    export_model(model, card, to, file)
    other, _ = load_model(file)
    images = torch.rand(3, card.input.channels, *canvas)
    one, two = model.predict(images), other.predict(images)
    torch.testing.assert_close(two.probability, one.probability, atol=1e-4, rtol=0)
    assert (one.index == two.index).float().mean() > 0.999


# --- files that are not ours, or not whole ---


def changed(folder: Path, to: Path, change: Any) -> Path:
    proto = onnx.load(folder / "net.onnx")
    change(proto)
    onnx.save(proto, to)
    return to


def test_a_file_of_others_is_refused(digits: tuple[Path, Exportable[Any], ModelCard], tmp_path: Path) -> None:
    path = changed(digits[0], tmp_path / "a.onnx", lambda proto: proto.ClearField("metadata_props"))
    with pytest.raises(UserError, match=r"was not written by `vision-tasks export`"):
        load_model(path)


@pytest.mark.parametrize("content", [b"", b"no protobuf at all", b"\x08\x09" * 40])
def test_what_is_no_onnx_file_is_refused(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "a.onnx").write_bytes(content)
    with pytest.raises(UserError, match="not an ONNX file, or is damaged"):
        load_model(tmp_path / "a.onnx")


def test_tensors_in_other_files_are_not_followed(
    digits: tuple[Path, Exportable[Any], ModelCard], tmp_path: Path
) -> None:
    def outside(proto: Any) -> None:
        tensor = proto.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value="../../secret")

    path = tmp_path / "a.onnx"
    proto = onnx.load(digits[0] / "net.onnx")
    outside(proto)
    path.write_bytes(proto.SerializeToString())
    with pytest.raises(UserError, match="keeps tensors in other files"):
        load_model(path)


def test_damaged_descriptions_are_told(digits: tuple[Path, Exportable[Any], ModelCard], tmp_path: Path) -> None:
    def forget(proto: Any) -> None:
        (entry,) = [entry for entry in proto.metadata_props if entry.key == KEY]
        entry.value = json.dumps(json.loads(entry.value) | {"extra": {}})

    def spoil(proto: Any) -> None:
        (entry,) = [entry for entry in proto.metadata_props if entry.key == KEY]
        entry.value = entry.value[:-9]

    for change in (forget, spoil):
        with pytest.raises(UserError, match="is damaged"):
            load_model(changed(digits[0], tmp_path / "a.onnx", change))
