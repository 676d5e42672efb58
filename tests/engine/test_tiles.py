"""Images in tiles: what is said of them is what is said of the whole image, without a trace of the tiles."""

from __future__ import annotations

import json
import subprocess
import sys
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from PIL import Image
from torch import nn

import vision_tasks as vt
from tests import factories
from vision_tasks.cli import main
from vision_tasks.data.decode import read_image
from vision_tasks.data.windows import open_windows
from vision_tasks.engine.evaluate import Inference
from vision_tasks.engine.predict import Settings, Summary, predict
from vision_tasks.engine.sources import find_images
from vision_tasks.engine.tiles import TilePredictor
from vision_tasks.models.base import ModelInfo
from vision_tasks.models.checkpoint import save_model
from vision_tasks.tasks import DETECT, SEGMENT, Report
from vision_tasks.tasks.mask_tiles import MASK_TILES, MaskStitching
from vision_tasks.tasks.tiling import Stitch, tiles_of
from vision_tasks.types import Bands, Boxes, InputSpec, Masks

CPU = torch.device("cpu")
SIZES = [(65, 64), (64, 131), (100, 150), (200, 70), (131, 257), (64, 113)]


class Local(nn.Module):
    """Two convolutions: what it says of a pixel depends on those up to two pixels away."""

    def __init__(self, classes=3, channels=3):
        super().__init__()
        self.info = ModelInfo("local", "", tuple("abcdefghijk"[:classes]), 1, "")
        luck = torch.Generator().manual_seed(0)
        self.first = torch.randn(8, channels, 3, 3, generator=luck)
        self.second = torch.randn(classes, 8, 3, 3, generator=luck)

    def predict(self, images):
        hidden = nn.functional.conv2d(images - 0.5, self.first, padding=1).relu()
        probability = nn.functional.conv2d(hidden, self.second, padding=1).softmax(dim=1)
        return Masks(probability.argmax(dim=1).to(torch.uint8), len(self.info.classes), probability)


class Point(Local):
    """What it says of a pixel depends on that pixel alone; cheap."""

    def predict(self, images):
        probability = nn.functional.conv2d(images - 0.5, 20 * self.first[..., :1, :1]).softmax(dim=1)
        return Masks(probability.argmax(dim=1).to(torch.uint8), 8, probability)


class Sum:
    """A stitching by the definition: the weighted sum of all tiles, in double precision."""

    def __init__(self, size, classes):
        self.total = np.zeros((classes, *size))
        self.weight = np.zeros(size)

    def add(self, tile, part):
        x0, y0, x1, y1 = tile.region
        weight = np.outer(tile.weight[0].double(), tile.weight[1].double())
        self.total[:, y0:y1, x0:x1] += part.dense()[0].double().numpy() * weight
        self.weight[y0:y1, x0:x1] += weight

    def result(self):
        return self


@contextmanager
def opened_sum(folder, size, classes):
    yield Sum(size, classes)


def picture(path, size, seed=0):
    """Noise on waves, so that classes change everywhere."""
    pixels = factories.texture(size, np.random.default_rng(seed)).astype(int)
    pixels += np.random.default_rng(seed + 1).integers(-60, 60, (*size, 3))
    pixels = pixels.clip(0, 255).astype(np.uint8)
    factories.save(path, pixels)
    return pixels


def whole(model, pixels):
    return model.predict(torch.from_numpy(pixels).permute(2, 0, 1)[None].float() / 255)


def tiled(model, path, tmp_path, side, canvas, stitch=MASK_TILES, batch_size=4):
    predictor = TilePredictor(
        Inference(model, CPU, "fp32"), stitch, side, InputSpec((canvas, canvas), "letterbox"), batch_size, tmp_path
    )
    with open_windows(path) as image, predictor.stitched(image, str) as stitching:
        result = stitching.result()
        return Masks(result.index.clone(), result.num_classes) if isinstance(result, Masks) else result


