"""The command from end to end: files, pictures by their pixels, and answers to wrong input."""

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from tests import factories
from vision_tasks.commands.explain import explain
from vision_tasks.errors import UserError
from vision_tasks.explanations.filters import filters_picture
from vision_tasks.explanations.images import images_in
from vision_tasks.explanations.layers import layers_of
from vision_tasks.explanations.patches import strongest_patches
from vision_tasks.explanations.pictures import grid, heat_on, stretched
from vision_tasks.models.checkpoint import save_model
from vision_tasks.models.registry import create_model
from vision_tasks.types import InputSpec


def lines(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "explained.jsonl").read_text().splitlines()]


def saved(path: Path, name: str, side: int) -> Path:
    torch.manual_seed(0)
    save_model(create_model(name, ["a", "b"]), path, InputSpec((side, side), "letterbox"))
    return path


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("photos")
    for number, name in enumerate(("one.jpg", "more/two.png")):
        factories.save(root / name, factories.texture((40, 60), np.random.default_rng(number)))
    (root / "notes.txt").write_text("no image")
    return root


def test_every_picture_is_listed_and_the_weights_are_as_they_were(tmp_path: Path, photos: Path) -> None:
    weights = saved(tmp_path / "w.safetensors", "lenet5", 28)
    before = weights.read_bytes()
    out = photos / "why"  # within the source: a second call does not look at what the first one wrote
    options = {"weights": weights, "source": photos, "out": out, "layer": "net.c3", "filter": 2, "label": "b"}
    for _ in range(2):
        written = explain(**options)
    rows = lines(out)
    assert [out / row["file"] for row in rows] == written
    assert sorted(str(path.relative_to(out)) for path in out.rglob("*.png")) == sorted(row["file"] for row in rows)
    assert [row["shows"] for row in rows] == ["filters", "patches", *["feature maps", "class activation"] * 2]
    assert {row.get("label", "b") for row in rows} == {"b"}
    assert {patch["image"] for patch in rows[1]["patches"]} == {"one.jpg", "more/two.png"}
    assert weights.read_bytes() == before


@pytest.mark.parametrize(
    ("name", "side"), [("yolo11n", 64), ("unet:resnet18", 64), ("fasterrcnn_mobilenet_v3_large_320_fpn", 64)]
)
def test_boxes_and_masks_have_pictures_too(tmp_path: Path, photos: Path, name: str, side: int) -> None:
    weights = saved(tmp_path / "w.safetensors", name, side)
    explain(weights=weights, source=photos / "one.jpg", out=tmp_path / "out")
    assert [row["shows"] for row in lines(tmp_path / "out")] == ["filters", "feature maps", "class activation"]
    picture = np.asarray(Image.open(tmp_path / "out" / "class_activation" / "one.jpg.png"))
    assert picture.shape[1] == 2 * 60 * 5  # both sides enlarged until they have 256 pixels or more


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layer": "net.c9"}, r"unknown layer with maps 'net\.c9'; did you mean net\.c"),
        ({"layer": "net.c3", "filter": 16}, r"--filter 16: net\.c3 has filters 0 to 15"),
        ({"label": "c"}, "unknown class 'c'"),
        ({"source": "nowhere.jpg"}, "source nowhere.jpg does not exist"),
        ({"data": "here"}, "give --filter N too"),
    ],
)
def test_wrong_input_is_one_line(tmp_path: Path, photos: Path, options: dict, message: str) -> None:
    weights = saved(tmp_path / "w.safetensors", "lenet5", 28)
    with pytest.raises(UserError, match=message):
        explain(**{"weights": weights, "source": photos, "out": tmp_path / "out"} | options)


