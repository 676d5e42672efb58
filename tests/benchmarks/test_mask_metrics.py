"""Rates are over the masks that were really scored."""

import pytest
import torch

from benchmarks import mask_metrics


@pytest.mark.parametrize(("asked", "scored"), [(1, 2), (5, 4), (6, 6)])
def test_masks_that_are_counted_are_masks_that_are_scored(
    asked: int, scored: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    generator = torch.Generator().manual_seed(0)
    index = torch.randint(0, mask_metrics.CLASSES, (2, 1, 64, 64), generator=generator, dtype=torch.uint8)
    counted: list[int] = []
    fed: list[int] = []

    def count(work: object, masks: int) -> float:
        counted.append(masks)
        fed.append(0)
        work()  # type: ignore[operator]
        return 1.0

    class Counting(mask_metrics.SegmentationMetric):
        def update(self, *given: object) -> None:
            fed[-1] += 1
            super().update(*given)  # type: ignore[arg-type]

    pairs = [(one, one) for one in index]
    fed.append(0)  # while agreement is checked
    monkeypatch.setattr(mask_metrics, "rate", count)
    monkeypatch.setattr(mask_metrics, "SegmentationMetric", Counting)
    rows = mask_metrics.compare(pairs, asked, repeats=1)
    assert counted == [scored] * 4
    assert fed[1:] == [0, 0, scored, scored]
    assert all(f"{scored} masks of" in row.name for row in rows)
