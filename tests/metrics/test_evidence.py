"""What is stored of a scored model gives its scores again, for all images and for any resample of them."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch

from tests.metrics.boxes import CLASSES, generated
from vision_tasks.errors import UserError
from vision_tasks.metrics import detection
from vision_tasks.metrics.classification import ClassificationMetric
from vision_tasks.metrics.detection import DetectionMetric
from vision_tasks.metrics.evidence import read_evidence, write_evidence
from vision_tasks.metrics.many_labels import ManyLabelMetric
from vision_tasks.metrics.segmentation import SegmentationMetric
from vision_tasks.types import Labels, Masks

IMAGES = 12
NAMES = [f"{i}.jpg" for i in range(IMAGES)]


def labels(seed: int, several: bool) -> list[tuple[Labels, Labels]]:
    luck = torch.Generator().manual_seed(seed)
    probability = torch.rand(IMAGES, 3, generator=luck)
    one = torch.eye(3)[torch.randint(3, (IMAGES,), generator=luck)]
    truth = (torch.rand(IMAGES, 3, generator=luck) < 0.5).float() if several else one
    return [(Labels(p[None]), Labels(t[None])) for p, t in zip(probability, truth, strict=True)]


def masks(seed: int) -> list[tuple[Masks, Masks]]:
    luck = np.random.default_rng(seed)
    index = luck.integers(0, 3, (IMAGES, 2, 1, 8, 9)).astype(np.uint8)
    return [tuple(Masks(torch.from_numpy(each), 3) for each in pair) for pair in index]


CASES = {
    "one label": (ClassificationMetric, labels(1, several=False)),
    "several labels": (ManyLabelMetric, labels(2, several=True)),
    "masks": (SegmentationMetric, masks(3)),
    "boxes": (DetectionMetric, generated(4, IMAGES, 5, crowds=0.1, outlines=True)),
}


def fed(kind: Any, pairs: Any, keep: Any = None) -> Any:
    """The metric of the images at positions `keep`, which may repeat."""
    metric = kind(CLASSES)
    for i in range(IMAGES) if keep is None else keep:
        metric.update(*pairs[i], NAMES[i])
    return metric


@pytest.mark.parametrize("case", CASES)
def test_a_resample_scores_as_the_metric_of_those_images_does(case, tmp_path):
    kind, pairs = CASES[case]
    write_evidence(tmp_path / "evidence.npz", fed(kind, pairs).evidence())
    evidence = read_evidence(tmp_path / "evidence.npz")
    drawn = np.random.default_rng(0).integers(0, IMAGES, (4, IMAGES))
    draws = np.stack([np.bincount(row, minlength=IMAGES) for row in drawn]).astype(np.float64)
    found = evidence.scores(draws)
    for row, keep in enumerate(drawn):
        expected = fed(kind, pairs, keep).compute(intervals=False)
        for name, values in found.items():
            if (case, name) == ("several labels", "macro_f1"):
                continue  # whose thresholds stay those of all images
            assert values[row] == pytest.approx(expected[name], abs=1e-6, nan_ok=True), name


@pytest.mark.parametrize("case", CASES)
def test_every_image_once_gives_the_scores_themselves(case):
    kind, pairs = CASES[case]
    metric = fed(kind, pairs)
    expected = metric.compute(intervals=False)
    for name, values in metric.evidence().scores(np.ones((1, IMAGES))).items():
        assert values[0] == pytest.approx(expected[name], abs=1e-6, nan_ok=True), name


@pytest.mark.parametrize("case", CASES)
def test_images_are_named_and_classes_counted(case, tmp_path):
    kind, pairs = CASES[case]
    write_evidence(tmp_path / "evidence.npz", fed(kind, pairs).evidence())
    evidence = read_evidence(tmp_path / "evidence.npz")
    assert evidence.images == tuple(NAMES)
    shown = sum((truth.counts(3) > 0).int() for _, truth in pairs)
    assert evidence.support().tolist() == shown.tolist()


@pytest.mark.parametrize(("case", "score"), [("one label", "top1"), ("masks", "miou"), ("boxes", "map")])
def test_each_image_alone_is_scored_as_a_data_set_of_one(case, score, monkeypatch):
    kind, pairs = CASES[case]
    monkeypatch.setattr(detection, "_ALONE", 5)
    expected = [fed(kind, pairs, [i]).compute(intervals=False)[score] for i in range(IMAGES)]
    np.testing.assert_allclose(fed(kind, pairs).evidence().alone(), expected, atol=1e-6)


def test_several_labels_of_an_image_alone_are_as_good_as_their_probabilities_are_near():
    metric = ManyLabelMetric(CLASSES)
    metric.update(Labels(torch.tensor([[1.0, 0.5, 0.0]])), Labels(torch.tensor([[1.0, 1.0, 1.0]])), "a")
    metric.update(Labels(torch.tensor([[torch.nan, 1.0, 1.0]])), Labels(torch.tensor([[0.0, 1.0, 0.0]])), "b")
    assert metric.evidence().alone() == pytest.approx([0.5, 2 / 3])


def test_without_what_takes_long_the_other_scores_are_the_same():
    kind, pairs = CASES["boxes"]
    evidence = fed(kind, pairs).evidence()
    whole, quick = (evidence.scores(np.eye(IMAGES), quick=quick) for quick in (False, True))
    assert set(whole) - set(quick) == {"map_small", "map_medium", "map_large"}
    np.testing.assert_array_equal(whole["map"], quick["map"])


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 torn"])
def test_a_damaged_file_is_told(content, tmp_path):
    (tmp_path / "evidence.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"evidence\.npz can't be read"):
        read_evidence(tmp_path / "evidence.npz")


def test_a_pickle_is_not_run(tmp_path):
    np.savez(tmp_path / "evidence.npz", kind=np.array([{}], dtype=object))
    with pytest.raises(UserError, match="can't be read"):
        read_evidence(tmp_path / "evidence.npz")
