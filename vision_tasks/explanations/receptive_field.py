"""Which pixels of the canvas a place of a layer can see at all.

Found out from the network itself: a pixel that is not a number makes every value undefined that is computed from it,
whatever the weights are, so the edges of a field can be searched for by filling the canvas up to somewhere. A field
that such a search finds is the one that sizes, strides and paddings of all layers on the way make, branches and
attention included, cut at the canvas' edge.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from vision_tasks.types import Region

Run = Callable[[Tensor], Tensor]  # images [B,C,H,W] -> one map of each, [B,h,w]

_ROWS, _COLUMNS = 2, 3  # dimensions of images


def receptive_fields(run: Run, blank: Tensor, places: Sequence[tuple[int, int]]) -> list[Region]:
    """The field of each of `places`, (row, column) of the map, in pixels of canvases like `blank` [1,C,H,W].

    What a network sees without looking at places, as a mean over the whole map, makes a field the whole canvas.
    """
    rows, columns = sorted({row for row, _ in places}), sorted({column for _, column in places})
    # By cuDNN a convolution may go through transforms of tiles, where an undefined value reaches its neighbours.
    with torch.backends.cudnn.flags(enabled=False):
        down = _spans(lambda images: run(images).isnan().any(dim=2), blank, _ROWS, rows)
        across = _spans(lambda images: run(images).isnan().any(dim=1), blank, _COLUMNS, columns)
    return [(across[column][0], down[row][0], across[column][1], down[row][1]) for row, column in places]


def _spans(run: Run, blank: Tensor, axis: int, places: Sequence[int]) -> dict[int, tuple[int, int]]:
    """Where the field of each place along `axis` begins and ends, in pixels; the end is exclusive."""
    size = blank.shape[axis]
    # The first pixel up to which all must be undefined for the place to be so, from the front and from the back.
    ahead = _least(lambda cuts: run(_filled(blank, axis, cuts, False)), size, places)
    behind = _least(lambda cuts: run(_filled(blank, axis, cuts, True)), size, places)
    return {place: (ahead[place] - 1, size - behind[place] + 1) for place in places}


def _least(undefined: Callable[[Sequence[int]], Tensor], size: int, places: Sequence[int]) -> dict[int, int]:
    """For each place the least count of filled pixels, 1 to `size`, that reaches it: a search by halves, all at once.

    `undefined` gives bool [len(cuts), places] for counts of filled pixels.
    """
    low, high = dict.fromkeys(places, 1), dict.fromkeys(places, size)
    while any(low[place] < high[place] for place in places):
        cuts = [(low[place] + high[place]) // 2 for place in places]
        reached = undefined(cuts)
        for row, (place, cut) in enumerate(zip(places, cuts, strict=True)):
            if reached[row, place]:
                high[place] = cut
            else:
                low[place] = cut + 1
    return low


def _filled(blank: Tensor, axis: int, counts: Sequence[int], from_the_end: bool) -> Tensor:
    """A canvas for each of `counts`, of whose rows or columns so many, from the front or the end, are undefined."""
    images = blank.repeat(len(counts), 1, 1, 1)
    size = blank.shape[axis]
    for image, count in zip(images, counts, strict=True):
        start = size - count if from_the_end else 0
        image.narrow(axis - 1, start, count).fill_(torch.nan)
    return images
