"""The fused kernels beside the float64 definition, torch, torchvision and Pillow: in Triton's interpreter, and on CUDA.

Triton decides when it is imported whether kernels are interpreted, and other tests may have imported it already. So
those that are go to a process of their own.
"""

from __future__ import annotations

import multiprocessing
import os
import pickle
import re
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from importlib.metadata import version
from itertools import pairwise
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F
from torchvision.transforms.v2 import functional as TF

import vision_tasks
from vision_tasks.geometry import affine, affines, centred, crop, letterbox, scale, translate
from vision_tasks.types import IGNORE, Masks, RaggedImages
from vision_tasks.warp import BORDER, warp_reference

CANVAS = (8, 32)  # one tile: the interpreter takes a tenth of a second for each
TILED = (20, 40)  # six, of which some are whole and some are not
LEVEL = 1 / 255

Run = Callable[..., Tensor]  # the name of a function of warp_triton, then its arguments


def run_here(work: bytes) -> bytes:
    """Call a function of `warp_triton` by name."""
    from vision_tasks import warp_triton

    name, arguments, options = pickle.loads(work)
    return pickle.dumps(getattr(warp_triton, name)(*arguments, **options))


@pytest.fixture(
    scope="module",
    params=[
        "interpreter",
        pytest.param(
            "cuda",
            marks=[
                pytest.mark.cuda,
                pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device"),
            ],
        ),
    ],
)
def run(request: pytest.FixtureRequest) -> Iterator[Run]:
    if request.param == "cuda":
        yield run_on_cuda
        return
    if _release("triton") < (3, 7) and _release("numpy") >= (2, 4):
        pytest.skip("this Triton's interpreter can't read the numbers of this numpy (triton's issue 9171)")
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        with mock.patch.dict(os.environ, {"TRITON_INTERPRET": "1"}):
            pool.submit(os.getpid).result()  # the process starts with its first work
        yield lambda name, *arguments, **options: pickle.loads(
            pool.submit(run_here, pickle.dumps((name, arguments, options))).result()
        )


def _release(package: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version(package).split(".")[:2])


def run_on_cuda(name: str, images: RaggedImages, *arguments: Any, **options: Any) -> Tensor:
    from vision_tasks import warp_triton

    result: Tensor = getattr(warp_triton, name)(images.to("cuda"), *arguments, **options)
    return result.cpu()


