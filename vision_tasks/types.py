"""The values that every part of the house exchanges: samples, plans, images, targets, batches.

Conventions, fixed here and nowhere else:
- sizes are `(height, width)`; points and boxes are `(x, y)`, in pixel-edge coordinates (x in [0, width]);
- a matrix is 3x3 and maps points of the older space to points of the newer one;
- a target is a batch: its first dimension is B, also where B = 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Generic, Protocol, Self, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import pad

from vision_tasks.sampling import sample_bilinear, sample_nearest

Size = tuple[int, int]  # (height, width) in pixels
Matrix = NDArray[np.float64]  # [3,3]
Region = tuple[int, int, int, int]  # x0, y0, x1, y1 in canvas pixels, end exclusive

IGNORE = 255  # the class index of pixels that neither losses nor metrics count
MIN_VISIBLE = 0.1  # a box of which a warp or paste leaves less than this share of its area is dropped


@dataclass(frozen=True)
class Annotations:
    """What of one image's truth lies on its pixels, as arrays for tools that change both; None = nothing of a kind."""

    boxes: NDArray[np.float64] | None = None  # [N,5]: x0, y0, x1, y1 in pixel edges, and the target's row that it is
    mask: NDArray[np.uint8] | None = None  # [H,W], IGNORE = 255


class Targets(Protocol):
    """What a target must know to follow its image; `Labels`, `Boxes` and `Masks` do, as truth and as prediction."""

    def warp(self, matrix: Tensor, size: Size) -> Self:
        """Follow images that were warped by `matrix` [B,3,3] (old px -> new px) onto canvases of `size`."""

    def paste(self, other: Self, region: Tensor) -> Self:
        """Let `other` win where `region` bool [B,H,W] is set (mosaic, cutmix); the region is a rectangle."""

    def blend(self, other: Self, amount: Tensor) -> Self:
        """Follow images mixed as `(1 - amount) * self + amount * other`, `amount` float [B] (mixup)."""

    def erase(self, region: Tensor) -> Self:
        """What remains where `region` bool [B,H,W], a rectangle, is painted over and nothing takes its place."""

    def blank(self, size: Size) -> Self:
        """The same kind of target on empty canvases of `size`: what mosaic pastes onto."""

    def regions(self) -> list[Region]:
        """The rectangles of one image's single objects (B = 1), for pasting elsewhere; empty where none are known."""

    def annotations(self) -> Annotations:
        """What of the truth of one image (B = 1) lies on its pixels."""

    def annotated(self, changed: Annotations) -> Self:
        """The truth of one image whose `annotations` were changed: moved, left out or repeated."""

    def counts(self, num_classes: int) -> Tensor:
        """How much of each class there is, float32 [K]: images, boxes or pixels."""

    def renumbered(self, numbers: Sequence[int]) -> Self:
        """The same target where class i is called `numbers[i]`, a permutation of all classes."""

    def image(self, index: int) -> Self:
        """The target of one image, still as a batch (B = 1)."""

    def to(self, device: torch.device | str) -> Self:
        """The same target on `device`."""

    @classmethod
    def stack(cls, items: Sequence[Self]) -> Self:
        """One batch out of several, in order; all must belong to canvases of one size."""

    def __len__(self) -> int: ...


T = TypeVar("T", bound=Targets)
T_co = TypeVar("T_co", bound=Targets, covariant=True)


