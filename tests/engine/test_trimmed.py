"""What is left of canvases when their border is cut off, by hand and by a network whose field of view is small."""

from pathlib import Path

import numpy as np
import torch
from torch import nn

from vision_tasks.engine.evaluate import to_original
from vision_tasks.engine.trimmed import MOST, canvases_for, least_of, needed, trimmed
from vision_tasks.geometry import letterbox
from vision_tasks.types import Batch, ImageInfo, Masks, Size

CANVAS = (256, 256)


def info(size: Size, name: str = "a") -> ImageInfo:
    return ImageInfo(name, Path(name), size, letterbox(size, CANVAS))


def test_whole_steps_are_cut_from_both_sides() -> None:
    assert needed(info((100, 200)), CANVAS) == (256 - 2 * 32, 256)  # a border of 64 rows: one more must stay
    assert needed(info((99, 200)), CANVAS) == (256 - 2 * 32, 256)  # 64.64
    assert needed(info((90, 200)), CANVAS) == (256 - 2 * 64, 256)  # 70.4 rows
    assert needed(info((200, 90)), CANVAS) == (256, 256 - 2 * 64)
    assert needed(info((200, 200)), CANVAS) == CANVAS
    assert needed(info((1, 200)), CANVAS) == (256 - 2 * 96, 256)  # 127.4


def test_few_canvases_are_chosen_those_that_save_most() -> None:
    wide, tall, square = info((90, 200)), info((200, 90)), info((200, 200))
    assert canvases_for([wide] * 5 + [tall] * 4 + [square], CANVAS) == ((128, 256), (256, 128))
    assert canvases_for([square] * 4, CANVAS) == ()
    assert canvases_for([wide] + [square] * 99, CANVAS) == ()  # half a canvas of a hundred
    heights, widths = [info((height, 200)) for height in (40, 90, 110)], [info((200, width)) for width in (40, 90, 110)]
    assert len({needed(each, CANVAS) for each in heights + widths}) == MOST + 1
    assert len(canvases_for(heights + widths, CANVAS)) == MOST


def test_what_is_cut_stays_on_its_device() -> None:
    whole: Batch[Masks] = Batch(torch.zeros(2, 3, *CANVAS, device="meta"), None, (), (info((90, 200)),) * 2)
    (part,) = trimmed([whole], [(128, 256)], 4)
    assert (part.images.device.type, tuple(part.images.shape)) == ("meta", (2, 3, 128, 256))
    assert part.images.is_contiguous(memory_format=torch.channels_last)


def test_an_image_is_put_where_it_fits() -> None:
    assert least_of((128, 256), [(192, 256), (128, 256)], CANVAS) == (128, 256)
    assert least_of((160, 256), [(192, 256), (128, 256)], CANVAS) == (192, 256)
    assert least_of((256, 128), [(192, 256), (128, 256)], CANVAS) == CANVAS


def batch(sizes: dict[str, Size]) -> Batch[Masks]:
    images = torch.rand(len(sizes), 3, *CANVAS, generator=torch.Generator().manual_seed(0))
    return Batch(images, None, (), tuple(info(size, name) for name, size in sizes.items()))


def test_like_shapes_share_batches_and_none_is_lost() -> None:
    first = batch({"a": (90, 200), "b": (200, 200), "c": (80, 200)})
    second = batch({"d": (90, 200), "e": (200, 90), "f": (200, 200)})
    found = list(trimmed([first, second], [(128, 256)], 2))
    names = [[one.id for one in each.info] for each in found]
    assert names == [["a", "c"], ["b", "e"], ["d"], ["f"]]
    assert [tuple(each.images.shape[-2:]) for each in found] == [(128, 256), CANVAS, (128, 256), CANVAS]
    assert torch.equal(found[0].images[1], first.images[2, :, 64:192])


def test_predictions_come_back_to_the_same_pixels() -> None:
    """A network that sees one pixel says the same on the whole canvas and on what is left of it."""
    network = nn.Conv2d(3, 2, 1)

    def predict(images: torch.Tensor) -> Masks:
        probability = network(images).softmax(dim=1).detach()
        return Masks(probability.argmax(dim=1).to(torch.uint8), 2, probability)

    whole = batch({"a": (90, 200), "b": (200, 80)})
    expected = {one.id: to_original(predict(whole.images).image(row), one) for row, one in enumerate(whole.info)}
    for part in trimmed([whole], [(128, 256), (256, 128)], 4):
        assert part.images.shape[-2:] != CANVAS
        for row, one in enumerate(part.info):
            found = to_original(predict(part.images).image(row), one)
            assert np.isclose(np.linalg.det(one.placement), np.linalg.det(letterbox(one.size, CANVAS)))
            assert torch.equal(found.index, expected[one.id].index)
