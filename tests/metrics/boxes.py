"""Boxes for tests: written out, and generated with everything that makes them hard to score."""

import numpy as np
import torch

from vision_tasks.types import Boxes

CLASSES = ("ant", "bee", "cat")
Pair = tuple[Boxes, Boxes]  # prediction, truth


def boxes(xyxy: object, label: object, *, score: object = None, crowd: object = None, area: object = None) -> Boxes:
    return Boxes.single(
        torch.as_tensor(np.asarray(xyxy, dtype=np.float32)).reshape(-1, 4),
        torch.as_tensor(np.asarray(label, dtype=np.int64)),
        None if crowd is None else torch.as_tensor(np.asarray(crowd, dtype=bool)),
        None if score is None else torch.as_tensor(np.asarray(score, dtype=np.float32)),
        None if area is None else torch.as_tensor(np.asarray(area, dtype=np.float64)),
    )


def nothing(*, scored: bool) -> Boxes:
    return boxes([], [], score=[] if scored else None)


def generated(
    seed: int, images: int, most: int, *, crowds: float = 0.0, levels: int = 0, step: int = 0, outlines: bool = False
) -> list[Pair]:
    """Truth, and predictions that are jittered copies, doubles, strays; `levels` makes scores tie, `step` overlaps.

    With `outlines` truth has areas of a file: 0.3 to 1 of the box, a border of two sizes, or none.
    """
    luck = np.random.default_rng(seed)

    def some(count: int) -> np.ndarray:
        corner = luck.uniform(0, 400, (count, 2))
        size = luck.choice([8, 40, 150], (count, 1)) * luck.uniform(0.5, 2, (count, 2))
        return snapped(np.concatenate([corner, corner + size], 1))

    def snapped(xyxy: np.ndarray) -> np.ndarray:
        return np.concatenate([xyxy[:, :2] // step, -(-xyxy[:, 2:] // step)], 1) * step if step else xyxy

    def outlined(xyxy: np.ndarray) -> np.ndarray:
        share = luck.uniform(0.3, 1, len(xyxy)) * (xyxy[:, 2:] - xyxy[:, :2]).prod(axis=1)
        return np.select([luck.random(len(xyxy)) < part for part in (0.6, 0.3, 0.5)], [share, 32**2, 96**2], np.nan)

    pairs = []
    for _ in range(images):
        count = luck.integers(0, most + 1)
        truth, label = some(count), luck.integers(0, len(CLASSES), count)
        keep = luck.random(count) < 0.8
        size = np.tile(truth[keep][:, 2:] - truth[keep][:, :2], 2)
        near = truth[keep] + size * luck.normal(0, 0.06, (keep.sum(), 4))
        near[:, 2:] = np.maximum(near[:, 2:], near[:, :2] + 1)
        strays = some(luck.integers(0, most // 2 + 1))
        found = np.concatenate([snapped(near), near[: len(near) // 3] + 2, strays])
        wrong = luck.integers(0, len(CLASSES), len(found))
        named = np.where(luck.random(len(found)) < 0.85, np.resize(np.append(label[keep], 0), len(found)), wrong)
        score = luck.integers(1, levels + 1, len(found)) / levels if levels else luck.random(len(found))
        crowd = luck.random(count) < crowds
        area = outlined(truth) if outlines else None
        pairs.append((boxes(found, named, score=score), boxes(truth, label, crowd=crowd, area=area)))
    return pairs