@pytest.mark.parametrize("size", SIZES)
def test_tiles_say_what_the_whole_image_says(size, tmp_path):
    pixels, model = picture(tmp_path / "a.png", size), Local()
    expected = whole(model, pixels)
    found = tiled(model, tmp_path / "a.png", tmp_path, 64, 64, Stitch(opened_sum))
    np.testing.assert_allclose(found.weight, 1, atol=1e-6)
    np.testing.assert_allclose(found.total, expected.probability[0].numpy(), atol=1e-5)
    index = tiled(model, tmp_path / "a.png", tmp_path, 64, 64).index
    assert len(np.unique(index)) == 3, "a network that says one thing everywhere would prove nothing"
    assert torch.equal(index, expected.index)


@pytest.mark.parametrize("batch_size", [1, 5, 100])
def test_the_size_of_batches_changes_nothing(batch_size, tmp_path):
    pixels, model = picture(tmp_path / "a.png", (150, 200)), Local()
    found = tiled(model, tmp_path / "a.png", tmp_path, 64, 64, batch_size=batch_size).index
    assert torch.equal(found, whole(model, pixels).index)


def test_an_image_that_is_narrower_than_a_tile(tmp_path):
    """What lies beside it is border, so only the pixels that see it may differ."""
    pixels, model = picture(tmp_path / "a.png", (40, 150)), Local()
    found = tiled(model, tmp_path / "a.png", tmp_path, 64, 64).index
    assert found.shape == (1, 40, 150)
    assert torch.equal(found[:, :38], whole(model, pixels).index[:, :38])


@pytest.mark.parametrize(("side", "canvas"), [(32, 64), (96, 48)])
def test_tiles_of_another_size_than_the_canvas_are_resampled(side, canvas, tmp_path):
    """Large even areas: they keep their classes where no border is near."""
    pixels = np.zeros((150, 170, 3), np.uint8)
    pixels[:, 60:] = (255, 0, 0)
    pixels[80:, 60:] = (0, 0, 255)
    factories.save(tmp_path / "a.png", pixels)
    model = Local()
    found, expected = tiled(model, tmp_path / "a.png", tmp_path, side, canvas).index, whole(model, pixels).index
    away = torch.ones(150, 170, dtype=torch.bool)
    away[:, 50:70] = away[70:90] = False
    away[:8] = away[-8:] = away[:, :8] = away[:, -8:] = False
    assert len(expected[0][away].unique()) > 1
    assert torch.equal(found[0][away], expected[0][away])


def test_no_seam_shows_where_a_network_sees_further_than_tiles(tmp_path):
    """A U-Net: beside the whole image, tiles that fade into one another differ far less than tiles side by side."""
    torch.manual_seed(0)
    model = vt.create_model("unet:resnet18", ("a", "b")).eval()
    pixels = picture(tmp_path / "a.png", (256, 320))
    expected = whole(model, pixels).probability[0].numpy()
    faded = tiled(model, tmp_path / "a.png", tmp_path, 128, 128, Stitch(opened_sum)).total
    side_by_side = np.zeros_like(expected)
    for y in (0, 128):
        for x in (0, 128, 192):
            part = whole(model, np.ascontiguousarray(pixels[y : y + 128, x : x + 128])).probability[0].numpy()
            side_by_side[:, y : y + 128, x : x + 128] = part

    def jump(probability):
        """How much further the step over the seam at row 128 differs from the whole image's than a step elsewhere."""
        step = np.abs(np.diff(probability - expected, axis=1)).mean(axis=(0, 2))
        return step[127] / np.median(step)

    assert np.abs(faded - expected).mean() < np.abs(side_by_side - expected).mean()
    assert jump(side_by_side) > 4
    assert jump(faded) < 1.5


def run(model, task, tmp_path, tile, formats, canvas=(64, 64), bands=None, batch_size=4):
    """Predict tmp_path/photos into tmp_path/out."""
    (tmp_path / "out").mkdir(exist_ok=True)
    spec = InputSpec(canvas, "letterbox", bands)
    settings = Settings(formats, Report(0.25, 300), batch_size, tile)
    found = find_images([tmp_path / "photos"])
    return predict(Inference(model, CPU, "fp32"), task, found, spec, tmp_path / "out", settings)


