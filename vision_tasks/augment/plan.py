"""From luck to plans: which images make up each canvas of a batch, and by which matrices.

All numbers of a batch are drawn in a few vectorised calls, keyed by (seed, epoch, sample id); what a canvas looks like
depends on nothing else. Sizes of images are not known here: a placement is a small value that gives the matrix
(original px -> canvas px) once the loader has read the header.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, partial

import numpy as np
from numpy.typing import NDArray

from vision_tasks import luck
from vision_tasks.augment import colour
from vision_tasks.augment.albumentations_bridge import Pipeline
from vision_tasks.augment.erase import rectangles
from vision_tasks.augment.mix import DRAWS, Mix, mixes
from vision_tasks.augment.mosaic import MosaicTile, mosaic_tiles
from vision_tasks.config import Policy, Range
from vision_tasks.geometry import affines, centred, crop, fit_rule, translate
from vision_tasks.types import Canvas, Edit, Matrix, Patch, Patches, Placement, Plan, Region, Size

Draws = NDArray[np.float64]  # in [0,1), [B,...]

_AGAIN = np.uint64(0x9E3779B97F4A7C15)  # odd, so that no two times give one sample the same key


@dataclass(frozen=True)
class Fit:
    """The whole image on the canvas, without luck: what evaluation and prediction use."""

    canvas: Size
    fit: str

    def __call__(self, size: Size) -> Matrix:
        return fit_rule(self.fit)(size, self.canvas)


@dataclass(frozen=True)
class RandomCrop:
    """A region of the image stretched over the canvas (GoogLeNet's augmentation, Szegedy et al. 2015)."""

    canvas: Size
    area: float  # share of the image
    ratio: float  # width / height in original pixels
    left: float  # position among the possible ones, 0..1
    top: float

    def __call__(self, size: Size) -> Matrix:
        height, width = size
        pixels = self.area * height * width
        # Whole pixels, as torchvision's: nothing is seen twice, and such crops are the fastest to sample.
        crop_width = min(width, max(1, round((pixels * self.ratio) ** 0.5)))
        crop_height = min(height, max(1, round((pixels / self.ratio) ** 0.5)))
        x, y = round(self.left * (width - crop_width)), round(self.top * (height - crop_height))
        return crop((x, y, x + crop_width, y + crop_height), self.canvas)


@dataclass(frozen=True)
class Moved:
    """A placement followed by a change of the canvas (flip, rotation, shear, zoom, shift)."""

    base: Placement
    change: Matrix  # canvas px -> canvas px

    def __call__(self, size: Size) -> Matrix:
        return np.asarray(self.change @ self.base(size))


def fitted(samples: Sequence[int], canvas: Size, fit: str) -> Plan:
    """The plan of a batch without luck: every image whole, by the fit."""
    return [(Patch(sample, Fit(canvas, fit)),) for sample in samples]


@dataclass(frozen=True)
class Planner:
    """Makes the plans of a training: everything that stays the same from batch to batch."""

    policy: Policy
    canvas: Size
    fit: str
    keys: luck.Keys  # [N], of all samples
    seed: int
    epochs: int

    @cached_property
    def pipeline(self) -> Pipeline | None:
        """What the user's own pipeline does to each canvas, before any other image is laid over it."""
        return Pipeline(self.policy.albumentations) if self.policy.albumentations else None

    def plan(self, epoch: int, samples: NDArray[np.int64]) -> Plan:
        """The canvases of one batch; `samples` [B] are positions among all N samples.

        A sample that an epoch has more than once is position + N the second time, and so on: it gets other luck then.
        """
        policy = self.policy.at(epoch, self.epochs)
        canvases: list[Canvas] = [*self._unmixed(policy, epoch, samples)]
        for mix in mixes(policy, self.canvas):
            self._overlay(canvases, mix, policy, epoch, samples)
        return canvases

    def _overlay(
        self, canvases: list[Canvas], mix: Mix, policy: Policy, epoch: int, samples: NDArray[np.int64]
    ) -> None:
        """Lay other samples' canvases, as they are on their own in this epoch, over those that luck chooses."""
        draws = self._draw(mix.purpose, epoch, samples, 2 + DRAWS)
        chosen = np.flatnonzero(draws[:, 0] < mix.probability)
        count = len(self.keys)
        steps = 1 + (draws[chosen, 1] * (count - 1)).astype(np.int64)  # to any other sample, never to itself
        others = self._unmixed(policy, epoch, (samples[chosen] + steps) % count)
        for index, other in zip(chosen.tolist(), others, strict=True):
            canvases[index] = (*canvases[index], mix.overlay(other, draws[index, 2:]))

    def _unmixed(self, policy: Policy, epoch: int, samples: NDArray[np.int64]) -> list[Patches]:
        mixed = self._draw("mosaic?", epoch, samples, 1)[:, 0] < policy.mosaic
        alone = dict(zip(samples[~mixed].tolist(), self._alone(policy, epoch, samples[~mixed]), strict=True))
        shared = dict(zip(samples[mixed].tolist(), self._shared(policy, epoch, samples[mixed]), strict=True))
        edits = self._edits(epoch, samples)
        return [
            (*(alone.get(sample) or shared[sample]), *edit)
            for sample, edit in zip(samples.tolist(), edits, strict=True)
        ]

    def _edits(self, epoch: int, samples: NDArray[np.int64]) -> list[tuple[Edit, ...]]:
        if self.pipeline is None:
            return [()] * len(samples)
        seeds = self._draw("albumentations", epoch, samples, 1)[:, 0] * 2.0**53
        return [(Edit(partial(self.pipeline, int(seed))),) for seed in seeds.tolist()]

    def _alone(self, policy: Policy, epoch: int, samples: NDArray[np.int64]) -> list[Patches]:
        changes = self._changes(policy, epoch, samples)
        bases = self._bases(policy, epoch, samples)
        colours = self._colours(policy, epoch, samples)
        erased = self._erased(policy, epoch, samples)
        own = samples % len(self.keys)
        return [
            (Patch(sample, Moved(base, change), tint, erase=hole, frame=base if policy.border == "mirror" else None),)
            for sample, base, change, tint, hole in zip(own.tolist(), bases, changes, colours, erased, strict=True)
        ]

    def _shared(self, policy: Policy, epoch: int, samples: NDArray[np.int64]) -> list[Patches]:
        """Mosaic: each sample in the first quadrant with three others drawn by its own luck.

        Nothing is erased: where tiles meet, enough is hidden already.
        """
        partners = (self._draw("partners", epoch, samples, 3) * len(self.keys)).astype(np.int64)
        members = np.concatenate([samples[:, None] % len(self.keys), partners], axis=1)  # [B,4]
        layout = self._draw("layout", epoch, samples, 5)
        flips = self._draw("flips", epoch, samples, 8).reshape(-1, 4, 2) < [policy.flip_x, policy.flip_y]
        colours = self._colours(policy, epoch, samples)
        return [
            tuple(
                Patch(member, tile, tint, tile.region)
                for member, tile in zip(row.tolist(), mosaic_tiles(draws, flip, self.canvas, policy), strict=True)
            )
            for row, draws, flip, tint in zip(members, layout, flips, colours, strict=True)
        ]

    def _bases(self, policy: Policy, epoch: int, samples: NDArray[np.int64]) -> list[Placement]:
        if policy.crop_area is None:
            return [Fit(self.canvas, self.fit)] * len(samples)
        draws = self._draw("crop", epoch, samples, 4)
        area = _between(draws[:, 0], policy.crop_area)
        ratio = np.exp(_between(draws[:, 1], (np.log(policy.crop_ratio[0]), np.log(policy.crop_ratio[1]))))
        return [
            RandomCrop(self.canvas, *map(float, values))
            for values in zip(area, ratio, draws[:, 2], draws[:, 3], strict=True)
        ]

    def _changes(self, policy: Policy, epoch: int, samples: NDArray[np.int64]) -> NDArray[np.float64]:
        """Matrices [B,3,3] canvas px -> canvas px."""
        draws = self._draw("change", epoch, samples, 8)
        low, high = np.log(policy.zoom[0]), np.log(policy.zoom[1])
        turns = np.floor(4 * self._draw("turn", epoch, samples, 1)[:, 0]) * policy.quarter_turns
        matrices = centred(
            affines(
                np.radians(_around(draws[:, 0], policy.rotate) + 90 * turns),
                np.exp(_between(draws[:, 1], (low, high))),
                np.tan(np.radians(_around(draws[:, 2], policy.shear))),
                np.tan(np.radians(_around(draws[:, 3], policy.shear))),
                draws[:, 4] < policy.flip_x,
                draws[:, 5] < policy.flip_y,
            ),
            self.canvas,
        )
        # By whole pixels, as torchvision's: half a pixel would blur what is not scaled, and small pictures live by it.
        shift = np.rint(_around(draws[:, 6:8], policy.shift) * [self.canvas[1], self.canvas[0]])
        return np.array([translate(x, y) @ matrix for (x, y), matrix in zip(shift, matrices, strict=True)]).reshape(
            -1, 3, 3
        )

    def _colours(
        self, policy: Policy, epoch: int, samples: NDArray[np.int64]
    ) -> list[NDArray[np.float32]] | list[None]:
        """Colour matrices [3,5], or None for all where the policy leaves colours alone.

        The steps in their order: brightness, contrast, saturation, hue, grey.
        """
        if not (policy.brightness or policy.contrast or policy.saturation or policy.hue or policy.grey):
            return [None] * len(samples)
        draws = self._draw("colour", epoch, samples, 5)
        matrices = (
            colour.grey(draws[:, 4] < policy.grey)
            @ colour.hue(_around(draws[:, 0], policy.hue))
            @ colour.saturation(1 + _around(draws[:, 1], policy.saturation))
            @ colour.contrast(1 + _around(draws[:, 2], policy.contrast))
            @ colour.brightness(1 + _around(draws[:, 3], policy.brightness))
        )
        return list(matrices[:, :3].astype(np.float32))

    def _erased(self, policy: Policy, epoch: int, samples: NDArray[np.int64]) -> list[Region | None]:
        """The rectangle of each canvas that is painted over, if any."""
        if not policy.erase:
            return [None] * len(samples)
        draws = self._draw("erase", epoch, samples, 5)
        regions = rectangles(draws[:, 1:], self.canvas, policy.erase_area).tolist()
        return [
            (x0, y0, x1, y1) if draw < policy.erase else None
            for draw, (x0, y0, x1, y1) in zip(draws[:, 0], regions, strict=True)
        ]

    def _draw(self, purpose: str, epoch: int, samples: NDArray[np.int64], count: int) -> Draws:
        times, own = np.divmod(samples, len(self.keys))
        keys = self.keys[own] ^ (times.astype(np.uint64) * _AGAIN)
        return luck.uniform(self.seed, purpose, epoch, keys, count)


def _between(draws: Draws, ends: Range) -> Draws:
    return ends[0] + draws * (ends[1] - ends[0])


def _around(draws: Draws, reach: float) -> Draws:
    return (2 * draws - 1) * reach


__all__ = ["Fit", "MosaicTile", "Moved", "Planner", "RandomCrop", "fitted"]
