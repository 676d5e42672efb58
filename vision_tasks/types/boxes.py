"""Targets that are boxes around objects."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor
from torch.nn.functional import pad

from vision_tasks.types.rectangles import area_of, bounding_rectangle, canvas_rectangle, in_sight, warp_boxes
from vision_tasks.types.targets import Annotations, Region, Size
from vision_tasks.types.tensors import move

MIN_VISIBLE = 0.1  # a box of which a warp or paste leaves less than this share of its area is dropped


@dataclass(frozen=True)
class Boxes:
    """Objects as boxes, padded to one count N per batch; rows with `valid` unset are padding.

    Numbers from files keep their float64, so that scores are those of the files; `stack` makes float32 of them.
    """

    xyxy: Tensor  # float32 or float64 [B,N,4], pixel edges
    label: Tensor  # int64 [B,N]
    valid: Tensor  # bool [B,N]
    crowd: Tensor  # bool [B,N]: one box around many objects (COCO iscrowd)
    score: Tensor | None = None  # as xyxy, [B,N] in predictions, None in truth
    area: Tensor | None = None  # float64 [B,N] in truth of the original's pixels: COCO's `area`, nan = width x height
    whole: Tensor | None = None  # as xyxy, [B,N]: the area of the box before any of it was hidden; None: all is seen
    covers: Tensor | None = None  # as xyxy, [B,N,M,4]: what was painted over the box; None = nothing

    @classmethod
    def single(
        cls,
        xyxy: Tensor,
        label: Tensor,
        crowd: Tensor | None = None,
        score: Tensor | None = None,
        area: Tensor | None = None,
    ) -> Boxes:
        """The boxes of one image, unpadded: xyxy [N,4], label [N], crowd [N], score [N], area [N]."""
        crowd = torch.zeros_like(label, dtype=torch.bool) if crowd is None else crowd
        valid = torch.ones_like(crowd)
        scores = None if score is None else _real(score)[None]
        areas = None if area is None else area[None]
        return cls(_real(xyxy).reshape(1, -1, 4), label[None].long(), valid[None], crowd[None], scores, areas)

    def warp(self, matrix: Tensor, size: Size) -> Boxes:
        """Bounding boxes of the warped corners, clipped to the canvas; see `MIN_VISIBLE` for what is dropped."""
        moved = self
        if self.covers is not None:
            covers = warp_boxes(self.covers.flatten(1, 2), matrix).view_as(self.covers)
            moved = replace(self, covers=covers)
        return moved._clip(warp_boxes(self.xyxy, matrix), canvas_rectangle(size, self.xyxy))

    def paste(self, other: Boxes, region: Tensor) -> Boxes:
        rectangle = bounding_rectangle(region).to(self.xyxy)[:, None, :]  # [B,1,4]
        return self._uncovered(rectangle)._join(other._clip(other.xyxy, rectangle))

    def blend(self, other: Boxes, amount: Tensor) -> Boxes:
        """Both images' boxes, unless so little of their image is left that they are dropped; see `MIN_VISIBLE`."""
        share = amount.to(self.xyxy)[:, None]
        ours = replace(self, valid=self.valid & (1 - share >= MIN_VISIBLE))
        return ours._join(replace(other, valid=other.valid & (share >= MIN_VISIBLE)))

    def erase(self, region: Tensor) -> Boxes:
        """Boxes shrink to what is in sight, and are dropped where that is too little; see `MIN_VISIBLE`."""
        return self._uncovered(bounding_rectangle(region).to(self.xyxy)[:, None, :])

    def blank(self, size: Size) -> Boxes:
        return self._rows(slice(0, 0))

    def regions(self) -> list[Region]:
        """The pixels that each box touches; not of crowds, which are no single objects."""
        single = self.xyxy[0, self.valid[0] & ~self.crowd[0]]
        ends = torch.cat([single[:, :2].floor(), single[:, 2:].ceil()], dim=1)
        return [(int(x0), int(y0), int(x1), int(y1)) for x0, y0, x1, y1 in ends.tolist()]

    def annotations(self) -> Annotations:
        rows = self.valid[0].nonzero()
        return Annotations(boxes=torch.cat([self.xyxy[0, rows[:, 0]].double(), rows.double()], dim=1).numpy())

    def annotated(self, changed: Annotations) -> Boxes:
        """What was painted over the boxes before can't follow an unknown change: all that is left counts as seen."""
        assert changed.boxes is not None
        rows = torch.from_numpy(changed.boxes)
        xyxy = rows[None, :, :4].to(self.xyxy)
        return replace(self._rows(rows[:, 4].long()), xyxy=xyxy, area=None, whole=None, covers=None)

    def counts(self, num_classes: int) -> Tensor:
        """Without crowds, which no detector learns from."""
        return self.label[self.valid & ~self.crowd].bincount(minlength=num_classes).float()

    def renumbered(self, numbers: Sequence[int]) -> Boxes:
        return replace(self, label=torch.tensor(numbers, device=self.label.device)[self.label])

    def above(self, score: float) -> Boxes:
        """Predictions of at least `score`; the others become padding."""
        assert self.score is not None
        return replace(self, valid=self.valid & (self.score >= score))

    def flat(self) -> Boxes:
        """The boxes of one image (B = 1) without padding."""
        return self._rows(self.valid[0].nonzero()[:, 0])

    def image(self, index: int) -> Boxes:
        return self._each(lambda values: values[index : index + 1]).flat()

    def to(self, device: torch.device | str) -> Boxes:
        return self._each(lambda values: move(values, device))

    @classmethod
    def stack(cls, items: Sequence[Boxes]) -> Boxes:
        """What networks take: float32, and without what only following an image or scoring needs."""
        images = [item.image(i) for item in items for i in range(len(item))]
        # A multiple of 8, so that compiled graphs are reused between batches.
        count = -(-max((image.label.shape[1] for image in images), default=0) // 8) * 8
        score = (
            None
            if images[0].score is None
            else torch.cat([_pad(i.score.float(), count) for i in images if i.score is not None])
        )
        return cls(
            torch.cat([_pad(image.xyxy.float(), count) for image in images]),
            torch.cat([_pad(image.label, count) for image in images]),
            torch.cat([_pad(image.valid, count) for image in images]),
            torch.cat([_pad(image.crowd, count) for image in images]),
            score,
        )

    def __len__(self) -> int:
        return len(self.xyxy)

    def _each(self, change: Callable[[Tensor], Tensor]) -> Boxes:
        """The same with every tensor changed."""
        changed: dict[str, Any] = {name: None if each is None else change(each) for name, each in vars(self).items()}
        return Boxes(**changed)

    def _rows(self, keep: slice | Tensor) -> Boxes:
        return self._each(lambda values: values[:, keep])

    def _join(self, other: Boxes) -> Boxes:
        both = None
        if self.score is not None and other.score is not None:
            both = torch.cat([self.score, other.score], dim=1)
        ours, theirs = self._painted(), other._painted()
        most = max(ours.shape[2], theirs.shape[2])
        return Boxes(
            torch.cat([self.xyxy, other.xyxy], dim=1),
            torch.cat([self.label, other.label], dim=1),
            torch.cat([self.valid, other.valid], dim=1),
            torch.cat([self.crowd, other.crowd], dim=1),
            both,
            whole=torch.cat([self._whole(), other._whole()], dim=1),
            covers=torch.cat([pad(each, (0, 0, 0, most - each.shape[2])) for each in (ours, theirs)], dim=1),
        )

    def _whole(self) -> Tensor:
        return area_of(self.xyxy) if self.whole is None else self.whole

    def _painted(self) -> Tensor:
        return self.xyxy.new_zeros((*self.label.shape, 0, 4)) if self.covers is None else self.covers

    def _clip(self, xyxy: Tensor, rectangle: Tensor) -> Boxes:
        """Boxes moved to `xyxy` and clipped to `rectangle` [B,1,4]; those with too little left become padding."""
        low, high = rectangle[..., :2], rectangle[..., 2:]
        clipped = torch.cat([xyxy[..., :2].clamp(low, high), xyxy[..., 2:].clamp(low, high)], dim=-1)
        whole = area_of(xyxy)
        if self.whole is not None:
            whole = self.whole * whole / area_of(self.xyxy).clamp(min=1e-9)
        seen = area_of(clipped) if self.covers is None else in_sight(clipped, self.covers)[0]
        enough = (seen > 0) & (seen >= MIN_VISIBLE * whole)
        return replace(self, xyxy=clipped, valid=self.valid & enough, area=None, whole=whole)

    def _uncovered(self, rectangle: Tensor) -> Boxes:
        """What stays in sight under an opaque `rectangle` [B,1,4]: boxes shrink around it."""
        low = torch.maximum(self.xyxy[..., :2], rectangle[..., :2])
        high = torch.minimum(self.xyxy[..., 2:], rectangle[..., 2:])
        cover = torch.cat([low, high.maximum(low)], dim=-1)
        touched = area_of(cover) > 0
        if not touched.any():  # as the tiles of a mosaic
            return self
        covers = torch.cat([self._painted(), cover[:, :, None]], dim=2)
        whole = self._whole()
        seen, around = in_sight(self.xyxy, covers)
        keep = ~touched | ((seen > 0) & (seen >= MIN_VISIBLE * whole))
        xyxy = torch.where((touched & keep)[..., None], around, self.xyxy)
        return replace(self, xyxy=xyxy, valid=self.valid & keep, area=None, whole=whole, covers=covers)


def _real(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _pad(tensor: Tensor, count: int) -> Tensor:
    """`tensor` [1,N,...] with zero rows up to [1,count,...]."""
    padded = tensor.new_zeros((1, count, *tensor.shape[2:]))
    padded[:, : tensor.shape[1]] = tensor
    return padded