def lines(path):
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_masks_areas_and_drawings_of_large_and_small_images(tmp_path, capsys):
    large, _ = picture(tmp_path / "photos" / "large.png", (150, 200)), picture(tmp_path / "photos/other.jpg", (99, 70))
    small = picture(tmp_path / "photos" / "small.png", (64, 64), 7)
    model = Local()
    assert run(model, SEGMENT, tmp_path, 64, ("drawings", "masks", "jsonl")) == Summary(3, 0, 0)
    rows = {row["image"]: row for row in lines(tmp_path / "out" / "predictions.jsonl")}
    for name, pixels in (("large.png", large), ("small.png", small)):
        expected = whole(model, pixels).index[0].numpy()
        with Image.open(tmp_path / "out" / "masks" / f"{name}.png") as mask:
            assert mask.mode == "P"
            assert (np.asarray(mask) == expected).all()
        area = {label: int((expected == i).sum()) for i, label in enumerate("abc")}
        assert rows[name]["predictions"] == [{"mask": f"masks/{name}.png", "area": area}]
        assert (rows[name]["height"], rows[name]["width"]) == expected.shape
        assert (tmp_path / "out" / "drawings" / f"{name}.png").exists()
    assert capsys.readouterr().err.count("decoded whole") == 1
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "drawings", "masks", "predictions.jsonl", "failures.jsonl", "progress.sqlite",
    }  # fmt: skip


def test_drawings_of_huge_images_are_shrunk(tmp_path, monkeypatch):
    monkeypatch.setattr("vision_tasks.engine.predict._DRAWN", 100)
    pixels = np.zeros((150, 330, 3), np.uint8)
    pixels[:, 165:] = 255
    factories.save(tmp_path / "photos" / "a.png", pixels)

    class Bright(Local):
        def predict(self, images):
            probability = torch.stack([1 - images.mean(dim=1), images.mean(dim=1)], dim=1)
            return Masks(probability.argmax(dim=1).to(torch.uint8), 2, probability)

    run(Bright(2), SEGMENT, tmp_path, 64, ("drawings", "masks", "jsonl"))
    drawn = np.asarray(Image.open(tmp_path / "out" / "drawings" / "a.png.png"))
    assert drawn.shape[1] in (83 * 4, 256 + 83), drawn.shape  # 330 / 4, enlarged until text can be read
    assert drawn[:60, :100].std(axis=(0, 1)).max() == 0
    assert (drawn[10, 10] != drawn[10, -10]).any()


