"""COCO's scores of boxes, exactly as pycocotools computes them (10 IoU thresholds 0.50:0.95, 101 recall points).

`map`, `map_50`, `map_75`, `map_small|medium|large` (areas to 32^2, to 96^2, above; a border belongs to both sides) and
`mar_100`, the mean over classes that have a box of truth. At most 100 boxes an image and class count, the highest
scores first. A crowd may be matched any number of times and is neither a hit nor a miss. Where COCO says -1, because
there is no truth to find, the score is nan; where there is truth and no prediction it is 0.

The area of a box of truth is width x height. COCO's own files carry the area of the outline instead, which moves some
objects to a smaller size class: `map_small`, `map_medium` and `map_large` (only these) then differ from COCO's.

Lin et al., Microsoft COCO: Common Objects in Context, ECCV 2014, and cocoapi's cocoeval.py.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.types import Boxes

Array = NDArray[np.float64]

# Places on the axes of COCO's results: precision [threshold 10, recall 101, class, area 4, limit 3] and recall without
# its second axis.
_IOU_50, _IOU_75 = 0, 5
_ALL, _SMALL, _MEDIUM, _LARGE = range(4)
_LIMIT_100 = 2


class DetectionMetric:
    """Mean average precision of boxes; keeps every box, at 7 numbers each."""

    def __init__(self, classes: Sequence[str]) -> None:
        self._classes = tuple(classes)
        self._images = 0
        self._truth: list[Array] = []  # [N,7] a row as `_rows` makes it, the last column is crowd
        self._predictions: list[Array] = []  # [N,7], the last column is score

    def update(self, prediction: Boxes, truth: Boxes) -> None:
        """Count one image: boxes with scores against boxes of truth, both B = 1 in original pixels."""
        assert prediction.score is not None
        self._images += 1
        self._truth.append(_rows(truth, truth.crowd.double().numpy(), self._images))
        self._predictions.append(_rows(prediction, prediction.score.double().numpy(), self._images))

    def compute(self, intervals: bool = True) -> dict[str, Any]:
        """The scores named above, `images`, and per class `map`, `map_50` and `boxes` (of truth, without crowds).

        There are no intervals yet.
        """
        truth, predictions = _joined(self._truth), _joined(self._predictions)
        precision, recall = _coco(self._images, len(self._classes), truth, predictions)
        by_class = precision[:, :, :, _ALL, _LIMIT_100]  # [10,101,K]
        boxes = np.bincount(truth[truth[:, 6] == 0, 5].astype(np.int64), minlength=len(self._classes) + 1)
        return {
            "map": _mean(by_class),
            "map_50": _mean(by_class[_IOU_50]),
            "map_75": _mean(by_class[_IOU_75]),
            "map_small": _mean(precision[:, :, :, _SMALL, _LIMIT_100]),
            "map_medium": _mean(precision[:, :, :, _MEDIUM, _LIMIT_100]),
            "map_large": _mean(precision[:, :, :, _LARGE, _LIMIT_100]),
            "mar_100": _mean(recall[:, :, _ALL, _LIMIT_100]),
            "images": self._images,
            "per_class": {
                name: {
                    "map": _mean(by_class[..., i]),
                    "map_50": _mean(by_class[_IOU_50, :, i]),
                    "boxes": int(boxes[i + 1]),
                }
                for i, name in enumerate(self._classes)
            },
        }


def _rows(boxes: Boxes, last: Array, image: int) -> Array:
    """[N,7]: image, x, y, width, height, class from 1 (as COCO counts), and `last` [1,N]."""
    valid = boxes.valid[0].numpy()
    xyxy = boxes.xyxy[0].double().numpy()[valid]
    label = boxes.label[0].numpy()[valid] + 1
    number = np.full(len(label), image)
    return np.column_stack([number, xyxy[:, :2], xyxy[:, 2:] - xyxy[:, :2], label, last[0][valid]])


def _joined(rows: list[Array]) -> Array:
    return np.concatenate([np.empty((0, 7)), *rows])


def _coco(images: int, classes: int, truth: Array, predictions: Array) -> tuple[Array, Array]:
    """COCO's precision [10,101,K,4,3] and recall [10,K,4,3]; -1 where there is no truth."""
    import hotcoco

    coco = hotcoco.COCO.from_arrays(
        [{"id": i + 1, "width": 0, "height": 0} for i in range(images)],
        [{"id": i + 1, "name": str(i + 1)} for i in range(classes)],
        truth[:, 0].astype(np.int64),
        truth[:, 5].astype(np.int64),
        np.ascontiguousarray(truth[:, 1:5]),
        area=truth[:, 3] * truth[:, 4],
        iscrowd=truth[:, 6].astype(np.int64),
    )
    results = coco.load_res(np.ascontiguousarray(predictions[:, [0, 1, 2, 3, 4, 6, 5]]))
    evaluation = hotcoco.COCOeval(coco, results, "bbox")
    evaluation.params.img_ids = list(range(1, images + 1))
    evaluation.params.cat_ids = list(range(1, classes + 1))
    evaluation.evaluate()
    evaluation.accumulate()
    assert evaluation.eval is not None
    return evaluation.eval["precision"], evaluation.eval["recall"]


def _mean(values: Array) -> float:
    """Over what is defined; nan if nothing is."""
    defined = values[values > -1]
    return float(defined.mean()) if defined.size else float("nan")