@dataclass(frozen=True)
class Labels:
    """Classes of whole images."""

    weight: Tensor  # float32 [B,K]: one-hot, several-hot, soft after mixing; probabilities when predicted

    @classmethod
    def one_hot(cls, label: int, num_classes: int) -> Labels:
        weight = torch.zeros(1, num_classes)
        weight[0, label] = 1
        return cls(weight)

    def warp(self, matrix: Tensor, size: Size) -> Labels:
        return self

    def paste(self, other: Labels, region: Tensor) -> Labels:
        """Weights by area. A blank canvas has none, so what is pasted beside others onto it adds to them."""
        share = region.to(self.weight).mean(dim=(1, 2))
        covered = self.weight.sum(dim=1).clamp(max=1)
        left = torch.minimum(covered, 1 - share) / covered.clamp(min=1e-9)
        return Labels(self.weight * left[:, None] + other.weight * share[:, None])

    def blend(self, other: Labels, amount: Tensor) -> Labels:
        return Labels(torch.lerp(self.weight, other.weight, amount.to(self.weight)[:, None]))

    def erase(self, region: Tensor) -> Labels:
        """The same: a picture of a cat without its tail is a picture of a cat."""
        return self

    def blank(self, size: Size) -> Labels:
        return Labels(torch.zeros_like(self.weight))

    def regions(self) -> list[Region]:
        return []

    def annotations(self) -> Annotations:
        return Annotations()

    def annotated(self, changed: Annotations) -> Labels:
        return self

    def counts(self, num_classes: int) -> Tensor:
        return self.weight.sum(dim=0)

    def renumbered(self, numbers: Sequence[int]) -> Labels:
        return Labels(_placed(self.weight, numbers))

    def image(self, index: int) -> Labels:
        return Labels(self.weight[index : index + 1])

    def to(self, device: torch.device | str) -> Labels:
        return Labels(_move(self.weight, device))

    @classmethod
    def stack(cls, items: Sequence[Labels]) -> Labels:
        return cls(torch.cat([item.weight for item in items]))

    def __len__(self) -> int:
        return len(self.weight)


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
            covers = _warp_boxes(self.covers.flatten(1, 2), matrix).view_as(self.covers)
            moved = replace(self, covers=covers)
        return moved._clip(_warp_boxes(self.xyxy, matrix), _canvas_rectangle(size, self.xyxy))

    def paste(self, other: Boxes, region: Tensor) -> Boxes:
        rectangle = _bounding_rectangle(region).to(self.xyxy)[:, None, :]  # [B,1,4]
        return self._uncovered(rectangle)._join(other._clip(other.xyxy, rectangle))

    def blend(self, other: Boxes, amount: Tensor) -> Boxes:
        """Both images' boxes, unless so little of their image is left that they are dropped; see `MIN_VISIBLE`."""
        share = amount.to(self.xyxy)[:, None]
        ours = replace(self, valid=self.valid & (1 - share >= MIN_VISIBLE))
        return ours._join(replace(other, valid=other.valid & (share >= MIN_VISIBLE)))

    def erase(self, region: Tensor) -> Boxes:
        """Boxes shrink to what is in sight, and are dropped where that is too little; see `MIN_VISIBLE`."""
        return self._uncovered(_bounding_rectangle(region).to(self.xyxy)[:, None, :])

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
        return self._each(lambda values: _move(values, device))

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
        return _area(self.xyxy) if self.whole is None else self.whole

    def _painted(self) -> Tensor:
        return self.xyxy.new_zeros((*self.label.shape, 0, 4)) if self.covers is None else self.covers

    def _clip(self, xyxy: Tensor, rectangle: Tensor) -> Boxes:
        """Boxes moved to `xyxy` and clipped to `rectangle` [B,1,4]; those with too little left become padding."""
        low, high = rectangle[..., :2], rectangle[..., 2:]
        clipped = torch.cat([xyxy[..., :2].clamp(low, high), xyxy[..., 2:].clamp(low, high)], dim=-1)
        whole = _area(xyxy)
        if self.whole is not None:
            whole = self.whole * whole / _area(self.xyxy).clamp(min=1e-9)
        seen = _area(clipped) if self.covers is None else _in_sight(clipped, self.covers)[0]
        enough = (seen > 0) & (seen >= MIN_VISIBLE * whole)
        return replace(self, xyxy=clipped, valid=self.valid & enough, area=None, whole=whole)

    def _uncovered(self, rectangle: Tensor) -> Boxes:
        """What stays in sight under an opaque `rectangle` [B,1,4]: boxes shrink around it."""
        low = torch.maximum(self.xyxy[..., :2], rectangle[..., :2])
        high = torch.minimum(self.xyxy[..., 2:], rectangle[..., 2:])
        cover = torch.cat([low, high.maximum(low)], dim=-1)
        touched = _area(cover) > 0
        if not touched.any():  # as the tiles of a mosaic
            return self
        covers = torch.cat([self._painted(), cover[:, :, None]], dim=2)
        whole = self._whole()
        seen, around = _in_sight(self.xyxy, covers)
        keep = ~touched | ((seen > 0) & (seen >= MIN_VISIBLE * whole))
        xyxy = torch.where((touched & keep)[..., None], around, self.xyxy)
        return replace(self, xyxy=xyxy, valid=self.valid & keep, area=None, whole=whole, covers=covers)


