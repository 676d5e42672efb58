"""The maps that a layer makes of one image, as a grid."""

from __future__ import annotations

from torch import Tensor

from vision_tasks.explanations.pictures import grid, stretched
from vision_tasks.warp import Pixels

_MOST = 64


def maps_picture(name: str, maps: Tensor) -> Pixels:
    """The maps [C,h,w] of the layer `name`, numbered as its filters, the one with the greatest value first.

    Each is stretched from black, its least value, to white: how strong it is says its place, not its brightness.
    """
    order = maps.flatten(1).amax(dim=1).argsort(descending=True, stable=True)[:_MOST].tolist()
    tiles = [stretched(maps[number].float().cpu().numpy()) for number in order]
    count, height, width = maps.shape
    which = (
        f"the {len(order)} strongest of {count} maps" if count > len(order) else f"{count} maps, the strongest first"
    )
    return grid(tiles, [str(number) for number in order], f"{name}: {which}, {width}x{height}")
