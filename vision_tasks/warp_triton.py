# mypy: disable-error-code="import-untyped, untyped-decorator, no-untyped-def, no-untyped-call"
# Triton reads the annotations of kernels, and knows none but its own.
"""The twin of `warp.py` for CUDA: one kernel makes a whole batch out of originals of any sizes.

A program makes one tile of one canvas. It goes through the patches of that canvas, skips those that the tile doesn't
meet, gathers the others' pixels under the same triangle as `warp_reference`, in the order of their list, and writes
the tile once; nothing is stored in between.

Coordinates are float64, by the same sums as `source_points` makes and without fused multiply-adds, so that both agree
to the last bit on which centre lies in which pixel, at every size and on every tie. They are split into a whole pixel
and a float32 remainder at once, and all further work, by far the most, is float32.

Only machines with CUDA need this module, and Triton with it: import it where it is used. `TRITON_INTERPRET=1`, set
before Triton is imported, runs the kernels on the CPU, slowly, for tests.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
import triton
import triton.language as tl
from torch import Tensor

from vision_tasks.types import IGNORE, RaggedImages, Size
from vision_tasks.warp import BORDER

_TILE = {"rows": 8, "columns": 32}  # canvas pixels: two a thread, and a warp's reads lie side by side
# Rows of the tables, of whole 16 bytes each, so that no number of patches asks for a kernel of its own.
_PLACE, _NUMBER, _WEIGHT = tl.constexpr(8), tl.constexpr(14), tl.constexpr(16)
_REGION, _MIRROR, _TAPS = tl.constexpr(3), tl.constexpr(7), tl.constexpr(11)  # columns of the numbers


def warp_batch(
    images: RaggedImages,
    canvas: Tensor,
    matrix: Tensor,
    size: Size,
    count: int,
    *,
    colour: Tensor | None = None,
    region: Tensor | None = None,
    mirror: Tensor | None = None,
    reduction: Tensor | None = None,
    mean: Sequence[float] | None = None,
    std: Sequence[float] | None = None,
    dtype: torch.dtype = torch.float32,
) -> Tensor:
    """Resample P RGB images onto `count` canvases of `size`: [B,3,H,W], channels-last, in [0,1], where `images` are.

    All tensors but the images' pixels lie on the CPU. For each patch: `canvas` int [P], on which it goes (of several,
    the later cover the earlier); `matrix` [P,3,3], source px -> canvas px; `colour` float [P,3,4] on RGB in [0,1],
    clamped after it; `region` int [P,4], the x0, y0, x1, y1 of the canvas that it may paint (None = all); `mirror` int
    [P,4], the rectangle that its mirror images fill (empty = none), as `warp_into` says; `reduction` int [P], how far
    a decoder has shrunk it already, so that its low-pass counts towards the antialiasing. What no patch paints is
    border. With `mean` and `std`, values become (value - mean) / std.
    """
    out = torch.empty((count, 3, *size), dtype=dtype, device=images.data.device, memory_format=torch.channels_last)
    inverse = torch.linalg.inv(matrix.double())
    support = _support(inverse, reduction)
    numbers, weights = _numbers(images, size, region, mirror, support), _weights(support, colour)
    order, first = _by_canvas(canvas, count)
    tables = _carry([_places(inverse)[order], numbers[order], weights[order], first], images.data.device)
    gains = [1 / value for value in std or (1, 1, 1)]
    offsets = [-gain * value for gain, value in zip(gains, mean or (0, 0, 0), strict=True)]
    options = {"has_colour": colour is not None, "has_mirror": mirror is not None}
    _launch(_warp_kernel, images.data, tables, out, size, BORDER / 255, *gains, *offsets, **options)
    return out


def warp_masks_batch(
    masks: RaggedImages, canvas: Tensor, matrix: Tensor, size: Size, count: int, *, region: Tensor | None = None
) -> Tensor:
    """Resample P masks of class indices onto `count` canvases of `size`: uint8 [B,H,W], as `Masks.warp` does.

    Arguments as of `warp_batch`. A patch fills its region wholly, with IGNORE where it has no pixels.
    """
    out = torch.empty((count, *size), dtype=torch.uint8, device=masks.data.device)
    inverse = torch.linalg.inv(matrix.double())
    numbers = _numbers(masks, size, region, None, _support(inverse, None))
    order, first = _by_canvas(canvas, count)
    tables = _carry([_places(inverse)[order], numbers[order], first], masks.data.device)
    _launch(_nearest_kernel, masks.data, tables, out, size, ignored=IGNORE)
    return out


def _support(inverse: Tensor, reduction: Tensor | None) -> Tensor:
    """Half-widths [P,2] of the triangle along source x and y, by `inverse` [P,3,3].

    A mean over r original pixels has the variance (1 - 1/r^2) / 12 of its own pixels squared; a triangle of half-width
    f has f^2 / 6 and is narrowed until both together have that.
    """
    squared = inverse[:, :2, :2].square().sum(dim=2)
    if reduction is not None:
        squared = squared - (1 - 1 / reduction[:, None].double() ** 2) / 2
    return squared.clamp(min=1).sqrt()


def _places(inverse: Tensor) -> Tensor:
    """float64 [P,8]: the two rows that matter of matrices canvas px -> source px [P,3,3]."""
    places = inverse.new_zeros(len(inverse), _PLACE.value)
    places[:, :6] = inverse[:, :2].flatten(1)
    return places


def _numbers(images: RaggedImages, size: Size, region: Tensor | None, mirror: Tensor | None, support: Tensor) -> Tensor:
    """int64 [P,14]: offset, height, width, region, mirror, taps along x and y, whether there are mirrors."""
    numbers = torch.zeros(len(images), _NUMBER.value, dtype=torch.int64)
    numbers[:, 0] = images.offset
    numbers[:, 1:3] = images.size
    numbers[:, 3:7] = torch.tensor([0, 0, size[1], size[0]]) if region is None else region
    numbers[:, 11:13] = (2 * support).ceil()
    if mirror is not None:
        numbers[:, 7:11] = mirror
        numbers[:, 13] = (mirror[:, 2:] > mirror[:, :2]).all(dim=1)
    return numbers


def _weights(support: Tensor, colour: Tensor | None) -> Tensor:
    """float32 [P,16]: half-widths along x and y, rows of the colour matrix."""
    weights = torch.zeros(len(support), _WEIGHT.value)
    weights[:, :2] = support
    if colour is not None:
        weights[:, 2:14] = colour.flatten(1)
    return weights


def _by_canvas(canvas: Tensor, count: int) -> tuple[Tensor, Tensor]:
    """An order [P] of patches by canvas, that of the list within each, and where in it each begins: int32 [B+1]."""
    first = torch.zeros(count + 1, dtype=torch.int32)
    first[1:] = canvas.bincount(minlength=count).cumsum(0)
    return canvas.argsort(stable=True), first


def _carry(tables: Sequence[Tensor], device: torch.device) -> list[Tensor]:
    """All tables to `device` in one copy, flat; it waits for nothing that the device is doing."""
    flat = [table.flatten().view(torch.uint8) for table in tables]
    joined = torch.cat(flat)
    if device.type == "cuda":
        joined = joined.pin_memory()
    pieces = joined.to(device, non_blocking=True).split([len(piece) for piece in flat])
    return [piece.view(table.dtype) for piece, table in zip(pieces, tables, strict=True)]


def _launch(
    kernel: Any, data: Tensor, tables: Sequence[Tensor], out: Tensor, size: Size, *scalars: float, **options: int
) -> None:
    """One program a tile of each canvas."""
    tiles = triton.cdiv(size[0], _TILE["rows"]) * triton.cdiv(size[1], _TILE["columns"])
    if len(out):
        with torch.cuda.device_of(out):
            grid = (tiles, len(out))
            kernel[grid](data, *tables, out, *size, *scalars, **options, **_TILE, enable_fp_fusion=False)


@triton.jit
def _warp_kernel(
    data,
    places,
    numbers,
    weights,
    first,
    out,
    height,
    width,
    fill,
    red_gain,
    green_gain,
    blue_gain,
    red_offset,
    green_offset,
    blue_offset,
    has_colour: tl.constexpr,
    has_mirror: tl.constexpr,
    rows: tl.constexpr,
    columns: tl.constexpr,
):
    canvas = tl.program_id(1)
    top, left = _corner(width, rows, columns)
    row = top + tl.arange(0, rows)[:, None]
    column = left + tl.arange(0, columns)[None, :]
    red = tl.zeros((rows, columns), tl.float32) + fill
    green = red
    blue = red
    for patch in range(tl.load(first + canvas), tl.load(first + canvas + 1)):
        number = numbers + patch * _NUMBER
        if _meets(number + _REGION, top, left, rows, columns):
            x, x_rest, y, y_rest = _source(places + patch * _PLACE, row, column)
            painted = _inside(number, x, y)
            if has_mirror:
                painted = painted | _in_rectangle(number + _MIRROR, row, column)
            painted = painted & _in_rectangle(number + _REGION, row, column)
            if tl.max(painted.to(tl.int32)) > 0:
                weight = weights + patch * _WEIGHT
                across, down = _integer(number + _TAPS), _integer(number + _TAPS + 1)
                if (across == 2) & (down == 2):  # nothing is shrunk: no loops are needed
                    r, g, b = _gather(data, number, weight, x, x_rest, y, y_rest, painted, 2, 2, has_mirror)
                else:
                    r, g, b = _gather(data, number, weight, x, x_rest, y, y_rest, painted, across, down, has_mirror)
                if has_colour:
                    r, g, b = _recolour(weight + 2, r, g, b)
                red = tl.where(painted, r, red)
                green = tl.where(painted, g, green)
                blue = tl.where(painted, b, blue)
    there = (row < height) & (column < width)
    pixel = out + canvas.to(tl.int64) * (height * width * 3) + (row * width + column) * 3
    tl.store(pixel, tl.fma(red, red_gain, red_offset), mask=there)
    tl.store(pixel + 1, tl.fma(green, green_gain, green_offset), mask=there)
    tl.store(pixel + 2, tl.fma(blue, blue_gain, blue_offset), mask=there)


@triton.jit
def _nearest_kernel(
    data, places, numbers, first, out, height, width, ignored: tl.constexpr, rows: tl.constexpr, columns: tl.constexpr
):
    canvas = tl.program_id(1)
    top, left = _corner(width, rows, columns)
    row = top + tl.arange(0, rows)[:, None]
    column = left + tl.arange(0, columns)[None, :]
    index = tl.full((rows, columns), ignored, tl.uint8)
    for patch in range(tl.load(first + canvas), tl.load(first + canvas + 1)):
        number = numbers + patch * _NUMBER
        if _meets(number + _REGION, top, left, rows, columns):
            x, _, y, _ = _source(places + patch * _PLACE, row, column)
            within = _in_rectangle(number + _REGION, row, column)
            pixel = data + tl.load(number) + y.to(tl.int64) * tl.load(number + 2) + x
            value = tl.load(pixel, mask=within & _inside(number, x, y), other=ignored)
            index = tl.where(within, value, index)
    there = (row < height) & (column < width)
    tl.store(out + canvas.to(tl.int64) * (height * width) + row * width + column, index, mask=there)


@triton.jit
def _corner(width, rows: tl.constexpr, columns: tl.constexpr):
    """Row and column of this program's first canvas pixel."""
    tile = tl.program_id(0)
    across = tl.cdiv(width, columns)
    return tile // across * rows, tile % across * columns