@dataclass(frozen=True)
class Masks:
    """A class for every pixel."""

    index: Tensor  # uint8 [B,H,W], IGNORE = 255; losses widen it
    num_classes: int
    probability: Tensor | None = None  # float32 [B,K,H,W]: what predictions carry, and what blend makes of truth

    def warp(self, matrix: Tensor, size: Size) -> Masks:
        """Indices by nearest pixel, probabilities bilinearly; what comes from outside the image is IGNORE."""
        if self.probability is None:
            return replace(self, index=sample_nearest(self.index, matrix, size, fill=IGNORE))
        ignored = sample_nearest(self.index, matrix, size, fill=IGNORE) == IGNORE
        return self._dense(sample_bilinear(self.probability, matrix, size), ignored)

    def paste(self, other: Masks, region: Tensor) -> Masks:
        index = torch.where(region, other.index, self.index)
        if self.probability is None and other.probability is None:
            return replace(self, index=index)
        return replace(self, index=index, probability=torch.where(region[:, None], other.dense(), self.dense()))

    def blend(self, other: Masks, amount: Tensor) -> Masks:
        """Probabilities of both; a pixel that one of them ignores is ignored."""
        probability = torch.lerp(self.dense(), other.dense(), amount.to(torch.float32)[:, None, None, None])
        return self._dense(probability, (self.index == IGNORE) | (other.index == IGNORE))

    def _dense(self, probability: Tensor, ignored: Tensor) -> Masks:
        """Masks of a new tensor `probability` [B,K,H,W], where not `ignored` bool [B,H,W]."""
        index = probability.argmax(dim=1).to(self.index.dtype).masked_fill_(ignored, IGNORE)
        # In place: at the size of a large photo, with many classes, a copy would not fit into memory.
        return replace(self, index=index, probability=probability.masked_fill_(ignored[:, None], 0))

    def erase(self, region: Tensor) -> Masks:
        """What nobody can see, nobody can name: IGNORE."""
        return self.paste(self.blank((region.shape[1], region.shape[2])), region)

    def blank(self, size: Size) -> Masks:
        index = torch.full((len(self), *size), IGNORE, dtype=self.index.dtype, device=self.index.device)
        return Masks(index, self.num_classes)

    def regions(self) -> list[Region]:
        return []

    def annotations(self) -> Annotations:
        return Annotations(mask=self.index[0].numpy())

    def annotated(self, changed: Annotations) -> Masks:
        assert changed.mask is not None
        return Masks(torch.from_numpy(changed.mask)[None], self.num_classes)

    def counts(self, num_classes: int) -> Tensor:
        return self.index.flatten().bincount(minlength=256)[:num_classes].float()

    def renumbered(self, numbers: Sequence[int]) -> Masks:
        table = torch.arange(256, device=self.index.device)
        table[: len(numbers)] = torch.tensor(numbers)
        index = table[self.index.long()].to(self.index.dtype)
        probability = None if self.probability is None else _placed(self.probability, numbers)
        return replace(self, index=index, probability=probability)

    def dense(self) -> Tensor:
        """Probabilities [B,K,H,W]: one-hot where only indices are known, zero where ignored."""
        if self.probability is not None:
            return self.probability
        classes = torch.arange(self.num_classes, device=self.index.device, dtype=self.index.dtype)
        return (self.index[:, None] == classes[None, :, None, None]).float()

    def image(self, index: int) -> Masks:
        keep = slice(index, index + 1)
        return replace(
            self, index=self.index[keep], probability=None if self.probability is None else self.probability[keep]
        )

    def to(self, device: torch.device | str) -> Masks:
        probability = None if self.probability is None else _move(self.probability, device)
        return replace(self, index=_move(self.index, device), probability=probability)

    @classmethod
    def stack(cls, items: Sequence[Masks]) -> Masks:
        first = items[0]
        dense = any(item.probability is not None for item in items)
        probability = torch.cat([item.dense() for item in items]) if dense else None
        return cls(torch.cat([item.index for item in items]), first.num_classes, probability)

    def __len__(self) -> int:
        return len(self.index)


@dataclass(frozen=True)
class Extent:
    """Where on a medium the bytes of a sample lie: whoever knows, can read one after the other."""

    shard: str  # path or URL
    offset: int  # bytes
    size: int


@dataclass(frozen=True)
class RaggedImages:
    """Images of different sizes, one behind another in one buffer: what a batch carries to a device in one copy."""

    data: Tensor  # uint8 [bytes]; an image is [h,w,3] RGB, or [h,w] where it is a mask
    offset: Tensor  # int64 [P], where in `data` each begins; two may begin at one place
    size: Tensor  # int32 [P,2], (height, width)

    @classmethod
    def pack(cls, images: Sequence[NDArray[np.uint8]]) -> RaggedImages:
        """A copy of all `images` [h,w,3] or [h,w]."""
        lengths = np.array([image.size for image in images], np.int64)
        data = np.concatenate([np.empty(0, np.uint8), *(image.reshape(-1) for image in images)])
        size = np.array([image.shape[:2] for image in images], np.int32).reshape(-1, 2)
        return cls(torch.from_numpy(data), torch.from_numpy(lengths.cumsum() - lengths), torch.from_numpy(size))

    def to(self, device: torch.device | str) -> RaggedImages:
        """The same with `data` on `device`; the rest stays where the work is laid out, on the CPU."""
        return replace(self, data=_move(self.data, device))

    def __len__(self) -> int:
        return len(self.offset)


