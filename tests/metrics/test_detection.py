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
WITH_INTERVALS = (*KEYS, "mar_100")


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
                area = math.nan if flat.area is None else float(flat.area[0, j])
                area = (x1 - x0) * (y1 - y0) if math.isnan(area) else area
                row |= {"bbox": [x0, y0, x1 - x0, y1 - y0], "area": area}
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
    got = [result[key] for key in (*KEYS, "mar_1", "mar_10", "mar_100")]
    expected = stats[:9]
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
        {"images": 20, "most": 12, "crowds": 0.2, "outlines": True},
    ],
    ids=["plain", "crowds", "ties", "ties-and-crowds", "more-than-100", "on-a-grid", "few", "outlines"],
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


def test_one_pixel_beyond_the_border_of_two_sizes_is_another_size() -> None:
    for side, sizes in ((32, (True, True, False)), (96, (False, True, True)), (96.25, (False, False, True))):
        one = [[10, 10, 10 + side, 10 + side]]
        result = ours([(boxes(one, [0], score=[0.9]), boxes(one, [0]))])
        defined = tuple(not math.isnan(result[f"map_{size}"]) for size in ("small", "medium", "large"))
        assert defined == sizes


@pytest.mark.parametrize("seed", range(3))
def test_equals_pycocotools_whatever_float32_makes_of_the_overlaps(seed: int) -> None:
    """Overlaps of exactly 0.5, 0.55, ... in real numbers, moved to where their edges are no binary fractions."""
    luck = np.random.default_rng(seed)
    pairs = []
    for _ in range(20):
        x, y = luck.integers(0, 5000, 2) / 10
        shares = luck.choice(np.linspace(0.5, 0.95, 10), 4)
        found = [[x, y, x + 100.3, y + 100.3 * share] for share in shares]
        pairs.append(
            (boxes(found, luck.integers(0, 2, 4), score=luck.random(4)), boxes([[x, y, x + 100.3, y + 100.3]], [0]))
        )
    assert_equals_pycocotools(pairs)


def test_intervals_surround_the_score_less_its_bias_and_are_the_same_every_time() -> None:
    pairs = generated(3, images=40, most=8)
    result = ours(pairs)
    assert ours(pairs) == result
    for name in WITH_INTERVALS:
        low, high = result[f"{name}_ci"]
        assert 0 < low < high < 1
        assert low < result[name]
        assert 0.02 < high - low < 0.3


@pytest.mark.parametrize("images", [0, 1])
def test_one_image_or_none_says_nothing_about_others(images: int) -> None:
    result = ours(generated(1, images=6, most=8)[:images])
    assert all(math.isnan(end) for name in WITH_INTERVALS for end in result[f"{name}_ci"])


def test_a_size_without_truth_has_no_interval() -> None:
    one = [[10, 10, 50, 50]]
    result = ours([(boxes(one, [0], score=[0.9]), boxes(one, [0]))] * 4)
    assert result["map_medium_ci"] == pytest.approx([1, 1])
    assert all(math.isnan(end) for name in ("map_small", "map_large") for end in result[f"{name}_ci"])


def test_without_intervals_there_is_nothing_but_scores() -> None:
    metric = DetectionMetric(CLASSES)
    for i, pair in enumerate(generated(3, images=4, most=8)):
        metric.update(*pair, f"{i}.jpg")
    short, whole = metric.compute(intervals=False), metric.compute()
    intervals = {f"{name}_ci" for name in WITH_INTERVALS}
    assert set(whole) - set(short) == intervals | {"curves", "confusion", "errors", "label_errors"}
    assert {name: whole[name] for name in short} == short


def test_curves_by_hand() -> None:
    """Two ants: a hit at 0.9, a miss at 0.8, a hit at 0.7. Bees are not there."""
    truth = boxes([[0, 0, 50, 50], [100, 0, 150, 50]], [0, 0])
    found = boxes([[0, 0, 50, 50], [300, 0, 350, 50], [100, 0, 150, 50]], [0, 0, 0], score=[0.9, 0.8, 0.7])
    curves = ours([(found, truth)])["curves"]
    assert set(curves) == {"ant"}
    assert curves["ant"]["precision"] == [1.0] * 51 + [pytest.approx(2 / 3, abs=1e-6)] * 50
    assert curves["ant"]["confidence"] == [pytest.approx(0.9)] * 51 + [pytest.approx(0.7)] * 50


def test_each_kind_of_error_by_hand() -> None:
    """One error of each kind and a hit; what one costs is what map_50 gains without it (Bolya et al., section 2)."""
    truth = boxes([[100 * i, 0, 100 * i + 50, 50] for i in range(5)], [0, 0, 0, 0, 1])
    found = boxes(
        [
            [0, 0, 50, 50],  # a hit
            [0, 0, 50, 45],  # a duplicate of it
            [100, 0, 150, 20],  # badly placed: IoU 0.4
            [200, 0, 250, 50],  # of another class
            [400, 0, 450, 20],  # both, on the bee
            [800, 0, 850, 50],  # on background
        ],
        [0, 0, 0, 1, 0, 0],
        score=[0.9, 0.8, 0.7, 0.6, 0.5, 0.4],
    )
    errors = ours([(found, truth)])["errors"]
    assert {kind: row["count"] for kind, row in errors.items()} == {
        "classification": 1, "localisation": 1, "both": 1, "duplicate": 1, "background": 1, "missed": 2
    }  # fmt: skip
    # Ants: 1 of 4 found, at precision 1: recall 0 to 0.25 are 26 points; bees: none. With the third prediction moved
    # onto its truth, 2 of 4 are found, the second at precision 2/3 behind the duplicate.
    assert errors["localisation"]["map_50_cost"] == pytest.approx(25 * 2 / 3 / 101 / 2, abs=1e-9)
    # The bee becomes an ant, the second hit behind two others.
    assert errors["classification"]["map_50_cost"] == pytest.approx(25 * 2 / 4 / 101 / 2, abs=1e-9)
    # A duplicate, a background error or one of both kinds behind the last hit costs nothing.
    assert [errors[kind]["map_50_cost"] for kind in ("duplicate", "background", "both")] == [pytest.approx(0)] * 3
