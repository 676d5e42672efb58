"""Weighed resamples against COCO's own evaluation of images that are really repeated or left out."""

import tracemalloc

import numpy as np
import pytest
import torch

from tests.metrics.boxes import CLASSES, boxes, generated
from vision_tasks.metrics.average_precision import averages
from vision_tasks.metrics.box_rows import RowList
from vision_tasks.metrics.coco import CocoEvaluation
from vision_tasks.metrics.matching import HIT, MISS, NEITHER, Ranked, ranked
from vision_tasks.types import Boxes

Pair = tuple[Boxes, Boxes]


def rows(pairs: list[Pair]) -> tuple:
    truth, predictions = RowList(), RowList()
    for prediction, real in pairs:
        assert prediction.score is not None
        truth.add(real, real.crowd.numpy())
        predictions.add(prediction, prediction.score.numpy())
    return predictions.rows(), truth.rows()


def weighed(pairs: list[Pair], weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    return averages(ranked(*rows(pairs), len(CLASSES)), weights)


def cocos(pairs: list[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and recall [10,K]; nan where undefined."""
    predictions, truth = rows(pairs)
    precision, recall, _ = CocoEvaluation(len(pairs), len(CLASSES), truth, predictions).curves()
    found = precision[..., 0, 2].mean(axis=1), recall[..., 0, 2]
    return tuple(np.where(each < 0, np.nan, each) for each in found)


HARD = [
    {"images": 25, "most": 8},
    {"images": 25, "most": 8, "crowds": 0.3},
    {"images": 25, "most": 12, "levels": 3},
    {"images": 15, "most": 10, "levels": 2, "crowds": 0.5},
    {"images": 2, "most": 400, "levels": 40},
    {"images": 20, "most": 30, "step": 40, "levels": 2},
    {"images": 20, "most": 30, "step": 40, "crowds": 0.3},
    {"images": 2, "most": 1},
]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", HARD, ids=str)
def test_every_image_once_is_cocos_score(seed: int, options: dict) -> None:
    pairs = generated(seed, **options)
    for ours, theirs in zip(weighed(pairs, np.ones((len(pairs), 1))), cocos(pairs), strict=True):
        np.testing.assert_allclose(ours[..., 0], theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize("wanted", [20, 50, 100])
def test_recalls_that_are_met_exactly(wanted: int) -> None:
    """35 of 100 is below COCO's 0.35, which is 0.35000000000000003, while 34 of 100 is its 0.34."""
    one = [[0, 0, 9, 9]]
    luck = np.random.default_rng(wanted)
    for found in range(wanted + 1):
        scores = luck.permutation(wanted)
        pairs = [
            (boxes(one, [0], score=[score / 500]), boxes(one if i < found else [[50, 50, 60, 60]], [0]))
            for i, score in enumerate(scores)
        ]
        np.testing.assert_allclose(weighed(pairs, np.ones((wanted, 1)))[0][:, 0, 0], cocos(pairs)[0][:, 0], atol=1e-12)


def assert_equals_copies(pairs: list[Pair], draws: np.ndarray, kind: type) -> None:
    tolerance = 1e-12 if kind is np.float64 else 1e-6
    resampled = weighed(pairs, draws.astype(kind))
    for i, counts in enumerate(draws.T):
        copies = [pair for pair, count in zip(pairs, counts, strict=True) for _ in range(count)]
        for ours, theirs in zip(resampled, cocos(copies), strict=True):
            np.testing.assert_allclose(ours[..., i], theirs, rtol=0, atol=tolerance)


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("kind", [np.float32, np.float64])
def test_a_weight_is_so_many_copies_of_an_image(seed: int, kind: type) -> None:
    pairs = generated(seed, images=12, most=8, crowds=0.2)
    assert_equals_copies(pairs, np.random.default_rng(seed).integers(0, 4, (12, 6)), kind)


@pytest.mark.parametrize("seed", range(3))
def test_an_image_of_weight_0_is_not_there_also_where_scores_tie(seed: int) -> None:
    pairs = generated(seed, images=12, most=8, crowds=0.2, levels=4)
    assert_equals_copies(pairs, np.random.default_rng(seed).integers(0, 2, (12, 6)), np.float64)


def test_many_threads_give_what_one_gives() -> None:
    pairs = generated(0, images=12, most=8)
    weights = np.random.default_rng(0).integers(0, 3, (12, 50)).astype(np.float32)
    before = torch.get_num_threads()
    try:
        torch.set_num_threads(1)
        alone = weighed(pairs, weights)
        torch.set_num_threads(4)
        together = weighed(pairs, weights)
    finally:
        torch.set_num_threads(before)
    np.testing.assert_array_equal(alone, together)


def blocks(boxes: int, truth: int, limit: int, monkeypatch: pytest.MonkeyPatch) -> tuple[np.ndarray, int]:
    """Averages of one class in blocks of so many bytes, and the most memory that they took."""
    luck = np.random.default_rng(0)
    outcome = (np.sort(luck.random(boxes))[::-1] >= np.linspace(0.6, 0.9, 10)[:, None]).astype(np.int8)
    outcome[:, luck.random(boxes) < 0.5] = MISS
    image = luck.integers(0, 100, boxes)
    # Every image has more truth than it has hits, so that no weights give it more than all.
    one = Ranked(image, outcome, np.concatenate([image, luck.integers(0, 100, truth)]))
    monkeypatch.setattr("vision_tasks.metrics.average_precision._BYTES", limit)
    weights = luck.integers(0, 3, (100, 300)).astype(np.float32)
    tracemalloc.start()
    found = np.stack(averages([one], weights))
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return found, most


def test_blocks_of_resamples_give_the_same_and_bound_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    whole, much = blocks(20_000, 100, 10**12, monkeypatch)
    parts, little = blocks(20_000, 100, 6_000_000, monkeypatch)
    np.testing.assert_array_equal(parts, whole)
    assert little < 6_000_000 < 25_000_000 < much


def test_by_hand() -> None:
    """Two truths. First a hit, then a miss, then a hit; the second image, with the miss, counts 0, 1 and 2 times."""
    outcome = np.tile(np.array([HIT, MISS, HIT, NEITHER], np.int8), (10, 1))
    one = Ranked(np.array([0, 1, 0, 1]), outcome, np.array([0, 0]))
    precision, recall = averages([one], np.array([[1.0, 1, 1], [0, 1, 2]]))
    # Recall 0 to 0.5 has 51 points at precision 1, the other 50 have that of the second hit.
    expected = [(51 + 50 * share) / 101 for share in (1, 2 / 3, 2 / 4)]
    np.testing.assert_allclose(precision[:, 0], np.tile(expected, (10, 1)), rtol=0, atol=1e-15)
    np.testing.assert_array_equal(recall, np.ones((10, 1, 3)))


def test_a_resample_without_truth_is_undefined_and_one_without_hits_is_0() -> None:
    one = Ranked(np.array([0, 1]), np.full((10, 2), HIT, np.int8) * np.array([1, 0], np.int8), np.array([0, 2]))
    precision, recall = averages([one], np.array([[0.0, 0, 1], [1, 1, 0], [0, 1, 0]]))
    np.testing.assert_array_equal(precision[0, 0], [np.nan, 0, 1])
    np.testing.assert_array_equal(recall[0, 0], [np.nan, 0, 1])
