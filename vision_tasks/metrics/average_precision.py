"""COCO's average precision and recall of ranked boxes, for many resamples of the images at once.

Precision is tp / (tp + fp) from the highest score down; at each of 101 recalls 0, 0.01, ... counts the best precision
that is reached at that recall or beyond; average precision is their mean. Between two hits precision only falls, so
only hits are looked at, and all that lies between them is one number: how many predictions there are up to each.
Weights are whole numbers, so sums in float32 are exact up to 2^24 boxes of a class. Copies of one box enter together.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import csr_array

from vision_tasks.metrics.box_rows import Index
from vision_tasks.metrics.matching import HIT, NEITHER, Ranked

_RECALLS = np.linspace(0, 1, 101)
# As float64, some of these thresholds lie above the quotient that they stand for: 35 of 100 does not reach 0.35.
_UNREACHED = np.array([point > k / 100 for k, point in enumerate(_RECALLS)])

_BYTES = 256_000_000  # that the classes which are scored at the same time take
_COPIES = 9  # of a number for each box and resample, at most, while a class is scored

Weights = NDArray[Any]  # [n,R] float32 or float64: how often each of n images counts in each of R resamples


class Averages(NamedTuple):
    """Average precision and recall, nan for classes without truth."""

    precision: NDArray[Any]  # [10,K,R]
    recall: NDArray[Any]  # [10,K,R]


def averages(classes: Sequence[Ranked], weights: Weights) -> Averages:
    """For each threshold, class and resample."""
    count = torch.get_num_threads()
    with ThreadPoolExecutor(count) as threads:
        found = list(threads.map(lambda one: _of_class(one, weights, _BYTES // count), classes))
    precision, recall = (np.stack(part, axis=1) for part in zip(*found, strict=True))
    return Averages(precision, recall)


def _of_class(ranked: Ranked, weights: Weights, room: int) -> tuple[NDArray[Any], NDArray[Any]]:
    """Average precision and recall, both [10,R], by blocks of resamples that fit into `room` bytes."""
    width = max(1, room // (_COPIES * weights.itemsize * max(1, len(ranked.image))))
    blocks = np.array_split(weights, -(-weights.shape[1] // width), axis=1) if weights.shape[1] > width else [weights]
    precision, recall = zip(*(_of_block(ranked, np.ascontiguousarray(block)) for block in blocks), strict=True)
    return np.concatenate(precision, axis=1), np.concatenate(recall, axis=1)


def _of_block(ranked: Ranked, weights: Weights) -> tuple[NDArray[Any], NDArray[Any]]:
    """Average precision and recall, both [10,R]."""
    wanted = _sums(ranked.truth, [len(ranked.truth)], weights)[0]
    empty = np.zeros((len(ranked.outcome), weights.shape[1]), weights.dtype)
    precision, recall = np.where(wanted > 0, empty, np.nan), np.where(wanted > 0, empty, np.nan)
    places = np.flatnonzero((ranked.outcome != 0).any(axis=0))
    if not len(places) or not len(ranked.truth):
        return precision, recall
    own = weights[ranked.image[places]]  # [P,R]
    upto = np.cumsum(_sums(ranked.image, places + 1, weights), axis=0, dtype=weights.dtype)
    for threshold, outcome in enumerate(ranked.outcome[:, places]):
        hit, neither = np.flatnonzero(outcome == HIT), np.flatnonzero(outcome == NEITHER)
        if not len(hit):
            continue
        hits = _running_sum(own[hit])
        recall[threshold] = np.where(wanted > 0, hits[-1] / np.maximum(wanted, 1), np.nan)
        made = upto[hit] - _before(own[neither], np.searchsorted(neither, hit)) if len(neither) else upto[hit]
        precision[threshold] = np.where(wanted > 0, _average(hits, made, wanted), np.nan)
    return precision, recall


def _average(hits: Weights, made: Weights, wanted: NDArray[Any]) -> NDArray[Any]:
    """Average precision [R] from hits and predictions made up to each hit [P,R], and the truths wanted [R]."""
    precision = np.divide(hits, np.maximum(made, 1), out=made)
    _running_maximum_from_the_end(precision)
    reached = _recalls_reached(hits, np.maximum(wanted, 1))
    reached[1:] -= reached[:-1].copy()
    return np.asarray(np.einsum("pr,pr->r", precision, reached) / len(_RECALLS))


def _recalls_reached(hits: Weights, wanted: NDArray[Any]) -> Weights:
    """How many of the 101 recalls are reached at each hit."""
    percent: Weights = np.divide(np.multiply(hits, 100, out=hits), wanted, out=hits)
    whole: Weights = np.floor(percent)
    exact = np.flatnonzero(whole == percent)
    flat = whole.reshape(-1)
    flat[exact] -= _UNREACHED[flat[exact].astype(np.int64)]
    whole += 1
    return whole


def _sums(image: Index, ends: Sequence[int] | Index, weights: Weights) -> Weights:
    """[S,R]: the weights of the images up to the first end, from there up to the second, and so on."""
    count = ends[-1]
    table = csr_array(
        (np.ones(count, weights.dtype), image[:count], np.concatenate([[0], ends])), shape=(len(ends), len(weights))
    )
    return np.asarray(table @ weights)


def _before(values: Weights, count: Index) -> Weights:
    """[P,R]: the sums of the first `count` [P] of `values`."""
    return np.concatenate([np.zeros_like(values[:1]), np.cumsum(values, axis=0)])[count]


def _running_sum(values: Weights) -> Weights:
    return np.asarray(np.add.accumulate(values, axis=0, out=values))


def _running_maximum_from_the_end(values: Weights) -> None:
    np.maximum.accumulate(values[::-1], axis=0, out=values[::-1])
