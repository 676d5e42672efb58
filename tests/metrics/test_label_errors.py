"""Each kind by hand, with what is next to it and must not be suspected."""

from tests.metrics.boxes import CLASSES, Pair, boxes
from vision_tasks.metrics.detection import DetectionMetric
from vision_tasks.types import Boxes

A = [0, 0, 100, 100]
FAR = [500, 500, 600, 600]


def suspected(*pairs: Pair) -> list[dict]:
    metric = DetectionMetric(CLASSES)
    for i, (prediction, truth) in enumerate(pairs):
        metric.update(prediction, truth, f"{i}.jpg")
    return metric.compute()["label_errors"]


def found(*rows: tuple[list[int], int, float]) -> Boxes:
    xyxy, label, score = zip(*rows, strict=True)
    return boxes(xyxy, label, score=score)


def test_right_predictions_accuse_nobody() -> None:
    assert suspected((found((A, 0, 0.9), (FAR, 1, 0.4)), boxes([A], [0]))) == []


def test_a_label_is_missing_where_something_sure_overlaps_nothing() -> None:
    (row,) = suspected((found((A, 0, 0.9), (FAR, 1, 0.5)), boxes([A], [0])))
    assert row == {
        "image": "0.jpg",
        "what": "missing label",
        "confidence": 0.5,
        "label": "",
        "predicted": "bee",
        "box": FAR,
    }


def test_a_crowd_is_a_label_and_never_suspected() -> None:
    crowd = boxes([A], [0], crowd=[True])
    assert suspected((found(([10, 10, 30, 30], 1, 0.9), (A, 1, 0.9)), crowd)) == []
    assert suspected((found((FAR, 1, 0.1)), crowd)) == []


def test_a_class_is_wrong_where_another_is_sure_and_none_agrees() -> None:
    near = [0, 0, 100, 90]
    (row,) = suspected((found((near, 1, 0.6), (near, 2, 0.8), (A, 0, 0.24)), boxes([A], [0])))
    assert (row["what"], row["confidence"], row["label"], row["predicted"]) == ("wrong class", 0.8, "ant", "cat")
    assert row["box"] == A  # of the truth
    assert suspected((found((near, 2, 0.8), (A, 0, 0.25)), boxes([A], [0]))) == []
    assert suspected((found((near, 2, 0.49)), boxes([A], [0]))) == []


def test_a_box_is_badly_placed_where_the_same_class_is_sure_beside_it() -> None:
    beside = [0, 60, 100, 160]  # IoU 0.25
    (row,) = suspected((found((beside, 0, 0.7)), boxes([A], [0])))
    assert (row["what"], row["confidence"], row["label"], row["box"]) == ("badly placed", 0.7, "ant", A)
    assert suspected((found((beside, 0, 0.7), (A, 0, 0.3)), boxes([A], [0]))) == []
    assert suspected((found((beside, 1, 0.7)), boxes([A], [0]))) == []
    both = boxes([A, beside], [0, 0])
    assert suspected((found((beside, 0, 0.7)), both)) == []  # it is another truth's


def test_a_box_is_spurious_where_nothing_is_seen_in_a_class_that_is_mostly_found() -> None:
    seen = (found((A, 0, 0.9)), boxes([A], [0]))
    unseen = (found((FAR, 0, 0.1)), boxes([A], [0]))
    (row,) = suspected(seen, seen, seen, unseen)
    assert (row["image"], row["what"], row["confidence"]) == ("3.jpg", "spurious", 0.75)
    assert (row["label"], row["predicted"]) == ("ant", "")
    assert suspected(seen, unseen, unseen) == []  # a third is found: the model may not know ants
    faint = (found((A, 0, 0.06)), boxes([A], [0]))
    assert suspected(seen, seen, faint) == []


def test_the_surest_come_first() -> None:
    image = (found((A, 0, 0.9), (FAR, 1, 0.6), ([200, 0, 300, 100], 2, 0.8)), boxes([A], [0]))
    assert [row["confidence"] for row in suspected(image)] == [0.8, 0.6]
