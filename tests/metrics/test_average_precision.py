"""Weighed resamples against COCO's own evaluation of images that are really repeated or left out."""

import tracemalloc

import numpy as np
import pytest
import torch

from tests.metrics.boxes import CLASSES, boxes, generated
from vision_tasks.metrics.average_precision import averages
from vision_tasks.metrics.box_rows import RowList
from vision_tasks.metrics.coco import CocoEvaluation
from vision_tasks.metrics.matching import EVERY, HIT, MISS, NEITHER, SIZES, Areas, Matching, Ranked
from vision_tasks.types import Boxes

Pair = tuple[Boxes, Boxes]


def rows(pairs: list[Pair]) -> tuple:
    truth, predictions = RowList(), RowList()
    for prediction, real in pairs:
        assert prediction.score is not None
        truth.add(real, real.crowd.numpy())
        predictions.add(prediction, prediction.score.numpy())
    return predictions.rows(), truth.rows()


def weighed(pairs: list[Pair], weights: np.ndarray, areas: Areas = EVERY) -> tuple[np.ndarray, np.ndarray]:
    return averages(Matching(*rows(pairs), len(CLASSES)).ranked(areas), weights)


def cocos(pairs: list[Pair], size: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Average precision and recall [10,K] of all boxes, or of the small, medium or large; nan where undefined."""
    predictions, truth = rows(pairs)
    precision, recall, _ = CocoEvaluation(len(pairs), len(CLASSES), truth, predictions).curves()
    found = precision[..., size, 2].mean(axis=1), recall[..., size, 2]
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
    {"images": 25, "most": 12, "outlines": True},
    {"images": 20, "most": 30, "step": 32, "levels": 2, "crowds": 0.2, "outlines": True},
]
RANGES = [EVERY, *SIZES.values()]


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("options", HARD, ids=str)
def test_every_image_once_is_cocos_score_for_each_size(seed: int, options: dict) -> None:
    pairs = generated(seed, **options)
    for size, areas in enumerate(RANGES):
        found = weighed(pairs, np.ones((len(pairs), 1)), areas)
        for ours, theirs in zip(found, cocos(pairs, size), strict=True):
            np.testing.assert_allclose(ours[..., 0], theirs, rtol=0, atol=1e-12)


def test_sizes_differ_where_files_have_areas_of_their_own() -> None:
    """Otherwise the test above would hold for areas that are never looked at."""
    outlined, plain = (generated(0, images=25, most=12, outlines=each) for each in (True, False))
    areas = rows(outlined)[1].area
    assert np.isin(areas, [32**2, 96**2]).sum() > 20
    assert (areas != rows(outlined)[1].box[:, 2:].prod(axis=1)).mean() > 0.5
    assert np.nanmax(np.abs(cocos(outlined, 2)[0] - cocos(plain, 2)[0])) > 0.05


@pytest.mark.parametrize("side", [31.5, 32.0, 32.5, 95.5, 96.0, 96.5])
def test_a_box_at_the_border_of_two_sizes(side: float) -> None:
    one = [[10, 10, 10 + side, 10 + side]]
    pairs = [
        (boxes(one, [0], score=[0.9]), boxes(one, [0])),
        (boxes([[0, 0, 32, 32], [0, 0, 96, 96]], [0, 0], score=[0.8, 0.95]), boxes([[200, 200, 296, 296]], [0])),
    ]
    for size, areas in enumerate(RANGES):
        for ours, theirs in zip(weighed(pairs, np.ones((2, 1)), areas), cocos(pairs, size), strict=True):
            np.testing.assert_allclose(ours[..., 0], theirs, rtol=0, atol=1e-12)


def test_outcomes_by_size_by_hand() -> None:
    """A small prediction in a medium truth with IoU 0.639; and one that meets a small and a medium truth.

    The latter takes the small one, IoU 0.562, where small ones count, and the medium one, IoU 0.886, where those do.
    """
    truth = boxes([[0, 0, 40, 40], [100, 0, 134, 34], [100, 0, 118, 32]], [0, 0, 0])
    found = boxes([[0, 0, 31, 33], [100, 0, 132, 32]], [0, 0], score=[0.9, 0.8])
    matching = Matching(*rows([(found, truth)]), len(CLASSES))
    outcomes = {name: matching.ranked(areas)[0].outcome[[0, 2, 3, 8]].tolist() for name, areas in SIZES.items()}
    # At IoU 0.5, 0.6, 0.65 and 0.9. The second prediction, 32 x 32, is of both sizes.
    assert outcomes == {
        "small": [[NEITHER, HIT], [NEITHER, NEITHER], [MISS, NEITHER], [MISS, MISS]],
        "medium": [[HIT, HIT], [HIT, HIT], [NEITHER, HIT], [NEITHER, MISS]],
        "large": [[], [], [], []],
    }


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
    for size, areas in enumerate(RANGES):
        resampled = weighed(pairs, draws.astype(kind), areas)
        for i, counts in enumerate(draws.T):
            copies = [pair for pair, count in zip(pairs, counts, strict=True) for _ in range(count)]
            for ours, theirs in zip(resampled, cocos(copies, size), strict=True):
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