def picture(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise: what a wrong weight or pixel shows in first."""
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8)


def definition(
    pictures: list[np.ndarray],
    canvas: list[int],
    matrices: list[np.ndarray],
    count: int,
    size: tuple[int, int] = CANVAS,
    colour: Tensor | None = None,
    region: Tensor | None = None,
    mirror: Tensor | None = None,
) -> Tensor:
    """What `warp_batch` must give, float64 [B,3,H,W]: one reference after another."""
    out = torch.full((count, 3, *size), BORDER / 255, dtype=torch.float64)
    for index, (pixels, target, matrix) in enumerate(zip(pictures, canvas, matrices, strict=True)):
        rectangle = None if mirror is None or not mirror[index].any() else tuple(mirror[index].tolist())
        source = torch.from_numpy(pixels).permute(2, 0, 1) / 255.0
        value = warp_reference(source, torch.from_numpy(matrix), size, fill=-1, mirror=rectangle)
        painted = value[0] >= 0
        if region is not None:
            x0, y0, x1, y1 = region[index].tolist()
            within = torch.zeros(size, dtype=torch.bool)
            within[y0:y1, x0:x1] = True
            painted &= within
        if colour is not None:
            rows = colour[index].double()
            value = (torch.einsum("rc,chw->rhw", rows[:, :3], value) + rows[:, 3, None, None]).clamp(0, 1)
        out[target] = torch.where(painted, value, out[target])
    return out


def warp(run: Run, pictures: list[np.ndarray], canvas: list[int], matrices: list[np.ndarray], count: int,
         size: tuple[int, int] = CANVAS, **options: Any) -> Tensor:  # fmt: skip
    stacked = torch.from_numpy(np.array(matrices).reshape(-1, 3, 3))
    return run("warp_batch", RaggedImages.pack(pictures), torch.tensor(canvas, dtype=torch.int32), stacked, size,
               count, **options)  # fmt: skip


def placements(size: tuple[int, int], canvas: tuple[int, int], seed: int) -> dict[str, np.ndarray]:
    """The ways in which an image of `size` may lie on a canvas."""
    height, width = size
    luck = np.random.default_rng(seed)
    fit = letterbox(size, canvas)
    turn = affines([luck.uniform(0, 6.3)], [luck.uniform(0.5, 1.5)], [0.2], [-0.1], [luck.random() < 0.5], [False])[0]
    return {
        "letterbox": fit,
        "crop": crop((0.1 * width, 0.2 * height, 0.83 * width, 0.9 * height), canvas),
        "flip": affine(-1, 0, canvas[1], 0, 1, 0) @ fit,
        "turned": centred(turn, canvas) @ fit,
        "sheared": centred(affine(0.9, 0.4, 3, -0.3, 1.1, -2), canvas) @ fit,
        "enlarged": scale(7.3, 5.1) @ translate(-0.4 * width, -0.4 * height),
        "narrow": centred(affine(0.2, 0, 0, 0, 1.5, 0), canvas) @ fit,
        "quarter": translate(canvas[1] / 2, 0) @ affine(0, -1, 0, 1, 0, 0) @ scale(8 / width, 20 / height),
        "beside": translate(1000, 0) @ fit,
    }


@pytest.mark.parametrize("size", [(1, 1), (1, 50), (30, 1), (2, 3), (8, 32), (25, 36)], ids=str)
def test_equals_the_definition(run, size):
    matrices = list(placements(size, CANVAS, seed=sum(size)).values())
    pictures = [picture(*size, seed) for seed in range(len(matrices))]
    canvas = list(range(len(matrices)))
    ours = warp(run, pictures, canvas, matrices, len(matrices))
    assert ours.shape == (len(matrices), 3, *CANVAS)
    assert (ours - definition(pictures, canvas, matrices, len(matrices))).abs().max() < 0.01 * LEVEL


@pytest.mark.parametrize(
    ("size", "part"), [((40, 8000), (4000, 10, 8000, 18)), ((8000, 40), (4, 7300, 36, 8000))], ids=["wide", "high"]
)
def test_eight_thousand_pixels(run, size, part):
    """The far end, turned and enlarged, where coordinates have few bits left; and a long part shrunk."""
    turn = affines([0.3], [1.7], [0.1], [0.0], [False], [True])[0]
    matrices = [translate(16, 4) @ turn @ translate(10 - size[1], 10 - size[0]), crop(part, CANVAS)]
    pictures = [picture(*size, seed) for seed in range(2)]
    ours = warp(run, pictures, [0, 1], matrices, 2)
    expected = definition(pictures, [0, 1], matrices, 2)
    assert (expected[0, 0] != BORDER / 255).float().mean() > 0.9
    assert (ours - expected).abs().max() < 0.01 * LEVEL


def test_grown_images_equal_those_of_torch(run):
    pixels = picture(9, 14)
    ours = warp(run, [pixels], [0], [scale(3, 2)], 1, (18, 42))
    expected = F.interpolate(torch.from_numpy(pixels).permute(2, 0, 1)[None] / 255.0, (18, 42), mode="bilinear")
    torch.testing.assert_close(ours, expected, atol=1e-5, rtol=0)


@pytest.mark.parametrize("size", [(18, 30), (29, 61)], ids=str)
def test_shrunk_images_equal_those_of_torchvision(run, size):
    pixels = picture(*size)
    ours = warp(run, [pixels], [0], [scale(11 / size[1], 7 / size[0])], 1, (7, 11))
    image = torch.from_numpy(pixels).permute(2, 0, 1)[None].double() / 255
    # torchvision cuts its triangle at the edge, we continue the edge.
    inner = (..., slice(1, -1), slice(1, -1))
    expected = TF.resize(image, [7, 11], antialias=True).float()
    torch.testing.assert_close(ours[inner], expected[inner], atol=1e-5, rtol=0)


def test_colours_are_mixed_and_clamped(run):
    luck = torch.Generator().manual_seed(0)
    colour = torch.cat([torch.eye(3)[None], torch.zeros(1, 3, 1)], dim=2).repeat(4, 1, 1)
    colour[1:] += torch.randn(3, 3, 4, generator=luck) * 0.8
    pictures = [picture(10, 40, seed) for seed in range(4)]
    matrices = list(placements((10, 40), CANVAS, seed=3).values())[:4]
    ours = warp(run, pictures, [0, 1, 2, 3], matrices, 4, colour=colour)
    expected = definition(pictures, [0, 1, 2, 3], matrices, 4, colour=colour)
    assert (expected == 0).any()
    assert (expected == 1).any()
    assert (ours - expected).abs().max() < 0.01 * LEVEL


def test_patches_share_a_canvas_by_their_regions(run):
    """A mosaic, a canvas that nothing is painted on, one with two patches, listed in any order."""
    pictures = [picture(25 + seed, 60 - seed, seed) for seed in range(6)]
    canvas = [2, 0, 2, 2, 0, 2]
    fits = [letterbox(pixels.shape[:2], TILED) for pixels in pictures]
    matrices = [translate(3 * index - 8, index) @ fit for index, fit in enumerate(fits)]
    region = torch.tensor([[0, 0, 17, 9], [0, 0, 40, 20], [17, 0, 40, 9], [0, 9, 17, 20], [5, 5, 5, 15],
                           [17, 9, 40, 20]], dtype=torch.int32)  # fmt: skip
    ours = warp(run, pictures, canvas, matrices, 3, TILED, region=region)
    assert (ours - definition(pictures, canvas, matrices, 3, TILED, region=region)).abs().max() < 0.01 * LEVEL
    assert (ours[1] == np.float32(BORDER / 255)).all()


def test_the_later_of_two_patches_covers_the_earlier(run):
    pictures = [np.full((4, 4, 3), level, np.uint8) for level in (51, 102, 153)]
    fill = crop((0, 0, 4, 4), CANVAS)
    small = torch.tensor([[0, 0, 32, 8], [0, 0, 32, 8], [3, 3, 10, 6]])
    ours = warp(run, pictures, [0, 0, 0], [fill, fill, fill], 1, region=small) * 255
    assert ours[0, :, 3:6, 3:10].round().unique().tolist() == [153]
    assert ours[0, :, 6:].round().unique().tolist() == [102]


@pytest.mark.parametrize("size", [(1, 1), (2, 7), (25, 35)], ids=str)
def test_mirror_images_equal_the_definition(run, size):
    fit = letterbox(size, CANVAS)
    turn = centred(affine(0.8, 0.5, 3, -0.5, 0.8, -2), CANVAS)
    matrices = [translate(-13, 3) @ fit, turn @ fit, translate(150, -70) @ fit, turn @ fit]
    mirror = torch.tensor([[0, 0, 32, 8], [5, 3, 26, 7], [0, 0, 32, 8], [0, 0, 0, 0]])
    pictures = [picture(*size, seed) for seed in range(4)]
    ours = warp(run, pictures, [0, 1, 2, 3], matrices, 4, mirror=mirror)
    expected = definition(pictures, [0, 1, 2, 3], matrices, 4, mirror=mirror)
    assert (ours - expected).abs().max() < 0.01 * LEVEL


def test_empty_batches(run):
    assert warp(run, [], [], [], 0).shape == (0, 3, *CANVAS)
    assert (warp(run, [], [], [], 2) == np.float32(BORDER / 255)).all()
    assert (masks(run, [], [], [], 2) == IGNORE).all()
    assert masks(run, [], [], [], 0).shape == (0, *CANVAS)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_number_types_and_normalisation(run, dtype):
    pixels, matrix = picture(30, 40), letterbox((30, 40), CANVAS)
    exact = definition([pixels], [0], [matrix], 1)
    ours = warp(run, [pixels], [0], [matrix], 1, dtype=dtype)
    assert ours.dtype == dtype
    assert ours.is_contiguous(memory_format=torch.channels_last)
    assert (ours.double() - exact).abs().max() < LEVEL
    mean, std = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
    normalised = warp(run, [pixels], [0], [matrix], 1, dtype=dtype, mean=mean, std=std)
    torch.testing.assert_close(normalised.double(), TF.normalize(exact, list(mean), list(std)),
                               atol=1e-5 if dtype == torch.float32 else LEVEL / 0.22, rtol=0)  # fmt: skip


def test_a_batch_equals_its_images(run):
    sizes = [(30, 40), (7, 60), (40, 5)]
    pictures = [picture(*size, seed) for seed, size in enumerate(sizes)]
    matrices = [placements(size, CANVAS, 5)["turned"] for size in sizes]
    together = warp(run, pictures, [0, 1, 2], matrices, 3)
    alone = [warp(run, [pixels], [0], [matrix], 1) for pixels, matrix in zip(pictures, matrices, strict=True)]
    assert torch.equal(together, torch.cat(alone))


def test_the_low_pass_of_a_reduced_original_counts(run):
    """Means of 4x4 pixels, as a JPEG decoder makes, then the kernel: beside Pillow's resize of the whole original."""
    luck = np.random.default_rng(0)
    coarse = luck.integers(0, 256, (16, 32, 3), np.uint8)
    full = np.asarray(Image.fromarray(coarse).resize((256, 128), Image.Resampling.BICUBIC))
    reduced = full.reshape(32, 4, 64, 4, 3).mean(axis=(1, 3)).round().astype(np.uint8)
    pillow = np.asarray(Image.fromarray(full).resize((32, 16), Image.Resampling.BILINEAR), float)
    matrix = crop((0, 0, 64, 32), (16, 32))

    def error(**options: Any) -> float:
        ours = warp(run, [reduced], [0], [matrix], 1, (16, 32), **options)[0].permute(1, 2, 0) * 255
        return float(((ours.numpy() - pillow) ** 2).mean())

    matched, plain = error(reduction=torch.tensor([4])), error()
    assert 10 * np.log10(255**2 / matched) > 40
    assert matched < plain / 4


def masks(run: Run, maps: list[np.ndarray], canvas: list[int], matrices: list[np.ndarray], count: int,
          size: tuple[int, int] = CANVAS, **options: Any) -> Tensor:  # fmt: skip
    stacked = torch.from_numpy(np.array(matrices).reshape(-1, 3, 3))
    return run("warp_masks_batch", RaggedImages.pack(maps), torch.tensor(canvas, dtype=torch.int32), stacked, size,
               count, **options)  # fmt: skip


@pytest.mark.parametrize("size", [(1, 1), (1, 90), (2, 3), (37, 53), (120, 160), (2, 8000)], ids=str)
def test_masks_equal_those_of_the_target(run, size):
    """To the last bit, also where centres fall onto edges: wholes, thirds, sevenths, quarter turns."""
    ties = [scale(1 / step, 1 / step) for step in (1, 2, 3, 6, 7, 14)] + [scale(2, 3), affine(0, 1, 0, -1, 0, 8)]
    matrices = [*placements(size, CANVAS, seed=7).values(), *ties]
    maps = [np.random.default_rng(seed).integers(0, 256, size, np.uint8) for seed in range(len(matrices))]
    ours = masks(run, maps, list(range(len(maps))), matrices, len(maps))
    for index, matrix in enumerate(matrices):
        expected = Masks(torch.from_numpy(maps[index])[None], 255).warp(torch.from_numpy(matrix)[None], CANVAS)
        assert torch.equal(ours[index], expected.index[0])


def test_masks_of_a_mosaic_equal_those_that_targets_paste(run):
    maps = [np.random.default_rng(seed).integers(0, 9, (30, 25), np.uint8) for seed in range(4)]
    matrices = [translate(4 * index, -index) @ letterbox((30, 25), TILED) for index in range(4)]
    region = torch.tensor([[0, 0, 17, 9], [17, 0, 40, 9], [0, 9, 17, 20], [10, 9, 40, 20]])
    ours = masks(run, maps, [0, 0, 0, 0], matrices, 1, TILED, region=region)
    expected = Masks(torch.zeros(1, *TILED, dtype=torch.uint8), 9).blank(TILED)
    for pixels, matrix, (x0, y0, x1, y1) in zip(maps, matrices, region.tolist(), strict=True):
        where = torch.zeros(1, *TILED, dtype=torch.bool)
        where[:, y0:y1, x0:x1] = True
        patch = Masks(torch.from_numpy(pixels)[None], 9).warp(torch.from_numpy(matrix)[None], TILED)
        expected = expected.paste(patch, where)
    assert torch.equal(ours, expected.index)


def test_ragged_images_lie_one_behind_another():
    pictures = [picture(2, 3), picture(5, 1), picture(1, 1)]
    ragged = RaggedImages.pack(pictures)
    assert len(ragged) == 3
    assert ragged.offset.tolist() == [0, 18, 33]
    assert ragged.size.tolist() == [[2, 3], [5, 1], [1, 1]]
    ends = [*ragged.offset.tolist(), len(ragged.data)]
    for (start, end), pixels in zip(pairwise(ends), pictures, strict=True):
        assert np.array_equal(ragged.data[start:end].view(*pixels.shape), pixels)


def test_nothing_else_needs_triton():
    package = Path(vision_tasks.__file__).parent
    files = {path.name: path.read_text() for path in package.rglob("*.py")}
    found = [name for name, text in files.items() if re.search(r"^\s*(import|from) triton", text, re.MULTILINE)]
    assert found == ["warp_triton.py"]


@pytest.mark.skipif(os.environ.get("TRITON_INTERPRET") == "1", reason="kernels are interpreted")
@pytest.mark.parametrize(
    ("name", "capability", "mirrors"),
    [("_warp_kernel", 80, True), ("_warp_kernel", 90, False), ("_nearest_kernel", 80, False)],
)
def test_kernels_compile_for_devices_that_are_not_here(name, capability, mirrors, tmp_path):
    """For Ampere (8.0) and Hopper (9.0), to machine code, by the compiler that Triton brings along."""
    triton = pytest.importorskip("triton")
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    from vision_tasks import warp_triton

    kernel = getattr(warp_triton, name)
    constants = {"has_colour": True, "has_mirror": mirrors, "ignored": IGNORE, "rows": 8, "columns": 32}
    constants = {key: value for key, value in constants.items() if key in kernel.arg_names}
    pointers = {"data": "*u8", "places": "*fp64", "numbers": "*i64", "weights": "*fp32", "first": "*i32",
                "out": "*bf16" if name == "_warp_kernel" else "*u8", "height": "i32", "width": "i32"}  # fmt: skip
    signature = {key: "constexpr" if key in constants else pointers.get(key, "fp32") for key in kernel.arg_names}
    source = ASTSource(kernel, signature, {(kernel.arg_names.index(key),): value for key, value in constants.items()})
    with mock.patch.dict(os.environ, {"TRITON_CACHE_DIR": str(tmp_path)}):
        compiled = triton.compile(source, target=GPUTarget("cuda", capability, 32), options={"enable_fp_fusion": False})
    assert compiled.asm["cubin"]
