"""The embedded data: the same every time, exact, and readable by the ordinary readers."""

import numpy as np
import pytest
from PIL import Image

from vision_tasks import load_dataset
from vision_tasks.commands import digits


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    root = tmp_path_factory.mktemp("digits")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(digits, "SCENES", {"train": 12, "val": 4, "test": 4})
        digits.write_digits(root / "digits")
        digits.write_scenes(root / "voc", root / "pairs")
    return root


def test_no_digit_is_in_two_splits():
    ids = [name for members in digits.split_digits().values() for _, _, name in members]
    assert len(ids) == len(set(ids)) == 1797


def test_scenes_are_the_same_every_time():
    members = digits.split_digits()["test"]
    first, again, other = (digits.compose(name, members) for name in ("a", "a", "b"))
    assert np.array_equal(first.pixels, again.pixels)
    assert first.objects == again.objects
    assert not np.array_equal(first.pixels, other.pixels)


def test_boxes_are_exactly_around_the_masks():
    members = digits.split_digits()["train"]
    for number in range(20):
        scene = digits.compose(str(number), members)
        covered = np.zeros_like(scene.mask)
        for digit, (x0, y0, x1, y1) in scene.objects:
            inside = scene.mask[y0:y1, x0:x1] == digit + 1
            assert inside.any(axis=0)[[0, -1]].all()
            assert inside.any(axis=1)[[0, -1]].all()
            covered[y0:y1, x0:x1] = 1
        assert (scene.mask[covered == 0] == 0).all()
        assert scene.objects


def test_the_ordinary_readers_read_them(written):
    single = load_dataset("classify", written / "digits")
    assert sum(len(samples) for samples in single.splits.values()) == 1797
    assert set(single.classes) == set(digits.NAMES)
    boxes = load_dataset("detect", written / "voc")
    masks = load_dataset("segment", written / "pairs")
    assert masks.classes == ("background", *digits.NAMES)
    assert {k: len(v) for k, v in boxes.splits.items()} == {k: len(v) for k, v in masks.splits.items()}
    assert not boxes.flaws
    members = digits.split_digits()["val"]
    for sample in boxes.splits["val"]:
        scene = digits.compose(sample.path.stem, members)
        truth = sample.truth((digits.SIDE, digits.SIDE))
        assert truth.xyxy[0].tolist() == [list(map(float, box)) for _, box in scene.objects]
        assert [boxes.classes[i] for i in truth.label[0]] == [digits.NAMES[digit] for digit, _ in scene.objects]
        stored = np.asarray(Image.open(written / "pairs" / "val" / "masks" / f"{sample.path.stem}.png"))
        assert np.array_equal(stored, scene.mask)
