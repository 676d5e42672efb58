"""Against pycocotools, which is the definition of these scores."""

import contextlib
import io
import math

import numpy as np
import pytest
from pycocotools.coco import COCO
from pycocotools.cocoeval import COCOeval

from tests.metrics.boxes import CLASSES, Pair, boxes, generated, nothing
from vision_tasks.metrics.detection import DetectionMetric
from vision_tasks.types import Boxes

KEYS = ("map", "map_50", "map_75", "map_small", "map_medium", "map_large")


def ours(pairs: list[Pair]) -> dict:
    metric = DetectionMetric(CLASSES)
    for prediction, truth in pairs:
        metric.update(prediction, truth, "1.jpg")
    return metric.compute()


def oracle(pairs: list[Pair]) -> tuple[np.ndarray, np.ndarray]:
    """pycocotools' twelve numbers, and its map and map_50 by class [K,2]; -1 where undefined."""
    images = [{"id": i + 1} for i in range(len(pairs))]
    categories = [{"id": i + 1, "name": name} for i, name in enumerate(CLASSES)]
    made = []
    for side in (1, 0):
        rows: list[dict] = []
        for i, pair in enumerate(pairs):
            flat = pair[side].flat()
            for j in range(flat.label.shape[1]):
                x0, y0, x1, y1 = flat.xyxy[0, j].double().tolist()
                row = {"id": len(rows) + 1, "image_id": i + 1, "category_id": int(flat.label[0, j]) + 1}
                row |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": (x1 - x0) * (y1 - y0)}
                row |= {"iscrowd": int(flat.crowd[0, j])}
                row |= {} if flat.score is None else {"score": float(flat.score[0, j])}
                rows.append(row)
        coco = COCO()
        coco.dataset = {"images": images, "categories": categories, "annotations": rows}
        made.append(coco)
    with contextlib.redirect_stdout(io.StringIO()):
        for coco in made:
            coco.createIndex()
        evaluation = COCOeval(*made, "bbox")
        evaluation.params.imgIds = [i + 1 for i in range(len(pairs))]
        evaluation.params.catIds = [i + 1 for i in range(len(CLASSES))]
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    precision = evaluation.eval["precision"][:, :, :, 0, 2]
    by_class = [[p[p > -1].mean() if (p > -1).any() else -1 for p in (c, c[0])] for c in np.moveaxis(precision, 2, 0)]
    return evaluation.stats, np.array(by_class)


def assert_equals_pycocotools(pairs: list[Pair]) -> None:
    stats, by_class = oracle(pairs)
    result = ours(pairs)
    got = [result[key] for key in KEYS] + [result["mar_100"]]
    expected = [*stats[:6], stats[8]]
    np.testing.assert_allclose(got, np.where(np.array(expected) == -1, np.nan, expected), rtol=0, atol=1e-9)
    got_by_class = [[row["map"], row["map_50"]] for row in result["per_class"].values()]
    np.testing.assert_allclose(got_by_class, np.where(by_class == -1, np.nan, by_class), rtol=0, atol=1e-9)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize(
    "options",
    [
        {"images": 25, "most": 8},
        {"images": 25, "most": 8, "crowds": 0.3},
        {"images": 25, "most": 12, "levels": 3},
        {"images": 15, "most": 10, "levels": 2, "crowds": 0.5},
        {"images": 2, "most": 400, "levels": 40},  # more than 100 an image and class
        {"images": 20, "most": 30, "step": 40, "levels": 2},  # overlaps tie, and lie on the thresholds
        {"images": 2, "most": 1},
    ],
    ids=["plain", "crowds", "ties", "ties-and-crowds", "more-than-100", "on-a-grid", "few"],
)
def test_equals_pycocotools(seed: int, options: dict) -> None:
    assert_equals_pycocotools(generated(seed, **options))


def test_more_than_100_really_happens() -> None:
    counts = [np.bincount(p.label[0]).max() for p, _ in generated(0, images=2, most=400, levels=40)]
    assert max(counts) > 100


@pytest.mark.parametrize("side", [31.5, 32.0, 32.5, 95.5, 96.0, 96.5])
def test_a_box_at_the_border_of_two_sizes(side: float) -> None:
    one = [[10, 10, 10 + side, 10 + side]]
    pairs = [
        (boxes(one, [0], score=[0.9]), boxes(one, [0])),
        (boxes([[0, 0, 32, 32], [0, 0, 96, 96]], [0, 0], score=[0.8, 0.95]), boxes([[200, 200, 296, 296]], [0])),
    ]
    assert_equals_pycocotools(pairs)


def test_many_boxes_may_match_one_crowd() -> None:
    truth = boxes([[0, 0, 100, 100], [200, 0, 240, 40]], [0, 0], crowd=[True, False])
    found = boxes([[0, 0, 20, 20], [30, 30, 50, 50], [200, 0, 240, 40]], [0, 0, 0], score=[0.9, 0.8, 0.7])
    assert_equals_pycocotools([(found, truth)])
    result = ours([(found, truth)])
    assert result["map"] == pytest.approx(1)
    assert result["per_class"]["ant"]["boxes"] == 1


def test_images_without_boxes_count_as_images_and_their_predictions_as_false() -> None:
    pairs = [
        (nothing(scored=True), nothing(scored=False)),
        (boxes([[0, 0, 9, 9]], [0], score=[0.99]), nothing(scored=False)),
        (boxes([[0, 0, 50, 50]], [0], score=[0.5]), boxes([[0, 0, 50, 50]], [0])),
    ]
    assert_equals_pycocotools(pairs)
    assert ours(pairs)["map"] == pytest.approx(0.5)
    assert ours(pairs)["images"] == 3


def test_no_prediction_at_all_is_zero_where_there_is_truth() -> None:
    pairs = [(nothing(scored=True), boxes([[0, 0, 50, 50]], [1]))]
    result = ours(pairs)
    assert_equals_pycocotools(pairs)
    assert (result["map"], result["mar_100"], result["per_class"]["bee"]["map"]) == (0, 0, 0)
    assert math.isnan(result["map_large"])
    assert math.isnan(result["per_class"]["ant"]["map"])


@pytest.mark.parametrize("images", [0, 1])
def test_without_truth_every_score_is_undefined(images: int) -> None:
    result = ours([(boxes([[0, 0, 5, 5]], [0], score=[1.0]), nothing(scored=False))] * images)
    assert all(math.isnan(result[key]) for key in (*KEYS, "mar_100"))
    assert result["images"] == images


def test_padding_is_no_box() -> None:
    pairs = generated(1, images=6, most=8)
    predictions, truths = (Boxes.stack(side) for side in zip(*pairs, strict=True))
    metric = DetectionMetric(CLASSES)
    for i in range(len(pairs)):
        padded = slice(i, i + 1)
        p, t = predictions, truths
        assert p.score is not None
        metric.update(
            Boxes(p.xyxy[padded], p.label[padded], p.valid[padded], p.crowd[padded], p.score[padded]),
            Boxes(t.xyxy[padded], t.label[padded], t.valid[padded], t.crowd[padded]),
            "1.jpg",
        )
    assert metric.compute() == ours(pairs)