@dataclass(frozen=True)
class Sample(Generic[T_co]):
    """One image of a data set and how to get its truth; nothing is read before it is asked for."""

    id: str  # stable and unique in its data set; luck, splits and outputs are keyed by it
    path: Path
    # Size of the original, or None where nobody has read it -> target in its pixels (B = 1). Raises UserError naming a
    # file, and DecodeError where the truth of this one image is for another size, or is a file that can't be read.
    truth: Callable[[Size | None], T_co]
    stratum: str = ""  # what a stratified split balances (the class, for whole-image labels)
    pixels: Callable[[], NDArray[np.uint8]] | None = None  # [h,w,3] RGB, where `path` holds many images and not one
    # The bytes of the image file where it is a member of a shard, and `path` (shard/member) is but its name. Raises
    # DecodeError.
    data: Callable[[], bytes] | None = None
    extent: Extent | None = None  # where these bytes lie


@dataclass(frozen=True)
class Bands:
    """Which bands of a many-band image are read, and which of their values become black and white."""

    numbers: tuple[int, ...]  # of the file, from 1; colour changes touch the first three, as red, green and blue
    limits: tuple[float, float] | None = None  # None = the range of the file's number type


@dataclass(frozen=True)
class InputSpec:
    """How an original becomes a network's input: fixed by training, remembered by its checkpoints."""

    canvas: Size
    fit: str  # how a whole image is brought onto the canvas: crop, letterbox or stretch
    bands: Bands | None = None  # None = red, green and blue

    @property
    def channels(self) -> int:
        return len(self.bands.numbers) if self.bands else 3


@dataclass(frozen=True)
class ImageInfo:
    """Where a canvas came from, and the way back to it."""

    id: str
    path: Path
    size: Size  # of the original, after EXIF rotation
    placement: Matrix  # float64 [3,3], original px -> canvas px


class Placement(Protocol):
    """Where an image goes on the canvas, as soon as its size is known."""

    def __call__(self, size: Size) -> Matrix:
        """The matrix original px -> canvas px for an original of `size`."""


@dataclass(frozen=True)
class Patch:
    """One image's part of a canvas: which sample, where it goes, its colours, the region it fills, what is erased."""

    sample: int  # position in the list of samples
    place: Placement
    colour: NDArray[np.float32] | None = None  # [3,5] on (R, G, B, its image's mean grey, 1) in [0,1]; None = unchanged
    region: Region | None = None  # None = the whole canvas
    erase: Region | None = None  # painted over after the image, where it is the only one of its canvas
    frame: Placement | None = None  # mirror images fill what the image would fill in this place; None = border does


class Change(Protocol):
    """What is done to a painted canvas as a whole."""

    def __call__(self, pixels: NDArray[np.uint8], truth: Annotations) -> Annotations:
        """Change `pixels` [H,W,C] in place, and give the truth that follows. Raises UserError where that fails."""


@dataclass(frozen=True)
class Edit:
    """A step after the patches of a canvas: what they painted changes, pixels and truth alike."""

    change: Change


Patches = tuple[Patch | Edit, ...]  # side by side on one canvas, the first its own sample (mosaic: three more); edits


class Choice(Protocol):
    """Which parts of a canvas are pasted onto another, as soon as its truth is known."""

    def __call__(self, truth: Targets) -> Sequence[Region]:
        """Regions, in the order in which they are pasted, of a canvas with this truth (B = 1)."""


@dataclass(frozen=True)
class Overlay:
    """A second canvas on a painted one: blended by `amount` (mixup), or pasted in regions (cutmix, copy-paste)."""

    patches: Patches
    amount: float = 1.0  # of the second canvas
    regions: Choice | None = None  # None = blended


Canvas = tuple[Patch | Edit | Overlay, ...]  # its patches, their edits, then what lies over them, in this order
Plan = Sequence[Canvas]  # one batch


@dataclass(frozen=True)
class Failure:
    """A file that could not be read, and why."""

    id: str  # of its sample
    path: Path
    reason: str