@triton.jit
def _integer(number):
    """A value of the table that is no offset: it fits into 32 bits, with which all work is cheaper."""
    return tl.load(number).to(tl.int32)


@triton.jit
def _meets(rectangle, top, left, rows: tl.constexpr, columns: tl.constexpr):
    """Whether the tile and a `rectangle` of the table have pixels in common."""
    across = (_integer(rectangle) < left + columns) & (left < _integer(rectangle + 2))
    down = (_integer(rectangle + 1) < top + rows) & (top < _integer(rectangle + 3))
    return across & down


@triton.jit
def _in_rectangle(rectangle, row, column):
    across = (column >= _integer(rectangle)) & (column < _integer(rectangle + 2))
    down = (row >= _integer(rectangle + 1)) & (row < _integer(rectangle + 3))
    return across & down


@triton.jit
def _source(place, row, column):
    """Where the centres of canvas pixels lie in the source: whole pixels and the rest, along x, then along y."""
    across = column.to(tl.float64) + 0.5
    down = row.to(tl.float64) + 0.5
    x = tl.load(place) * across + tl.load(place + 1) * down + tl.load(place + 2)
    y = tl.load(place + 3) * across + tl.load(place + 4) * down + tl.load(place + 5)
    x_whole, y_whole = tl.floor(x), tl.floor(y)
    return x_whole.to(tl.int32), (x - x_whole).to(tl.float32), y_whole.to(tl.int32), (y - y_whole).to(tl.float32)


