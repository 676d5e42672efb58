"""What stands in for a CUDA device where there is none: the warp's definition, and decoders of batches."""

from __future__ import annotations

import cv2
import numpy as np
import torch
from torch import Tensor

from vision_tasks.data.decode_choice import DecodeChoice
from vision_tasks.data.on_device.path import DevicePath
from vision_tasks.types import RaggedImages, Size
from vision_tasks.warp import BORDER, warp_into, warp_reference

CPU = torch.device("cpu")


def slow_warp(
    images: RaggedImages, canvas: Tensor, matrix: Tensor, size: Size, count: int, *, colour: Tensor | None = None,
    region: Tensor | None = None, mirror: Tensor | None = None, reduction: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """What `warp_batch` is defined to be, one float64 reference after another; it knows no reductions."""
    out = torch.full((count, 3, *size), BORDER / 255).contiguous(memory_format=torch.channels_last)
    for patch, row in enumerate(canvas.tolist()):
        height, width = images.size[patch].tolist()
        start = int(images.offset[patch])
        source = images.data[start : start + 3 * height * width].reshape(height, width, 3).permute(2, 0, 1) / 255.0
        frame = None if mirror is None or not mirror[patch].any() else tuple(mirror[patch].tolist())
        value = warp_reference(source, matrix[patch], size, fill=-1, mirror=frame)
        painted = torch.zeros(size, dtype=torch.bool)
        x0, y0, x1, y1 = [0, 0, size[1], size[0]] if region is None else region[patch].tolist()
        painted[y0:y1, x0:x1] = value[0, y0:y1, x0:x1] >= 0
        if colour is not None:
            rows = colour[patch].double()
            value = (torch.einsum("rc,chw->rhw", rows[:, :3], value) + rows[:, 3, None, None]).clamp(0, 1)
        out[row] = torch.where(painted, value.float(), out[row])
    return out


def quick_warp(
    images: RaggedImages, canvas: Tensor, matrix: Tensor, size: Size, count: int, *, colour: Tensor | None = None,
    region: Tensor | None = None, mirror: Tensor | None = None, reduction: Tensor | None = None,
) -> Tensor:  # fmt: skip
    """The same by the CPU's filter, in a hundredth of the time."""
    assert reduction is not None
    out = np.full((count, *size, 3), BORDER, np.uint8)
    for patch, row in enumerate(canvas.tolist()):
        height, width = images.size[patch].tolist()
        start = int(images.offset[patch])
        source = images.data[start : start + 3 * height * width].numpy().reshape(height, width, 3)
        frame = None if mirror is None or not mirror[patch].any() else tuple(mirror[patch].tolist())
        part = None if region is None else tuple(region[patch].tolist())
        tint = None if colour is None else colour[patch].numpy()
        warp_into(out[row], source, matrix[patch].numpy(), part, tint, int(reduction[patch]), frame)
    return torch.from_numpy(out).permute(0, 3, 1, 2) / 255


def path(**options: object) -> DevicePath:
    """The way to a device that is the CPU."""
    return DevicePath(CPU, options.pop("warp", quick_warp), options.pop("choice", DecodeChoice("cpu")), **options)


def decode_or_raise(files: list[Tensor]) -> list[Tensor]:
    """A batch decoder as nvJPEG is one: planes of RGB as they lie in the file, or an error for all of them."""
    images = [cv2.imdecode(file.numpy(), cv2.IMREAD_COLOR_RGB | cv2.IMREAD_IGNORE_ORIENTATION) for file in files]
    if any(image is None for image in images):
        raise RuntimeError("decoding failed")
    return [torch.from_numpy(np.ascontiguousarray(image.transpose(2, 0, 1))) for image in images]
