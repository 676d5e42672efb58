"""JPEG files decoded by a CUDA device, many at once (nvJPEG, through torchvision).

It takes usual files only: 8 bits, grey or YCbCr, whole. All others, and those that it gives up on, are the CPU
decoder's, which has the last word on what can't be read. It does not shrink while it decodes, and leaves the pixels as
they lie in the file: their EXIF orientation is part of the way to the original, as everywhere.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence

import cv2
import numpy as np
import torch
from torch import Tensor

from vision_tasks.data.header import oriented, read_header, require_end
from vision_tasks.data.on_device.originals import Original, no_pixels

# uint8 [bytes] each, on the CPU -> uint8 [3,h,w] each, on the device. Raises RuntimeError if it can't read one of them.
BatchDecode = Callable[[list[Tensor]], list[Tensor]]

_START = b"\xff\xd8\xff"
_OTHER_COLOURS = b"Adobe"  # of the marker that says that they are not YCbCr
# torchvision says so with each call; its successor has no wheels for every machine that torchvision has them for.
warnings.filterwarnings("ignore", category=DeprecationWarning, message=r".*TorchCodec", module=r"torchvision\.io")


def batch_decoder(device: torch.device) -> BatchDecode:
    """nvJPEG on `device`."""
    from torchvision.io import ImageReadMode, decode_jpeg

    device = torch.empty(0, device=device).device  # with its number

    def decode_all(files: list[Tensor]) -> list[Tensor]:
        images: list[Tensor] = decode_jpeg(files, mode=ImageReadMode.RGB, device=device)
        return images

    return decode_all


def problem_of(decode: BatchDecode) -> str:
    """Why `decode` doesn't work here at all, by a file that is right; nothing if it does."""
    encoded = cv2.imencode(".jpg", np.zeros((16, 16, 3), np.uint8))[1]
    try:
        decode([torch.from_numpy(encoded.reshape(-1))])
    except (RuntimeError, AttributeError) as error:
        return str(error).partition("\n")[0]
    return ""


def unread_jpeg(data: bytes) -> Original | None:
    """The image of a usual JPEG file, whose pixels are still to be decoded; None for all other files.

    Raises DecodeError as `decode` does, where a look at the header is enough for that.
    """
    if not data.startswith(_START):
        return None
    header = read_header(data)
    if header.format != "JPEG" or header.mode not in ("L", "RGB") or data.find(_OTHER_COLOURS, 0, header.body) >= 0:
        return None
    require_end(data, header)
    to_original, size = oriented(header.orientation, header.size)
    jpeg = torch.frombuffer(bytearray(data), dtype=torch.uint8)
    return Original(no_pixels(header.size), size, to_original, jpeg=jpeg)


def decode_each(files: Sequence[Tensor], decode: BatchDecode) -> list[Tensor | None]:
    """What `decode` makes of each of `files`, None where it fails.

    It says nothing of which one it failed on: the list is halved until it succeeds, or one file is left.
    """
    if not files:
        return []
    try:
        return [*decode(list(files))]
    except RuntimeError:
        if len(files) == 1:
            return [None]
    middle = len(files) // 2
    return decode_each(files[:middle], decode) + decode_each(files[middle:], decode)
