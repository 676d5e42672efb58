"""By hand; and what must hold for any boxes."""

import numpy as np
import pytest

from tests.metrics.boxes import CLASSES, Pair, boxes, generated, nothing
from vision_tasks.metrics.detection import DetectionMetric

A = [0, 0, 100, 100]


def confusion(pairs: list[Pair]) -> list[list[int]]:
    metric = DetectionMetric(CLASSES)
    for i, (prediction, truth) in enumerate(pairs):
        metric.update(prediction, truth, f"{i}.jpg")
    return metric.compute()["confusion"]


def test_by_hand() -> None:
    truth = boxes([A, [200, 0, 240, 40], [300, 0, 340, 40], [400, 0, 440, 40]], [0, 1, 1, 2])
    found = boxes(
        [
            [0, 0, 100, 90],  # the ant, as an ant
            [0, 0, 100, 60],  # again, less well: on background
            [200, 0, 240, 40],  # a bee as a cat
            [300, 0, 340, 40],  # a bee below the confidence that counts
            [400, 0, 440, 19],  # a cat, as a cat, with an IoU of 0.475
            [600, 0, 640, 40],  # a bee where nothing is
        ],
        [0, 0, 2, 1, 2, 1],
        score=[0.3, 0.9, 0.25, 0.24, 0.9, 0.9],
    )
    expected = [[1, 0, 0, 0], [0, 0, 1, 1], [0, 0, 0, 1], [1, 1, 1, 0]]
    assert confusion([(found, truth)]) == expected
    twice = confusion([(found, truth), (nothing(scored=True), nothing(scored=False)), (found, truth)])
    assert twice == (2 * np.array(expected)).tolist()


def test_an_overlap_of_half_is_enough() -> None:
    assert confusion([(boxes([[0, 0, 100, 50]], [1], score=[0.9]), boxes([A], [0]))])[0] == [0, 1, 0, 0]


def test_the_largest_overlap_comes_first_whatever_the_classes_and_scores() -> None:
    found = boxes([[0, 0, 100, 70], [0, 0, 100, 80]], [0, 1], score=[0.99, 0.3])
    assert confusion([(found, boxes([A], [0]))]) == [[0, 1, 0, 0], [0] * 4, [0] * 4, [1, 0, 0, 0]]


def test_a_pair_that_loses_its_truth_takes_another() -> None:
    truth = boxes([A, [0, 30, 100, 130]], [0, 1])
    found = boxes([[0, 0, 100, 100], [0, 10, 100, 110]], [0, 1], score=[0.9, 0.9])
    # The second overlaps the first truth more (0.82) than the second one (0.67), but the first is taken (1.0).
    assert confusion([(found, truth)]) == [[1, 0, 0, 0], [0, 1, 0, 0], [0] * 4, [0] * 4]


def test_what_lies_in_a_crowd_is_neither_seen_on_background_nor_is_the_crowd_missed() -> None:
    truth = boxes([A, [0, 0, 20, 20]], [0, 1], crowd=[True, False])
    found = boxes([[50, 50, 80, 80], [0, 0, 20, 20], [90, 90, 200, 200]], [0, 1, 0], score=[0.9] * 3)
    assert confusion([(found, truth)]) == [[0] * 4, [0, 1, 0, 0], [0] * 4, [1, 0, 0, 0]]


def one_by_one(pairs: list[Pair]) -> np.ndarray:
    """The rule of the module's description for boxes without crowds, in loops and float32's exact values."""
    counts = np.zeros((4, 4), int)
    for prediction, truth in pairs:
        assert prediction.score is not None
        sure = prediction.score[0] >= 0.25
        found, label = prediction.xyxy[0][sure].double().numpy(), prediction.label[0][sure].tolist()
        real, name = truth.xyxy[0].double().numpy(), truth.label[0].tolist()
        ious = []
        for i, p in enumerate(found):
            for j, t in enumerate(real):
                side = np.minimum(p[2:], t[2:]) - np.maximum(p[:2], t[:2])
                shared = side.prod() if (side > 0).all() else 0.0
                iou = shared / ((p[2:] - p[:2]).prod() + (t[2:] - t[:2]).prod() - shared)
                ious += [(-iou, i, j)] if iou >= 0.5 else []
        left, open_ = set(range(len(found))), set(range(len(real)))
        for _, i, j in sorted(ious):
            if i in left and j in open_:
                counts[name[j], label[i]] += 1
                left.remove(i)
                open_.remove(j)
        for i in left:
            counts[3, label[i]] += 1
        for j in open_:
            counts[name[j], 3] += 1
    return counts


@pytest.mark.parametrize("options", [{"images": 12, "most": 20}, {"images": 8, "most": 30, "levels": 3}])
@pytest.mark.parametrize("seed", range(3))
def test_equals_the_rule_one_box_at_a_time(seed: int, options: dict) -> None:
    pairs = generated(seed, **options)
    np.testing.assert_array_equal(confusion(pairs), one_by_one(pairs))


def test_rows_are_the_boxes_of_truth() -> None:
    pairs = generated(5, images=12, most=20, crowds=0.2)
    wanted = np.sum([np.bincount(t.label[0][~t.crowd[0]], minlength=3) for _, t in pairs], axis=0)
    assert np.array(confusion(pairs))[:3].sum(axis=1).tolist() == wanted.tolist()
