"""Every geometric step, and all of them together, against torchvision v2: images, boxes and masks.

Two choices differ from torchvision by design, and the tests say where: shrinking is antialiased here in every step, and
a box of which too little is in sight is dropped.
"""

from math import atan2, degrees, tan

import numpy as np
import pytest
import torch
from torchvision import tv_tensors
from torchvision.transforms.v2 import functional as TF

from vision_tasks import luck
from vision_tasks.augment.plan import Planner
from vision_tasks.config import Policy
from vision_tasks.geometry import affines, centred
from vision_tasks.types import IGNORE, Boxes, Masks
from vision_tasks.warp import BORDER, warp_into, warp_reference

SIZE = (48, 64)
BILINEAR = TF.InterpolationMode.BILINEAR
TURN = {"angle": 0.0, "translate": [0, 0], "scale": 1.0, "shear": [0.0, 0.0]}


def affine(item, **steps):
    kind = {} if isinstance(item, tv_tensors.BoundingBoxes | tv_tensors.Mask) else {"interpolation": BILINEAR}
    fill = {"fill": IGNORE} if isinstance(item, tv_tensors.Mask) else {}
    return TF.affine(item, **TURN | steps, **kind, **fill)


def angle(m):
    return degrees(atan2(m[1, 0], m[0, 0]))


# What the policy asks for, and torchvision's word for what the matrix then must do.
STEPS = {
    "flip_x": (Policy(flip_x=1.0), lambda item, _: TF.horizontal_flip(item)),
    "flip_y": (Policy(flip_y=1.0), lambda item, _: TF.vertical_flip(item)),
    "rotate": (Policy(rotate=60), lambda item, m: affine(item, angle=angle(m))),
    "zoom": (Policy(zoom=(1.05, 1.6)), lambda item, m: affine(item, scale=m[0, 0])),
    "shift": (Policy(shift=0.4), lambda item, m: affine(item, translate=[m[0, 2], m[1, 2]])),
}


def matrices(policy: Policy, count: int = 6) -> list[np.ndarray]:
    planner = Planner(policy, SIZE, "stretch", luck.keys(map(str, range(count))), seed=1, epochs=1)
    return [canvas[0].place(SIZE) for canvas in planner.plan(0, np.arange(count))]


