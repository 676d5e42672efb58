"""From the tensors that a network gives to predictions: the same code for a network here and for an exported file.

A decoder is a small frozen record of thresholds and kinds. An exported file carries it as JSON, so that nothing but the
file is needed to read its outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from typing import Annotated, Any, ClassVar, Literal, Protocol, cast

import torch
from pydantic import Field, TypeAdapter
from torch import Tensor

from vision_tasks.models.boxes import predicted
from vision_tasks.models.suppression import suppressed
from vision_tasks.types import Boxes, Labels, Masks, Size, T_co
from vision_tasks.types.tensors import likeliest

_MOST_CANDIDATES = 30_000  # boxes of an image that suppression looks at, the best; as ultralytics has it
_APART = 7680  # pixels between the boxes of one class and the next, so that only those of one class are compared


class Decoder(Protocol[T_co]):
    """Reads the tensors of a batch whose canvas is `size`."""

    @property
    def kind(self) -> str: ...

    @property
    def has_places(self) -> bool:
        """Whether what is predicted lies somewhere on the canvas, and is not about the whole of it."""

    def __call__(self, outputs: Sequence[Tensor], size: Size) -> T_co:
        """Predictions in canvas pixels, float32."""


@dataclass(frozen=True)
class ClassLogits:
    """Logits [B,K] of whole images."""

    exclusive: bool  # an image has exactly one class: softmax; else each for itself: sigmoid
    kind: Literal["class_logits"] = "class_logits"
    has_places: ClassVar[bool] = False

    def __call__(self, outputs: Sequence[Tensor], size: Size) -> Labels:
        (logits,) = outputs
        return Labels(logits.softmax(dim=1) if self.exclusive else logits.sigmoid())


@dataclass(frozen=True)
class MaskLogits:
    """Logits [B,K,H,W] of pixels."""

    kind: Literal["mask_logits"] = "mask_logits"
    has_places: ClassVar[bool] = True

    def __call__(self, outputs: Sequence[Tensor], size: Size) -> Masks:
        (logits,) = outputs
        probability = logits.softmax(dim=1)
        return Masks(likeliest(probability).to(torch.uint8), logits.shape[1], probability)


@dataclass(frozen=True)
class BoxCandidates:
    """Boxes and scores in [0, 1] of all places, [B,4+K,N]: centre x and y, width, height, then each class.

    A box may be found for several classes. Those that overlap a better one of their class too much are suppressed, in
    the steps of ultralytics' `non_max_suppression`.
    """

    least_score: float  # what is not above it is nothing
    most_overlap: float  # IoU
    most: int  # boxes of an image
    kind: Literal["box_candidates"] = "box_candidates"
    has_places: ClassVar[bool] = True

    def __call__(self, outputs: Sequence[Tensor], size: Size) -> Boxes:
        (found,) = outputs
        return predicted([self._of_image(image) for image in found], size)

    def _of_image(self, found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        near = found[:, found[4:].amax(dim=0) > self.least_score].T  # [n,4+K]
        row, label = (near[:, 4:] > self.least_score).nonzero(as_tuple=True)
        score = near[row, label + 4]
        if len(score) > _MOST_CANDIDATES:
            best = score.argsort(descending=True)[:_MOST_CANDIDATES]
            row, label, score = row[best], label[best], score[best]
        centre, half = near[:, :2], near[:, 2:4] / 2
        xyxy = torch.cat((centre - half, centre + half), dim=1)[row]
        kept = suppressed(xyxy + label[:, None].to(xyxy) * _APART, score, self.most_overlap)[: self.most]
        return xyxy[kept], label[kept], score[kept]


@dataclass(frozen=True)
class RankedBoxes:
    """Boxes x1, y1, x2, y2 and scores of all places, [B,4+K,N], of heads that learned to find each object once."""

    least_score: float
    most: int
    kind: Literal["ranked_boxes"] = "ranked_boxes"
    has_places: ClassVar[bool] = True

    def __call__(self, outputs: Sequence[Tensor], size: Size) -> Boxes:
        (found,) = outputs
        return predicted([self._of_image(image) for image in found], size)

    def _of_image(self, found: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        places = found[4:].amax(dim=0).topk(min(self.most, found.shape[1])).indices
        near = found[:, places].T  # [n,4+K]
        score, index = near[:, 4:].flatten().topk(len(places))
        classes = found.shape[0] - 4
        sure = score > self.least_score
        index = index[sure]
        return near[index // classes, :4], index % classes, score[sure]


def above(decoder: Decoder[T_co], score: float) -> Decoder[T_co]:
    """The same without boxes of a lower score, which suppress none of a higher one: those that are left stay the same.

    Networks give thousands of boxes that they hardly believe in, and suppression compares each with many others.
    """
    known: object = decoder
    if isinstance(known, BoxCandidates | RankedBoxes) and known.least_score < score:
        return cast("Decoder[T_co]", replace(known, least_score=score))
    return decoder


_DECODERS: TypeAdapter[ClassLogits | MaskLogits | BoxCandidates | RankedBoxes] = TypeAdapter(
    Annotated[ClassLogits | MaskLogits | BoxCandidates | RankedBoxes, Field(discriminator="kind")]
)


def described(decoder: Decoder[Any]) -> dict[str, Any]:
    """A decoder as JSON values."""
    return asdict(decoder)  # type: ignore[call-overload, no-any-return]


def decoder_of(fields: Any) -> Decoder[Any]:
    """The decoder that `described` wrote of. Raises ValueError for what it did not write."""
    return _DECODERS.validate_python(fields)