@dataclass(frozen=True)
class Batch(Generic[T]):
    """What engines and models work on."""

    images: Tensor  # float32 [B,C,H,W] in [0,1], channels-last; C = 3, RGB, where no bands were asked for
    targets: T | None  # in canvas pixels; None where there is no truth
    originals: tuple[T, ...]  # the truth in original pixels, where it was asked for; else empty
    info: tuple[ImageInfo, ...]
    failures: tuple[Failure, ...] = ()  # files of this batch that could not be read; they have no row above

    def __len__(self) -> int:
        return len(self.info)


def _placed(values: Tensor, numbers: Sequence[int]) -> Tensor:
    """[B,K,...] with class i moved to place `numbers[i]`."""
    moved = torch.empty_like(values)
    moved[:, list(numbers)] = values
    return moved


def _move(tensor: Tensor, device: torch.device | str) -> Tensor:
    # Towards the CPU a copy must have ended before anyone reads it; towards a device the stream keeps the order.
    return tensor.to(device, non_blocking=torch.device(device).type != "cpu")


def _area(xyxy: Tensor) -> Tensor:
    extent = (xyxy[..., 2:] - xyxy[..., :2]).clamp(min=0)
    return extent[..., 0] * extent[..., 1]


def _real(values: Tensor) -> Tensor:
    return values if values.dtype == torch.float64 else values.float()


def _in_sight(xyxy: Tensor, covers: Tensor) -> tuple[Tensor, Tensor]:
    """What `covers` [B,N,M,4] leave of boxes [B,N,4]: its area [B,N], and the box around it (undefined around nothing).

    The edges of the covers cut a box into cells, each of which is hidden or seen as a whole.
    """
    spans, hides = [], []
    for axis in (0, 1):
        low, high = xyxy[..., axis, None], xyxy[..., axis + 2, None]
        inner = covers[..., axis::2].flatten(-2).clamp(low, high)
        edges = torch.cat([low, inner, high], dim=-1).sort(dim=-1).values
        start, end = edges[..., :-1], edges[..., 1:]
        hides.append(
            (covers[..., axis, None] <= start[..., None, :]) & (covers[..., axis + 2, None] >= end[..., None, :])
        )
        spans.append((start, end))
    (x0, x1), (y0, y1) = spans
    hidden = (hides[1][..., :, None] & hides[0][..., None, :]).any(dim=2)  # [B,N,2M+1,2M+1], rows are y
    cells = ((y1 - y0)[..., :, None] * (x1 - x0)[..., None, :]).masked_fill(hidden, 0)
    sides = [
        ends
        for (start, end), seen in zip(spans, ((cells > 0).any(dim=-2), (cells > 0).any(dim=-1)), strict=True)
        for ends in (start.masked_fill(~seen, torch.inf).amin(-1), end.masked_fill(~seen, -torch.inf).amax(-1))
    ]
    return cells.sum(dim=(-2, -1)), torch.stack([sides[0], sides[2], sides[1], sides[3]], dim=-1)


def _warp_boxes(xyxy: Tensor, matrix: Tensor) -> Tensor:
    """Bounding boxes [B,N,4] of the four corners of `xyxy` [B,N,4] under `matrix` [B,3,3]."""
    x, y = xyxy[..., 0::2], xyxy[..., 1::2]
    corners = torch.stack([x[..., [0, 1, 1, 0]], y[..., [0, 0, 1, 1]]], dim=-1).double()  # [B,N,4,2]
    affine = matrix.to(corners)[:, None]
    moved = corners @ affine[..., :2, :2].transpose(-1, -2) + affine[..., None, :2, 2]
    return torch.cat([moved.amin(dim=2), moved.amax(dim=2)], dim=-1).to(xyxy.dtype)


def _canvas_rectangle(size: Size, like: Tensor) -> Tensor:
    height, width = size
    return like.new_tensor([0, 0, width, height])[None, None]


def _bounding_rectangle(region: Tensor) -> Tensor:
    """xyxy [B,4] around the set pixels of `region` bool [B,H,W]; an empty region has no area."""
    ends = []
    for axis in (1, 2):  # over x, then over y
        # The greatest byte says what `any` says, in a twentieth of its time.
        seen = region.view(torch.uint8).amax(dim=axis).bool()
        count = torch.arange(1, seen.shape[1] + 1, device=seen.device)
        end = (seen * count).amax(dim=1)
        start = end - seen.sum(dim=1)
        ends += [start, end]
    return torch.stack([ends[0], ends[2], ends[1], ends[3]], dim=1)


def _pad(tensor: Tensor, count: int) -> Tensor:
    """`tensor` [1,N,...] with zero rows up to [1,count,...]."""
    padded = tensor.new_zeros((1, count, *tensor.shape[2:]))
    padded[:, : tensor.shape[1]] = tensor
    return padded