def test_a_file_that_is_damaged_in_the_middle_is_a_failure(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    (tmp_path / "photos").mkdir()
    pixels = np.random.default_rng(0).integers(0, 255, (3, 200, 200), np.uint8)
    shape = {"driver": "GTiff", "count": 3, "height": 200, "width": 200, "dtype": "uint8"}
    with rasterio.open(tmp_path / "photos" / "a.tif", "w", **shape, tiled=True, blockxsize=64, blockysize=64,
                       compress="deflate") as file:  # fmt: skip
        file.write(pixels)
    data = bytearray((tmp_path / "photos" / "a.tif").read_bytes())
    data[len(data) // 2 : len(data) // 2 + 3000] = bytes(3000)
    (tmp_path / "photos" / "a.tif").write_bytes(data)
    picture(tmp_path / "photos" / "b.png", (100, 100))
    assert run(Local(), SEGMENT, tmp_path, 64, ("masks", "jsonl")) == Summary(1, 1, 0)
    (failure,) = lines(tmp_path / "out" / "failures.jsonl")
    assert failure["image"] == "a.tif"
    assert "damaged TIFF data" in failure["reason"]
    assert [path.name for path in (tmp_path / "out" / "masks").iterdir()] == ["b.png.png"]


def too_large(values=10**15):
    """What torch raises on this machine, and not what we believe that it does."""
    torch.zeros(values, dtype=torch.float64)


@pytest.mark.parametrize(("tile", "remedy"), [(None, "--tile takes large"), (64, "a smaller --tile")])
def test_an_image_that_is_too_large_for_memory_is_a_failure(tile, remedy, tmp_path, monkeypatch):
    for name, width in (("a", 60), ("b", 200), ("c", 60)):
        picture(tmp_path / "photos" / f"{name}.png", (60, width))
    warp = Masks.warp

    def limited(masks, matrix, size):
        return too_large() if size[1] > 100 else warp(masks, matrix, size)

    monkeypatch.setattr(Masks, "warp", limited)
    monkeypatch.setattr(MaskStitching, "add", lambda *_: too_large())
    assert run(Local(), SEGMENT, tmp_path, tile, ("masks", "jsonl")) == Summary(2, 1, 0)
    (failure,) = lines(tmp_path / "out" / "failures.jsonl")
    assert failure["image"] == "b.png"
    assert "too large for this machine's memory" in failure["reason"]
    assert remedy in failure["reason"]


def test_other_errors_of_networks_end_the_run(tmp_path, monkeypatch):
    picture(tmp_path / "photos" / "a.png", (60, 60))
    monkeypatch.setattr(Masks, "warp", lambda *_: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="size"):
        run(Local(), SEGMENT, tmp_path, None, ("masks", "jsonl"))


def test_failures_are_text_whatever_files_are_called(tmp_path):
    (tmp_path / "photos").mkdir()
    for name in ("b\udce9.png", "日本.png"):
        (tmp_path / "photos" / name).write_bytes(b"")
    assert run(Local(), SEGMENT, tmp_path, None, ("masks", "jsonl")) == Summary(0, 2, 0)
    written = (tmp_path / "out" / "failures.jsonl").read_bytes().decode()
    assert {json.loads(line)["image"] for line in written.splitlines()} == {"b\udce9.png", "日本.png"}
    assert "日本.png" in written


def test_very_many_tiles_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("vision_tasks.engine.predict._MANY_TILES", 4)
    picture(tmp_path / "photos" / "a.png", (100, 100))
    picture(tmp_path / "photos" / "b.png", (60, 100))
    run(Local(), SEGMENT, tmp_path, 64, ("masks", "jsonl"))
    assert [line for line in capsys.readouterr().err.splitlines() if " tiles" in line] == [
        "a.png: 4 tiles; with a larger --tile there are fewer"
    ]


def test_bands_in_tiles(tmp_path):
    rasterio = pytest.importorskip("rasterio")
    (tmp_path / "photos").mkdir()
    values = np.random.default_rng(0).integers(0, 5000, (6, 130, 170), np.uint16)
    shape = {"driver": "GTiff", "count": 6, "height": 130, "width": 170, "dtype": "uint16"}
    with rasterio.open(tmp_path / "photos" / "a.tif", "w", **shape) as file:
        file.write(values)
    bands, model = Bands((5, 2, 6, 1, 3), (0.0, 4000.0)), Local(channels=5)
    assert run(model, SEGMENT, tmp_path, 64, ("drawings", "masks", "jsonl"), bands=bands) == Summary(1, 0, 0)
    pixels = read_image(tmp_path / "photos" / "a.tif", bands=bands).pixels
    mask = np.asarray(Image.open(tmp_path / "out" / "masks" / "a.tif.png"))
    assert (mask == whole(model, pixels).index[0].numpy()).all()


# Objects are rectangles of one grey level each; the level says which class: touching ones of one class differ in it.
LEVELS = {60: 0, 90: 0, 120: 0, 150: 1, 180: 1, 210: 1, 240: 0}


class Finder:
    """A perfect network: the box of each level's connected pixels."""

    def __init__(self):
        self.info = ModelInfo("finder", "", ("rook", "pawn"), 1, "")

    def predict(self, images):
        return Boxes.stack([self.find((image[0] * 255).round().numpy()) for image in images])

    def find(self, grey):
        boxes, labels = [], []
        for level, label in LEVELS.items():
            _, _, found, _ = cv2.connectedComponentsWithStats((np.abs(grey - level) < 2).astype(np.uint8))
            for x, y, width, height, _ in found[1:].tolist():
                if min(width, height) > 4:  # thinner ones are seams between two levels that resampling made
                    boxes.append((x, y, x + width, y + height))
                    labels.append(label)
        score = torch.linspace(0.9, 0.5, len(boxes))
        return Boxes.single(torch.tensor(boxes).reshape(-1, 4).float(), torch.tensor(labels).long(), score=score)


SCENES = {
    "in one tile": [(60, (10, 10, 30, 40))],
    "in what two share": [(60, (100, 10, 120, 40))],
    "over two": [(60, (80, 20, 150, 50))],
    "over two, both cut it": [(60, (60, 20, 170, 50))],
    "over four": [(60, (70, 60, 160, 150))],
    "touching, side by side on a seam": [(60, (70, 20, 112, 60)), (90, (112, 20, 160, 60))],
    "touching, one on another": [(150, (20, 80, 60, 112)), (180, (20, 112, 60, 150))],
    "two classes": [(60, (100, 100, 130, 130)), (150, (130, 100, 160, 130))],
    "one in front of another": [(210, (80, 80, 170, 170)), (150, (110, 110, 125, 125))],
    "a row": [(level, (x, 100, x + 40, 140)) for level, x in zip((60, 90, 120), (40, 80, 120), strict=True)],
    "at every edge": [(60, (0, 0, 40, 40)), (90, (260, 0, 300, 40)), (120, (0, 210, 40, 250)),
                      (150, (260, 210, 300, 250))],
    "larger than a tile": [(240, (30, 40, 230, 220))],
    "nothing": [],
}  # fmt: skip


@pytest.mark.parametrize("scene", SCENES)
def test_every_object_is_one_box(scene, tmp_path):
    pixels = np.zeros((250, 300, 3), np.uint8)
    for level, (x0, y0, x1, y1) in SCENES[scene]:
        pixels[y0:y1, x0:x1] = level
    factories.save(tmp_path / "photos" / "a.png", pixels)
    run(Finder(), DETECT, tmp_path, 128, ("drawings", "jsonl"), canvas=(128, 128))
    (line,) = lines(tmp_path / "out" / "predictions.jsonl")
    # What a tile is too small for is seen from afar, where a pixel is more than two of the original's.
    tolerance = 3 if scene == "larger than a tile" else 0.01
    expected = sorted((["rook", "pawn"][LEVELS[level]], box) for level, box in SCENES[scene])
    found = sorted((row["label"], tuple(row["box"])) for row in line["predictions"])
    assert [label for label, _ in found] == [label for label, _ in expected]
    for (_, box), (_, right) in zip(found, expected, strict=True):
        assert box == pytest.approx(right, abs=tolerance)


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    folder = tmp_path_factory.mktemp("weights")
    for task, name in (("classify", "resnet18"), ("detect", "yolo11n"), ("segment", "unet:resnet18")):
        torch.manual_seed(0)
        model = vt.create_model(name, ("a", "b"))
        save_model(model, folder / f"{task}.safetensors", InputSpec((64, 64), "letterbox"))
    return folder


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_from_the_command_line(task, weights, tmp_path, monkeypatch):
    picture(tmp_path / "photos" / "a.png", (100, 130))
    given = {"--weights": weights / f"{task}.safetensors", "--source": tmp_path / "photos", "--out": tmp_path / "o",
             "--tile": 64, "--conf": 0}  # fmt: skip
    monkeypatch.setattr(
        sys, "argv", ["vision-tasks", task, "predict", *(str(w) for pair in given.items() for w in pair)]
    )
    with pytest.raises(SystemExit) as ended:
        main()
    assert ended.value.code == 0
    (line,) = lines(tmp_path / "o" / "predictions.jsonl")
    assert (line["height"], line["width"]) == (100, 130)
    assert (tmp_path / "o" / "drawings" / "a.png.png").exists()


def test_whole_images_have_no_tiles(weights, tmp_path):
    picture(tmp_path / "photos" / "a.png", (100, 130))
    given = {"source": tmp_path / "photos", "out": tmp_path / "o"}
    with pytest.raises(vt.UserError, match=r"^--tile: what classify says of a tile .*; leave it out$"):
        vt.predict("classify", weights=weights / "classify.safetensors", tile=64, **given)
    for side in (0, 4, 31):
        with pytest.raises(vt.UserError, match=f"^--tile must be 32 pixels or more, not {side}: try .*image size$"):
            vt.predict("segment", weights=weights / "segment.safetensors", tile=side, **given)


@pytest.mark.parametrize("side", [1, 2, 3, 5, 16, 64, 100])
@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 99, 100, 101, 150, 1000])
def test_tiles_cover_everything_once(length, side):
    total = torch.zeros(1, length)
    tiles = tiles_of((1, length), side)
    for tile in tiles:
        x0, y0, x1, y1 = tile.region
        assert (y0, y1) == (0, 1)
        assert 0 <= x0 < x1 <= length
        assert tile.inner == (x0 > 0, False, x1 < length, False)
        total[:, x0:x1] += tile.weight[0][:, None] * tile.weight[1]
    assert torch.allclose(total, torch.ones(1, length), atol=1e-6)
    assert len({tile.region for tile in tiles}) == len(tiles)