def noise(channels: int = 3) -> torch.Tensor:
    return torch.rand(channels, *SIZE, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


def interior(matrix, margin: float = 1.0) -> torch.Tensor:
    """bool [H,W]: centres that come from at least `margin` pixels inside the image."""
    y, x = np.mgrid[: SIZE[0], : SIZE[1]] + 0.5
    u, v, _ = np.linalg.inv(matrix) @ np.stack([x.ravel(), y.ravel(), np.ones(x.size)])
    inside = (u > margin) & (u < SIZE[1] - margin) & (v > margin) & (v < SIZE[0] - margin)
    assert inside.mean() > 0.2
    return torch.from_numpy(inside.reshape(SIZE))


def by_cpu(image: torch.Tensor, matrix) -> torch.Tensor:
    """`warp_into` of `image` [3,H,W] in [0,1]."""
    canvas = np.full((*SIZE, 3), BORDER, np.uint8)
    warp_into(canvas, (image * 255).round().to(torch.uint8).permute(1, 2, 0).numpy(), matrix)
    return torch.from_numpy(canvas).permute(2, 0, 1) / 255


def many_boxes() -> torch.Tensor:
    generator = torch.Generator().manual_seed(3)
    corner = torch.rand(40, 2, generator=generator) * torch.tensor([50.0, 36.0])
    return torch.cat([corner, corner + 2 + 10 * torch.rand(40, 2, generator=generator)], dim=1)


def as_boxes(xyxy: torch.Tensor):
    return tv_tensors.BoundingBoxes(xyxy, format="XYXY", canvas_size=SIZE, clamping_mode=None)


def area(xyxy: torch.Tensor) -> torch.Tensor:
    return (xyxy[:, 2] - xyxy[:, 0]) * (xyxy[:, 3] - xyxy[:, 1])


def check_boxes(matrix, expected) -> None:
    """Ours warped by `matrix` must be torchvision's `expected`, clipped, less those of which a tenth isn't seen."""
    ours = Boxes.single(many_boxes(), torch.zeros(40)).warp(torch.from_numpy(matrix)[None], SIZE)
    clipped = TF.clamp_bounding_boxes(expected, clamping_mode="hard").as_subclass(torch.Tensor)
    share = area(clipped) / area(expected.as_subclass(torch.Tensor))
    clear = (share - 0.1).abs() > 1e-3
    assert torch.equal(ours.valid[0][clear], (share > 0.1)[clear])
    torch.testing.assert_close(ours.xyxy[0][ours.valid[0]], clipped[ours.valid[0]], atol=1e-3, rtol=0)


def check_mask(matrix, expected_of) -> None:
    """Nearest pixels, but for the few centres that float32 puts on the other side of a pixel's edge."""
    index = torch.randint(0, 9, (1, *SIZE), dtype=torch.uint8, generator=torch.Generator().manual_seed(4))
    ours = Masks(index, 9).warp(torch.from_numpy(matrix)[None], SIZE).index
    theirs = expected_of(tv_tensors.Mask(index)).as_subclass(torch.Tensor)
    assert (ours == IGNORE).float().mean() < 0.8
    assert (ours == theirs).float().mean() > 0.998


@pytest.mark.parametrize("name", ["flip_x", "flip_y"])
def test_flips_equal_torchvision_exactly(name):
    policy, theirs = STEPS[name]
    (matrix,) = matrices(policy, 1)
    image = noise()
    assert torch.equal(warp_reference(image, torch.from_numpy(matrix), SIZE), theirs(image, matrix))
    bytes_of = (image * 255).round() / 255
    assert torch.equal(by_cpu(image, matrix), theirs(bytes_of, matrix).float())


@pytest.mark.parametrize("name", ["rotate", "zoom", "shift"])
def test_images_equal_torchvision_inside(name):
    policy, theirs = STEPS[name]
    for matrix in matrices(policy):
        image, inside = noise(), interior(matrix)
        expected = theirs(image, matrix)[:, inside]
        exact = warp_reference(image, torch.from_numpy(matrix), SIZE)[:, inside]
        torch.testing.assert_close(exact, expected, atol=1e-5, rtol=0)
        # Bytes in, bytes out.
        assert (by_cpu(image, matrix)[:, inside] - expected).abs().max() <= 1.5 / 255


@pytest.mark.parametrize("name", list(STEPS))
def test_boxes_equal_torchvision(name):
    policy, theirs = STEPS[name]
    for matrix in matrices(policy):
        check_boxes(matrix, theirs(as_boxes(many_boxes()), matrix))


@pytest.mark.parametrize("name", list(STEPS))
def test_masks_equal_torchvision(name):
    policy, theirs = STEPS[name]
    for matrix in matrices(policy):
        check_mask(matrix, lambda mask, theirs=theirs, matrix=matrix: theirs(mask, matrix))


@pytest.mark.parametrize(("x", "y"), [(12.0, 0.0), (-20.0, 0.0), (0.0, 9.0), (0.0, -15.0)])
def test_shear_along_one_axis_equals_torchvision(x, y):
    """Its angles count the other way. Enlarged a little, or the shear's shrinking would be antialiased here."""
    no, tangents = np.array([False]), np.tan(np.radians([[x], [y]]))
    matrix = centred(affines(np.zeros(1), np.array([1.2]), *tangents, no, no)[0], SIZE)
    shear = {"scale": 1.2, "shear": [-x, -y]}
    image, inside = noise(), interior(matrix)
    expected = affine(image, **shear)[:, inside]
    exact = warp_reference(image, torch.from_numpy(matrix), SIZE)[:, inside]
    torch.testing.assert_close(exact, expected, atol=1e-5, rtol=0)
    assert (by_cpu(image, matrix)[:, inside] - expected).abs().max() <= 1.5 / 255
    check_boxes(matrix, affine(as_boxes(many_boxes()), **shear))
    check_mask(matrix, lambda mask: affine(mask, **shear))


def test_shears_along_both_axes_are_drawn_apart():
    linear = np.array([matrix[:2, :2] for matrix in matrices(Policy(shear=10), 50)])
    assert (linear[:, [0, 1], [0, 1]] == 1).all()
    tangents = linear[:, [0, 1], [1, 0]]
    assert np.abs(tangents).max() <= tan(np.radians(10))
    assert abs(np.corrcoef(tangents.T)[0, 1]) < 0.4
    assert tangents.std(axis=0).min() > 0.05


@pytest.mark.parametrize("area_range", [(0.1, 0.3), (0.5, 1.0)])
def test_random_resized_crop_equals_torchvision_antialiased(area_range):
    size = (150, 190)
    policy = Policy(crop_area=area_range)
    planner = Planner(policy, SIZE, "crop", luck.keys("abcdef"), seed=0, epochs=1)
    image = torch.rand(3, *size, dtype=torch.float64, generator=torch.Generator().manual_seed(5))
    for canvas in planner.plan(0, np.arange(6)):
        matrix = canvas[0].place(size)
        (left, top, _), (right, bottom, _) = (np.linalg.inv(matrix) @ (*end, 1) for end in ((0, 0), SIZE[::-1]))
        box = [round(value) for value in (top, left, bottom - top, right - left)]
        theirs = TF.resized_crop(image, *box, list(SIZE), antialias=True)
        ours = warp_reference(image, torch.from_numpy(matrix), SIZE)
        # At its edges torchvision's filter sees the crop alone, ours the picture around it.
        edge = (slice(None), slice(2, -2), slice(2, -2))
        torch.testing.assert_close(ours[edge], theirs[edge], atol=1e-5, rtol=0)


def test_all_steps_together_are_torchvisions_one_after_the_other(choose):
    """Draws are chosen here, so that each step's value is known; torchvision takes the picture's corners along."""
    choose({"crop": [0.2, 0.5, 0.25, 0.75], "change": [0.8, 0.5, 0.7, 0.5, 0.0, 0.9, 0.6, 0.3]})
    policy = Policy(
        crop_area=(0.3, 0.8), crop_ratio=(0.5, 2.0), rotate=30, zoom=(0.8, 1.8), shear=10, flip_x=0.5, flip_y=0.5,
        shift=0.2,
    )  # fmt: skip
    planner = Planner(policy, SIZE, "crop", luck.keys(["0"]), seed=0, epochs=1)
    matrix = planner.plan(0, np.array([0]))[0][0].place(SIZE)

    # 0.3 + 0.2 * 0.5 = 0.4 of 48 x 64, square: 35 x 35 px, at a quarter of 29 and three quarters of 13.
    def follow(item):
        item = TF.resized_crop(item, 10, 7, 35, 35, list(SIZE))
        item = TF.horizontal_flip(item)
        # Zoom and shear: half way between 0.8 and 1.8 in logarithms; 0.7 of the way from -10 to 10 degrees.
        item = affine(item, scale=1.2, shear=[-4.0, 0.0])
        item = affine(item, angle=18.0)  # 0.8 of the way from -30 to 30
        return affine(item, translate=[3, -4])  # 0.6 and 0.3 of the way from -0.2 to 0.2: 2.56 and -3.84 px

    corners = [[0.0, 0.0], [64.0, 0.0], [64.0, 48.0], [0.0, 48.0]]
    moved = follow(as_boxes(torch.tensor([[*point, *point] for point in corners], dtype=torch.float64)))
    ends = moved.as_subclass(torch.Tensor)[:, :2]
    ours = torch.from_numpy(matrix) @ torch.tensor([[*point, 1.0] for point in corners], dtype=torch.float64).T
    torch.testing.assert_close(ours[:2].T, ends.double(), atol=1e-3, rtol=0)

    image, inside = noise(), interior(matrix)
    theirs = TF.perspective(image, corners, ends.tolist(), interpolation=BILINEAR)[:, inside]
    exact = warp_reference(image, torch.from_numpy(matrix), SIZE)[:, inside]
    torch.testing.assert_close(exact, theirs, atol=1e-4, rtol=0)
    assert (by_cpu(image, matrix)[:, inside] - theirs).abs().max() <= 1.5 / 255
    check_mask(matrix, lambda mask: TF.perspective(mask, corners, ends.tolist(), fill=IGNORE))
    check_boxes(matrix, TF.perspective(as_boxes(many_boxes()), corners, ends.tolist()))


def test_quarter_turns_move_pixels_and_nothing_else():
    """Against numpy's rot90, each of the four about as often as the others (binomial, 5 sigma)."""
    size, count = (32, 32), 2000
    pixels = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    planner = Planner(Policy(quarter_turns=True), size, "stretch", luck.keys(map(str, range(count))), seed=1, epochs=1)
    matrices = [canvas[0].place(size) for canvas in planner.plan(0, np.arange(count))]
    turns = np.array([round(angle(matrix) / 90) % 4 for matrix in matrices])
    for turn in range(4):
        canvas = np.zeros_like(pixels)
        warp_into(canvas, pixels, matrices[int(np.argmax(turns == turn))])
        assert np.array_equal(canvas, np.rot90(pixels, -turn))
        assert abs((turns == turn).sum() - count / 4) < 5 * (count * 3 / 16) ** 0.5


def test_turned_mirrored_and_shifted_pixels_are_those_of_the_image():
    side = 33
    policy = Policy(flip_x=0.5, flip_y=0.5, quarter_turns=True, shift=0.2)
    planner = Planner(policy, (side, side), "stretch", luck.keys(map(str, range(64))), seed=1, epochs=1)
    source = np.random.default_rng(0).integers(0, 256, (side, side, 3), dtype=np.uint8)
    rows, columns = np.mgrid[:side, :side]
    seen = set()
    for canvas in planner.plan(0, np.arange(64)):
        matrix = canvas[0].place((side, side))
        expected = np.full_like(source, BORDER)
        x, y, _ = np.tensordot(matrix, [columns + 0.5, rows + 0.5, np.ones_like(rows)], 1)
        x, y = np.floor(x).astype(int), np.floor(y).astype(int)
        inside = (x >= 0) & (x < side) & (y >= 0) & (y < side)
        expected[y[inside], x[inside]] = source[inside]
        painted = np.full_like(source, BORDER)
        warp_into(painted, source, matrix)
        np.testing.assert_array_equal(painted, expected)
        seen.add(tuple(matrix[:2, :2].astype(int).ravel()))
    assert len(seen) == 8  # all ways to turn and mirror a square