@triton.jit
def _inside(number, x, y):
    return (x >= 0) & (x < _integer(number + 2)) & (y >= 0) & (y < _integer(number + 1))


@triton.jit
def _gather(data, number, weight, x, x_rest, y, y_rest, painted, across, down, has_mirror: tl.constexpr):
    """Red, green and blue in [0,1] of so many taps around source points; where not `painted`, anything."""
    source = data + tl.load(number)
    height, width, mirrored = _integer(number + 1), _integer(number + 2), _integer(number + 13) > 0
    x_slope, x_first, x_start = _triangle(tl.load(weight), x, x_rest, width, mirrored)
    y_slope, y_first, y_start = _triangle(tl.load(weight + 1), y, y_rest, height, mirrored)
    red = tl.zeros_like(x_rest)
    green = red
    blue = red
    for step in range(down):
        y_weight, y_pixel = _tap(step, y_slope, y_first, y_start, height, mirrored, has_mirror)
        line = source + y_pixel.to(tl.int64) * (3 * width)
        # Sums of single lines first: over all taps of a large image at once, float32 would stop growing.
        line_red = tl.zeros_like(x_rest)
        line_green = line_red
        line_blue = line_red
        for pair in range(0, across, 2):
            for one in tl.static_range(2):  # there are two at least, and both are on their way at once
                x_weight, x_pixel = _tap(pair + one, x_slope, x_first, x_start, width, mirrored, has_mirror)
                at = line + x_pixel * 3
                line_red = tl.fma(x_weight, _level(at), line_red)
                line_green = tl.fma(x_weight, _level(at + 1), line_green)
                line_blue = tl.fma(x_weight, _level(at + 2), line_blue)
        red = tl.fma(y_weight, line_red, red)
        green = tl.fma(y_weight, line_green, green)
        blue = tl.fma(y_weight, line_blue, blue)
    total = _total(across, x_slope, x_first, x_start, width, mirrored, has_mirror)
    total *= _total(down, y_slope, y_first, y_start, height, mirrored, has_mirror)
    scale = 1 / (255 * tl.where(painted, total, 1.0))
    return red * scale, green * scale, blue * scale