@pytest.mark.parametrize("length", [65, 80, 100, 112, 113, 128, 200, 1000])
def test_what_lies_at_an_inner_edge_counts_nothing(length):
    tiles = tiles_of((64, length), 64)
    for one, two in pairwise(tiles):
        assert one.region[2] - two.region[0] >= 16, "a quarter is shared"
    for tile in tiles:
        across = tile.weight[1]
        assert (across[:4] == (0 if tile.inner[0] else 1)).all()
        assert (across[-4:] == (0 if tile.inner[2] else 1)).all()
        assert across.max() == 1


_MEASURED = """
import resource, sys
import torch
from pathlib import Path
from tests.engine.test_tiles import Point, run
from vision_tasks.tasks import SEGMENT

folder, name = Path(sys.argv[1]), sys.argv[2]
run(Point(8), SEGMENT, folder / "first", 256, ("drawings", "masks", "jsonl"), canvas=(256, 256))
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
summary = run(Point(8), SEGMENT, folder / "second", 256, ("drawings", "masks", "jsonl"), canvas=(256, 256))
print(summary.predicted, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="other systems count memory otherwise")
def test_memory_is_bounded_by_tiles(tmp_path):
    """6,000 x 6,000 pixels and 8 classes: the probabilities of all would take 1.1 GB, the decoded image 108 MB."""
    rasterio = pytest.importorskip("rasterio")
    for folder, side in (("first", 600), ("second", 6000)):
        (tmp_path / folder / "photos").mkdir(parents=True)
        shape = {"driver": "GTiff", "count": 3, "height": side, "width": side, "dtype": "uint8"}
        waves = (127 + 120 * np.sin(np.arange(side) / 40)).astype(np.uint8)
        layout = {"tiled": True, "blockxsize": 256, "blockysize": 256, "compress": "deflate", "photometric": "rgb"}
        with rasterio.open(tmp_path / folder / "photos" / "a.tif", "w", **shape, **layout) as file:
            for band in (1, 2, 3):
                file.write(np.roll(waves, band * 30)[:, None] // 2 + waves[None] // 2, band)
    command = [sys.executable, "-c", _MEASURED, str(tmp_path), "a.tif"]
    root = Path(__file__).parents[2]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=root)
    assert done.returncode == 0, done.stderr
    predicted, kilobytes = map(int, done.stdout.split())
    assert predicted == 1
    # GDAL's blocks, the copy of 3,000 x 3,000 that is drawn on, and the mask's file, where the system has it mapped.
    assert kilobytes < 400_000
    mask = np.asarray(Image.open(tmp_path / "second" / "out" / "masks" / "a.tif.png"))
    pixels, model = read_image(tmp_path / "second" / "photos" / "a.tif").pixels, Point(8)
    for top in (0, 1000, 5700):
        rows = whole(model, np.ascontiguousarray(pixels[top : top + 300])).index[0].numpy()
        assert len(np.unique(rows)) > 3
        assert (mask[top : top + 300] == rows).all()
