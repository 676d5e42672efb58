"""The shared data sets of masks, by their path alone: every number that their READMEs give."""

import csv
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from vision_tasks.data.catalog import open_dataset
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.decode import read_image
from vision_tasks.tasks.segment import SEGMENT
from vision_tasks.types import IGNORE, Masks

pytestmark = pytest.mark.shared

PERCENT = {
    "Sky": 15.8, "Building": 24.1, "Pole": 1.0, "Road": 29.3, "Pavement": 6.7, "Tree": 11.2, "SignSymbol": 1.1,
    "Fence": 1.4, "Car": 4.6, "Pedestrian": 0.6, "Bicyclist": 0.5,
}  # fmt: skip
VOID_PERCENT = 3.6


def counts_of(dataset: Dataset[Masks]) -> dict[str, int]:
    return {split: len(samples) for split, samples in dataset.splits.items()}


def pixels(dataset: Dataset[Masks], split: str) -> dict[str, np.ndarray]:
    """Pixels of each value [256] of every mask, by the file's name; its size is that of the image."""
    found = {}
    for sample in dataset.splits[split]:
        with Image.open(sample.path) as image:
            truth = sample.truth((image.height, image.width))
        found[sample.path.stem] = np.bincount(truth.index.flatten().numpy(), minlength=256)
    return found


def test_nuclei(shared_data: Path) -> None:
    root = shared_data / "segment-nuclei-dsb2018"
    dataset = open_dataset(root, SEGMENT.readers)
    assert (dataset.format, dataset.flaws) == ("mask-pairs", ())
    assert counts_of(dataset) == {"train": 72, "val": 10, "test": 22}
    assert dataset.classes == ("background", "foreground")
    rows = list(csv.DictReader((root / "index.csv").open()))
    assert len(rows) == 104
    assert sum(int(row["instances"]) for row in rows) == 4177
    counts = {split: pixels(dataset, split) for split in dataset.splits}
    for row in rows:
        mine = counts[row["split"]][row["name"]]
        height, width = int(row["height"]), int(row["width"])
        assert mine.sum() == mine[:2].sum() == height * width <= 696 * 520
        assert mine[1] > 0
        assert mine[1] / mine.sum() == pytest.approx(float(row["foreground_fraction"]), abs=6e-5)
    assert len({(row["height"], row["width"]) for row in rows}) == 6


@pytest.mark.slow
def test_nuclei_are_read_without_their_alpha(shared_data: Path) -> None:
    dataset = open_dataset(shared_data / "segment-nuclei-dsb2018", SEGMENT.readers)
    coloured = 0
    for sample in (sample for samples in dataset.splits.values() for sample in samples):
        with Image.open(sample.path) as image:
            assert image.mode == "RGBA"
            stored = np.asarray(image)
        assert (stored[..., 3] == 255).all()
        decoded = read_image(sample.path).pixels
        np.testing.assert_array_equal(decoded, stored[..., :3])
        coloured += bool((decoded[..., :1] != decoded).any())
    assert coloured == 26


def test_camvid(shared_data: Path) -> None:
    root = shared_data / "segment-camvid"
    dataset = open_dataset(root, SEGMENT.readers)
    assert (dataset.format, dataset.flaws) == ("mask-pairs", ())
    assert dataset.classes == tuple(PERCENT)
    assert counts_of(dataset) == {"train": 367, "val": 101, "test": 233}
    for split, samples in dataset.splits.items():
        assert {sample.path.stem for sample in samples} == set((root / f"{split}.txt").read_text().split())
    names = [sample.path.stem for sample in dataset.splits["val"]]
    assert {name.split("_")[0] for name in names} == {"0016E5"}
    assert (min(names), max(names)) == ("0016E5_07959", "0016E5_08159")
    drives = Counter(s.path.stem.split("_")[0] for split in ("train", "test") for s in dataset.splits[split])
    assert "0001TP" in drives
    for sample in dataset.splits["val"][::20]:
        truth = sample.truth(read_image(sample.path).size)
        assert truth.index.shape == (1, 360, 480)
        with Image.open(root / "val" / "masks" / f"{sample.path.stem}.png") as stored:
            np.testing.assert_array_equal(truth.index[0] == IGNORE, np.asarray(stored) == 11)


@pytest.mark.slow
def test_camvids_shares_of_pixels(shared_data: Path) -> None:
    dataset = open_dataset(shared_data / "segment-camvid", SEGMENT.readers)
    masks = {split: pixels(dataset, split) for split in dataset.splits}
    every = np.array([counts for split in masks.values() for counts in split.values()])
    share = 100 * every.sum(axis=0) / every.sum()
    np.testing.assert_allclose(share[:11], list(PERCENT.values()), atol=0.05)
    assert share[IGNORE] == pytest.approx(VOID_PERCENT, abs=0.05)
    assert every.sum() == 701 * 360 * 480
    for name in ("Fence", "Bicyclist"):
        assert 0.4 < (every[:, list(PERCENT).index(name)] > 0).mean() < 0.6
    void = {name for name, counts in masks["train"].items() if counts[IGNORE] > 0.3 * counts.sum()}
    assert void == {"0016E5_06690", "0016E5_06720"}