def test_unreadable_images_are_told_and_left_out(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    weights = saved(tmp_path / "w.safetensors", "lenet5", 28)
    factories.save(tmp_path / "s" / "good.png", factories.texture((30, 30), np.random.default_rng(0)))
    (tmp_path / "s" / "bad.png").write_bytes(b"broken")
    explain(weights=weights, source=tmp_path / "s", out=tmp_path / "out", layer="net.c1", filter=0)
    assert "bad.png" in capsys.readouterr().err
    assert {row.get("image", "good.png") for row in lines(tmp_path / "out")} == {"good.png"}
    (tmp_path / "s" / "good.png").unlink()
    with pytest.raises(UserError, match="none of 1 images could be read"):
        explain(weights=weights, source=tmp_path / "s", out=tmp_path / "out")


def test_images_of_two_sources_may_have_one_name(tmp_path: Path) -> None:
    for folder in ("x", "y"):
        factories.save(tmp_path / folder / "1.png", factories.texture((8, 8), np.random.default_rng(0)))
    found = images_in([tmp_path / "x", tmp_path / "y"], tmp_path / "out")
    assert [sample.id for sample in found] == ["0-1.png", "1-1.png"]


def test_the_patch_is_the_place_that_excites_most(tmp_path: Path) -> None:
    """A filter that looks for a white pixel amid black ones finds the only one there is."""
    for number, (x, y) in enumerate([(20, 12), (6, 30)]):
        image = np.zeros((40, 40, 3), np.uint8)
        image[y, x] = 255 - 100 * number
        factories.save(tmp_path / f"{number}.png", image)
    model = create_model("resnet18", ["a", "b"]).eval()
    with torch.no_grad():
        model.net.conv1.weight[3] = 0
        model.net.conv1.weight[3, :, 3, 3] = 1
    samples = images_in([tmp_path], tmp_path / "out")
    spec = InputSpec((40, 40), "letterbox")
    layer = layers_of(model, torch.zeros(1, 3, 40, 40))["net.conv1"]
    first, second = strongest_patches(model, layer, 3, samples, spec)
    assert (first.image, second.image) == ("0.png", "1.png")
    # With a stride of 2 places are at even pixels; 7 pixels wide and high around them.
    assert first.region == (17, 9, 24, 16)
    assert first.pixels.shape == (7, 7, 3)
    assert first.activation > second.activation


def test_a_filter_is_drawn_in_its_own_colours() -> None:
    convolution = torch.nn.Conv2d(3, 2, 1)
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([[2.0, 0, -2], [0, 0.5, 0]]).view(2, 3, 1, 1))
    picture = filters_picture(torch.nn.ModuleDict({"first": convolution}), "first")
    colours = {tuple(colour) for colour in picture.reshape(-1, 3).tolist()}
    assert {(255, 128, 0), (128, 255, 128)} <= colours


def test_a_filter_of_two_channels_is_two_tiles() -> None:
    convolution = torch.nn.Conv2d(2, 1, 1)
    with torch.no_grad():
        convolution.weight.copy_(torch.tensor([1.0, -1]).view(1, 2, 1, 1))
    picture = filters_picture(torch.nn.ModuleDict({"first": convolution}), "first")
    assert (picture == 255).all(axis=2).sum() >= 48 * 48
    assert (picture == 0).all(axis=2).sum() >= 48 * 48


def test_maps_are_stretched_from_black_to_white() -> None:
    assert stretched(np.array([[-1, 3], [1, 1]], np.float32))[..., 0].tolist() == [[0, 255], [128, 128]]
    assert stretched(np.full((2, 2), 7, np.float32)).max() == 0


def test_without_heat_an_image_is_itself() -> None:
    image = factories.texture((20, 30), np.random.default_rng(0))
    heat = np.zeros((20, 30), np.float32)
    heat[5, 6] = 1
    warm = heat_on(image, heat)
    changed = (warm != image).any(axis=2)
    assert changed[5, 6]
    assert changed.sum() == 1
    hottest = cv2.applyColorMap(np.uint8([[255]]), cv2.COLORMAP_TURBO)[0, 0, ::-1]
    np.testing.assert_allclose(warm[5, 6], 0.35 * image[5, 6] + 0.65 * hottest, atol=0.51)


def test_tiles_of_different_sizes_are_enlarged_alike() -> None:
    red, blue = (250, 1, 2), (3, 4, 250)  # no text has these
    tiles = [np.full((4, 8, 3), red, np.uint8), np.full((2, 2, 3), blue, np.uint8)]
    picture = grid(tiles, ["a", "b"], "title", side=16)
    areas = [(picture == colour).all(axis=2).sum() for colour in (red, blue)]
    assert areas[0] == 8 * areas[1]
    assert areas[1] >= 4 * 4
