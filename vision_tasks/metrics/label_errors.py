"""Boxes of truth that are probably wrong, judged by predictions that contradict them; for people to look at.

- `missing label`: a prediction of at least 0.5 that overlaps no box of truth by IoU 0.1 or more.
- `wrong class`: such a prediction on a truth (IoU 0.5 or more) of another class, where no prediction of at least 0.25
  agrees with the truth. The box is the truth's.
- `badly placed`: such a prediction of the truth's class that meets it by IoU 0.1 to 0.5, where no prediction of at
  least 0.25 meets it better. The box is the truth's.
- `spurious`: a truth that no prediction of at least 0.05 overlaps by IoU 0.1 or more, in a class of which half or more
  is found at 0.25. Nothing was predicted, so its confidence is the share of its class that is found.

The first three kinds are those of Tkachenko et al., ObjectLab: Automated Diagnosis of Mislabeled Images in Object
Detection Data, 2023, by thresholds instead of its scores. How good the list is depends on the model; a model that was
trained on the same images believes their errors. Crowds are never suspected.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from vision_tasks.metrics.box_rows import Flags, Index, Pairs, Rows, overlapping
from vision_tasks.metrics.ratios import Array

SURE, SEEN, FAINT = 0.5, 0.25, 0.05  # scores
HIT, TOUCH = 0.5, 0.1  # IoU


class _Suspicion(NamedTuple):
    kind: str
    rows: Rows  # whose boxes are meant
    which: Index  # [S], of these rows
    confidence: Array  # [S]
    predicted: Index | None  # [S], the class that the predictions claim


def label_errors(predictions: Rows, truth: Rows, images: Sequence[str], classes: Sequence[str]) -> list[dict[str, Any]]:
    """The likeliest first: {"image", "what", "confidence", "label", "predicted", "box": [x1, y1, x2, y2]}.

    `label` is what the truth says ("" where it says nothing), `predicted` what the predictions say.
    """
    predictions = predictions.take(predictions.value >= FAINT)
    pairs = overlapping(predictions, truth, (predictions.image, truth.image), TOUCH)
    found = [
        _missing(predictions, pairs),
        _wrong_class(predictions, truth, pairs),
        _badly_placed(predictions, truth, pairs),
        _spurious(predictions, truth, pairs),
    ]
    rows = [row for suspicion in found for row in _described(suspicion, images, classes)]
    return sorted(rows, key=lambda row: -row["confidence"])


def _missing(predictions: Rows, pairs: Pairs) -> _Suspicion:
    alone = predictions.value >= SURE
    alone[pairs.prediction] = False
    which = np.flatnonzero(alone)
    return _Suspicion("missing label", predictions, which, predictions.value[which], predictions.label[which])


def _wrong_class(predictions: Rows, truth: Rows, pairs: Pairs) -> _Suspicion:
    same = _same_class(predictions, truth, pairs)
    hit = pairs.iou >= HIT
    agreed = _marked(truth, pairs.truth[same & hit & (predictions.value[pairs.prediction] >= SEEN)])
    return _suspected("wrong class", predictions, truth, pairs.take(~same & hit), agreed)


def _badly_placed(predictions: Rows, truth: Rows, pairs: Pairs) -> _Suspicion:
    same = _same_class(predictions, truth, pairs)
    hit = pairs.iou >= HIT
    met = _marked(truth, pairs.truth[hit & (predictions.value[pairs.prediction] >= SEEN)])
    elsewhere = _marked(predictions, pairs.prediction[same & hit])  # it belongs to another truth
    return _suspected("badly placed", predictions, truth, pairs.take(same & ~hit & ~elsewhere[pairs.prediction]), met)


def _suspected(kind: str, predictions: Rows, truth: Rows, pairs: Pairs, acquitted: Flags) -> _Suspicion:
    """Each truth of `pairs` that is not acquitted, with the surest prediction that accuses it."""
    score = predictions.value[pairs.prediction]
    pairs = pairs.take((score >= SURE) & ~acquitted[pairs.truth] & (truth.value[pairs.truth] == 0))
    pairs = pairs.take(np.argsort(-predictions.value[pairs.prediction], kind="stable"))
    which, first = np.unique(pairs.truth, return_index=True)
    accuser = pairs.prediction[first]
    return _Suspicion(kind, truth, which, predictions.value[accuser], predictions.label[accuser])


def _spurious(predictions: Rows, truth: Rows, pairs: Pairs) -> _Suspicion:
    wanted = truth.value == 0
    agrees = _same_class(predictions, truth, pairs) & (pairs.iou >= HIT)
    found = _marked(truth, pairs.truth[agrees & (predictions.value[pairs.prediction] >= SEEN)])
    size = truth.label.max(initial=0) + 1
    known = np.bincount(truth.label[wanted & found], minlength=size)
    share = known / np.maximum(np.bincount(truth.label[wanted], minlength=size), 1)
    unseen = wanted & ~_marked(truth, pairs.truth) & (share[truth.label] >= HIT)
    which = np.flatnonzero(unseen)
    return _Suspicion("spurious", truth, which, share[truth.label[which]], None)


def _same_class(predictions: Rows, truth: Rows, pairs: Pairs) -> Flags:
    return np.equal(predictions.label[pairs.prediction], truth.label[pairs.truth])


def _marked(rows: Rows, which: NDArray[np.int64]) -> Flags:
    marks = np.zeros(len(rows.label), np.bool_)
    marks[which] = True
    return marks


def _described(found: _Suspicion, images: Sequence[str], classes: Sequence[str]) -> Iterator[dict[str, Any]]:
    own = found.rows.take(found.which)
    is_truth = found.kind != "missing label"
    edges = np.concatenate([own.box[:, :2], own.box[:, :2] + own.box[:, 2:]], axis=1).round(2).tolist()
    for i, box in enumerate(edges):
        yield {
            "image": images[own.image[i]],
            "what": found.kind,
            "confidence": round(float(found.confidence[i]), 4),
            "label": classes[own.label[i]] if is_truth else "",
            "predicted": "" if found.predicted is None else classes[found.predicted[i]],
            "box": box,
        }