@triton.jit
def _level(pointer):
    """A byte as float32, by the bits of 2^23 + byte: conversions are slow on many devices."""
    return (tl.load(pointer).to(tl.int32) | 0x4B000000).to(tl.float32, bitcast=True) - 8388608.0


@triton.jit
def _total(taps, slope, first, start, length, mirrored, has_mirror: tl.constexpr):
    """The sum of the weights along one axis."""
    total = tl.zeros_like(start)
    for step in range(taps):
        total += _tap(step, slope, first, start, length, mirrored, has_mirror)[0]
    return total


@triton.jit
def _triangle(support, whole, rest, length, mirrored):
    """Slope of a triangle around `whole + rest`, the first pixel under it, and the distance of that one's centre."""
    # Beyond the edge the image continues as its edge pixel: centres there move onto it.
    rest = tl.where((whole <= 0) & (mirrored == 0), tl.maximum(rest, 0.5), rest)
    rest = tl.where((whole >= length - 1) & (mirrored == 0), tl.minimum(rest, 0.5), rest)
    first = tl.floor(rest - 0.5 - support) + 1
    return 1 / support, whole + first.to(tl.int32), first + 0.5 - rest


@triton.jit
def _tap(step, slope, first, start, length, mirrored, has_mirror: tl.constexpr):
    """Weight and pixel of a tap, so many steps from the first; it is always a pixel of the image."""
    weight = tl.maximum(tl.fma(tl.abs(start + step), -slope, 1.0), 0.0)
    pixel = first + step
    known = pixel.to(tl.uint32) < length.to(tl.uint32)  # negative ones are large
    if has_mirror:
        known = known | mirrored
        pixel = _fold(pixel, length)
    return tl.where(known, weight, 0.0), tl.minimum(tl.maximum(pixel, 0), length - 1)


@triton.jit
def _fold(pixel, length):
    """Pixels of an endless row of mirror images, as those of the first."""
    pixel = pixel % (2 * length)
    pixel = tl.where(pixel < 0, pixel + 2 * length, pixel)  # the remainder has the sign of what is divided
    return tl.minimum(pixel, 2 * length - 1 - pixel)


@triton.jit
def _recolour(colour, red, green, blue):
    """By the rows of a colour matrix [3,4], clamped."""
    return _mixed(colour, red, green, blue), _mixed(colour + 4, red, green, blue), _mixed(colour + 8, red, green, blue)


@triton.jit
def _mixed(row, red, green, blue):
    value = tl.load(row) * red + tl.load(row + 1) * green + tl.load(row + 2) * blue + tl.load(row + 3)
    return tl.minimum(tl.maximum(value, 0.0), 1.0)
