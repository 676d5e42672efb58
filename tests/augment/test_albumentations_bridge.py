"""Pipelines of albumentations: the same as by hand, by keyed luck, and refused in one line where they can't be."""

import json
import random
import sys
import warnings
from functools import partial

import numpy as np
import pytest
import torch
from PIL import Image

import vision_tasks as vt
from tests import factories
from vision_tasks import luck
from vision_tasks.augment.albumentations_bridge import Pipeline, read_pipeline
from vision_tasks.augment.plan import Planner, fitted
from vision_tasks.config import Policy
from vision_tasks.data.loader import Loader
from vision_tasks.engine.rehearsal import rehearse
from vision_tasks.errors import UserError
from vision_tasks.tasks import get_task
from vision_tasks.types import IGNORE, Annotations, Boxes, Edit, Labels, Masks, Overlay, Sample

pytest.importorskip("albumentations")
with pytest.MonkeyPatch.context() as _patch:
    _patch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")
    import albumentations as A
from albumentations.core.serialization import SERIALIZABLE_REGISTRY

SIZE = (96, 96)
LABELS, BOXES, MASK = (
    Annotations(),
    Annotations(boxes=np.array([[10.0, 20, 50, 60, 0], [3.5, 4, 90, 30.25, 1]])),
    Annotations(mask=np.repeat(np.arange(96, dtype=np.uint8)[:, None] // 24, 96, axis=1)),
)


def text(*transforms, **compose) -> str:
    return json.dumps(A.Compose(transforms, **compose).to_dict())


def noise(channels: int = 3, size=SIZE):
    return np.random.default_rng(5).integers(0, 256, (*size, channels), np.uint8)


def applied(pipeline, truth=LABELS, seed=1, pixels=None):
    pixels = noise() if pixels is None else pixels.copy()
    return pixels, Pipeline(pipeline)(seed, pixels, truth)


def refusal(act) -> str:
    with pytest.raises(UserError) as caught:
        act()
    assert "\n" not in str(caught.value)
    return str(caught.value)


# What it does


EVERYDAY = (
    A.RandomResizedCrop(SIZE, scale=(0.5, 1.0), p=1.0),
    A.HorizontalFlip(p=0.5),
    A.OneOf([A.GaussianBlur(p=1.0), A.RandomBrightnessContrast(p=1.0)], p=0.8),
    A.Affine(rotate=(-20, 20), translate_percent=0.1, p=0.7, fill_mask=IGNORE),
    A.SomeOf([A.Transpose(p=1.0), A.ColorJitter(p=1.0), A.VerticalFlip(p=1.0)], n=2, p=0.5),
)


@pytest.mark.parametrize("data_format", ["json", "yaml"])
def test_a_saved_pipeline_does_what_it_does_by_hand(tmp_path, data_format):
    path = tmp_path / f"policy.{data_format}"
    A.save(A.Compose(EVERYDAY), path, data_format=data_format)
    ours = Pipeline(read_pipeline(path))
    by_hand = A.Compose(EVERYDAY, bbox_params=A.BboxParams("pascal_voc", min_visibility=0.1))
    changed = 0
    for seed in range(30):
        by_hand.set_random_state(np.random.default_rng(seed), random.Random(seed))
        expected = by_hand(image=noise(), bboxes=BOXES.boxes, mask=MASK.mask)
        pixels = noise()
        truth = ours(seed, pixels, Annotations(BOXES.boxes, MASK.mask))
        assert np.array_equal(pixels, expected["image"])
        assert np.array_equal(truth.mask, expected["mask"])
        assert np.array_equal(truth.boxes, expected["bboxes"].reshape(-1, 5))
        changed += not np.array_equal(pixels, noise())
    assert changed == 30


GEOMETRY = {
    "flip": A.HorizontalFlip(p=1),
    "upside down": A.VerticalFlip(p=1),
    "transposed": A.Transpose(p=1),
    "quarter turns": A.RandomRotate90(p=1),
    "symmetries": A.D4(p=1),
    "shift and zoom": A.Affine(translate_percent=(-0.3, 0.3), scale=(0.6, 1.5), p=1),
    "shear": A.Affine(shear=(-20, 20), p=1),
    "rotation": A.Affine(rotate=(-40, 40), p=1),
    "perspective": A.Perspective(scale=(0.05, 0.15), p=1),
    "crop": A.RandomResizedCrop(SIZE, scale=(0.3, 1), p=1),
    "pad": A.CropAndPad(percent=(-0.2, 0.2), p=1),
    "older name": A.ShiftScaleRotate(p=1),
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_a_box_goes_where_a_mask_of_it_goes(name):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        pipeline = Pipeline(text(GEOMETRY[name]))
    mask = np.zeros(SIZE, np.uint8)
    mask[34:62, 30:58] = 1
    compared = 0
    for seed in range(20):
        truth = pipeline(seed, noise(), Annotations(np.array([[30.0, 34, 58, 62, 0]]), mask))
        y, x = np.nonzero(truth.mask == 1)
        if len(truth.boxes) and len(x):
            # A corner that is thinner than a pixel has no pixel.
            np.testing.assert_allclose(
                truth.boxes[0, :4], [x.min(), y.min(), x.max() + 1, y.max() + 1], atol=2.0, rtol=0
            )
            compared += 1
    assert compared >= 15


def test_labels_and_crowds_follow_their_boxes_and_what_is_cut_off_leaves():
    xyxy = torch.tensor([[60.0, 60, 90, 90], [2, 2, 20, 30], [40, 10, 56, 26]])
    boxes = Boxes.single(xyxy, torch.tensor([7, 8, 9]), crowd=torch.tensor([False, False, True]))
    _, truth = applied(text(A.Crop(0, 0, 48, 48, p=1), A.Resize(96, 96, p=1)), boxes.annotations())
    after = boxes.annotated(truth).image(0)
    np.testing.assert_allclose(after.xyxy[0], [[4, 4, 40, 60], [80, 20, 96, 52]], atol=1e-4)
    assert after.xyxy.dtype == torch.float32
    assert after.label.tolist() == [[8, 9]]
    assert after.crowd.tolist() == [[False, True]]
    assert after.valid.all()


def test_padding_among_boxes_is_no_truth():
    first = Boxes.single(torch.tensor([[1.0, 2, 3, 4]]), torch.tensor([3]))
    batch = Boxes.stack([first])
    assert batch.label.shape[1] > 1
    assert batch.annotations().boxes.tolist() == [[1, 2, 3, 4, 0]]
    assert batch.annotated(batch.annotations()).label.tolist() == [[3]]


def test_an_image_without_boxes_stays_without():
    nothing = Boxes.single(torch.zeros(0, 4), torch.zeros(0))
    _, truth = applied(text(*EVERYDAY), nothing.annotations())
    after = nothing.annotated(truth)
    assert after.xyxy.shape == (1, 0, 4)
    assert after.label.dtype == torch.int64


def test_boxes_leave_by_the_file_s_rule_or_else_by_ours():
    crop = (A.Crop(0, 0, 48, 96, p=1), A.Resize(96, 96, p=1))
    boxes = Annotations(boxes=np.array([[43.5, 0, 83.5, 40, 0], [43, 0, 83, 40, 1], [40, 10, 44, 14, 2]]))

    def left(**params):
        params = A.BboxParams("coco", label_fields=["name"], **params) if params else None
        return applied(text(*crop, bbox_params=params), boxes)[1].boxes[:, 4].tolist()

    assert left() == [0, 1, 2]
    assert left(min_visibility=0.12) == [1, 2]  # 0.1125 and 0.125 of 0 and 1 are seen
    assert left(min_area=10) == [0, 1, 2]
    assert left(min_area=20) == [0, 1]
    far = Annotations(boxes=np.array([[45.0, 0, 85, 40, 0]]))  # 0.075 of it is seen
    for params, count in ((None, 0), (A.BboxParams("yolo"), 0), (A.BboxParams("yolo", min_visibility=0.05), 1)):
        assert len(applied(text(*crop, bbox_params=params), far)[1].boxes) == count


def test_a_box_too_thin_for_the_library_is_dropped():
    boxes = Annotations(boxes=np.array([[90.0, 5, 90 + 1e-7, 50, 0], [1, 1, 9, 9, 1]]))
    np.testing.assert_allclose(
        applied(text(A.HorizontalFlip(p=1)), boxes)[1].boxes, [[87, 1, 95, 9, 1]], atol=1e-4, rtol=0
    )


def test_what_comes_from_outside_the_image_is_ignored_and_classes_are_never_mixed():
    mask = Annotations(mask=np.where(np.indices(SIZE).sum(0) % 32 < 16, 7, IGNORE).astype(np.uint8))
    mask.mask[40:50] = 2
    moved = A.Compose([A.Affine(translate_px={"x": 30, "y": 0}, rotate=17, p=1)], mask_interpolation=1)
    pixels, truth = applied(json.dumps(moved.to_dict()), mask, pixels=np.full((*SIZE, 3), 200, np.uint8))
    assert set(np.unique(truth.mask)) == {2, 7, IGNORE}
    outside = (pixels == 0).all(-1)
    assert outside.mean() > 0.2
    assert (truth.mask[outside] == IGNORE).all()
    assert truth.mask.dtype == np.uint8


@pytest.mark.parametrize(("chosen", "expected"), [(None, 3), (2, 2), (0, 0)])
def test_a_fill_that_somebody_chose_stays(chosen, expected):
    mask = Annotations(mask=np.full(SIZE, 3, np.uint8))
    holes = A.CoarseDropout(hole_height_range=(40, 40), hole_width_range=(40, 40), fill_mask=chosen, p=1)
    assert set(np.unique(applied(text(holes), mask)[1].mask)) == {3, expected}
    turned = A.Rotate((45, 45), fill_mask=chosen or 0, p=1)
    assert set(np.unique(applied(text(turned), mask)[1].mask)) == {3, chosen or IGNORE}


def test_labels_stay_what_they_are():
    label = Labels.one_hot(1, 3)
    assert label.annotated(applied(text(*EVERYDAY), label.annotations())[1]) is label


def test_masks_go_out_and_come_back():
    mask = Masks(torch.arange(12, dtype=torch.uint8).view(1, 3, 4), 12)
    again = mask.annotated(mask.annotations())
    assert torch.equal(again.index, mask.index)
    assert again.num_classes == 12


def test_a_single_transform_is_a_pipeline_too():
    single, composed = A.HorizontalFlip(p=1), A.Compose([A.HorizontalFlip(p=1)])
    flipped = applied(json.dumps(single.to_dict()))[0]
    assert np.array_equal(flipped, noise()[:, ::-1])
    assert np.array_equal(applied(json.dumps(composed.to_dict()))[0], flipped)


def _every_transform():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name, cls in sorted(SERIALIZABLE_REGISTRY.items()):
            if name.startswith("Base") or "." in name or not issubclass(cls, A.BasicTransform):
                continue
            try:
                yield name, json.dumps(A.Compose([cls(p=1)]).to_dict())
            except Exception:  # has arguments that must be given, or can't be written to a file
                continue


EVERY = dict(_every_transform())


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", EVERY)
def test_every_transform_keeps_the_contract_or_is_refused_beforehand(name):
    """No value of a mask that was not there, no box outside, whatever the library does inside."""
    pipeline = Pipeline(EVERY[name])
    for truth in (LABELS, BOXES, MASK):
        try:
            pipeline.rehearse(truth, SIZE, 3)
        except UserError:
            assert name in refusal(lambda truth=truth: pipeline.rehearse(truth, SIZE, 3))
            continue
        for seed in range(100, 104):
            pixels = noise()
            after = pipeline(seed, pixels, truth)
            if truth.mask is not None:
                assert after.mask.shape == SIZE
                assert after.mask.dtype == np.uint8
                assert set(np.unique(after.mask)) <= {0, 1, 2, 3, IGNORE}
            if truth.boxes is not None:
                assert set(after.boxes[:, 4]) <= {0, 1}
                assert ((after.boxes[:, :4] >= 0) & (after.boxes[:, :4] <= 96)).all()
                assert (after.boxes[:, 2:4] > after.boxes[:, :2]).all()


# Luck


@pytest.fixture(scope="module")
def pictures(tmp_path_factory):
    folder = tmp_path_factory.mktemp("pictures")
    for i in range(11):
        Image.fromarray(noise(size=(50 + 3 * i, 70))).save(folder / f"{i}.png")
    return sorted(folder.iterdir())


def label_truth(index, size):
    return Labels.one_hot(index % 3, 3)


def box_truth(index, size):
    return Boxes.single(torch.tensor([[5.0, 5, 40 + index, 45]]), torch.tensor([index]))


def mask_truth(index, size):
    index_map = torch.arange(size[0] * size[1]).view(1, *size) % (index + 2)
    return Masks(index_map.to(torch.uint8), 20)


TRUTHS = (label_truth, box_truth, mask_truth)


def samples(paths, truth):
    return [Sample(path.name, path, partial(truth, i)) for i, path in enumerate(paths)]


def batches(loaded, policy, batch_size, epoch=1, **options):
    planner = Planner(policy, SIZE, "letterbox", luck.keys(sample.id for sample in loaded), seed=0, epochs=5)
    order = np.arange(len(loaded))
    plans = [planner.plan(epoch, order[i : i + batch_size]) for i in range(0, len(order), batch_size)]
    return list(Loader(loaded, plans, SIZE, detail=SIZE, **options))


def images(found):
    return torch.cat([batch.images for batch in found])


def rows(found):
    """Each image's truth, as plain lists."""
    return [
        [value.tolist() for value in vars(batch.targets.image(i)).values() if isinstance(value, torch.Tensor)]
        for batch in found
        for i in range(len(batch))
    ]


@pytest.mark.parametrize("truth", TRUTHS)
def test_the_same_for_any_workers_and_batch_size(pictures, truth):
    policy = Policy(albumentations=text(*EVERYDAY), mosaic=0.5, mixup=0.3)
    loaded = samples(pictures, truth)
    one = batches(loaded, policy, 11, workers=1)
    for workers, size in ((8, 11), (2, 4), (3, 1)):
        several = batches(loaded, policy, size, workers=workers)
        assert torch.equal(images(several), images(one))
        assert rows(several) == rows(one)
    assert not torch.equal(images(batches(loaded, policy, 11, epoch=2)), images(one))


def test_every_image_and_every_step_has_its_own_luck():
    """Two flips, each with one half: the four results are equally frequent."""
    pipeline = Pipeline(text(A.HorizontalFlip(p=0.5), A.VerticalFlip(p=0.5)))
    corners = np.zeros((*SIZE, 3), np.uint8)
    corners[:48, :48], corners[:48, 48:], corners[48:, :48], corners[48:, 48:] = 0, 1, 2, 3
    planner = Planner(
        Policy(albumentations=text(A.NoOp())), SIZE, "crop", luck.keys(map(str, range(400))), seed=0, epochs=1
    )
    counts = np.zeros(4, int)
    for canvas in planner.plan(0, np.arange(400)):
        pixels = corners.copy()
        pipeline(canvas[-1].change.args[0], pixels, LABELS)
        counts[pixels[0, 0, 0]] += 1
    assert counts.sum() == 400
    assert (np.abs(counts - 100) < 40).all()  # over four standard deviations


# Where it stands among other steps


@pytest.mark.parametrize("truth", TRUTHS)
def test_it_changes_each_canvas_before_another_is_laid_over_it(pictures, truth):
    """Mixed images are mixed from flipped ones, as each is on its own."""
    flip = Edit(partial(Pipeline(text(A.HorizontalFlip(p=1))), 0))
    loaded = samples(pictures[:2], truth)
    (first,), (second,) = fitted([0, 1], SIZE, "letterbox")
    alone = [(first, flip)], [(second, flip)]
    mixed = [(first, flip, Overlay((second, flip), amount=0.25))]
    one, two, both = Loader(loaded, [*alone, mixed], SIZE, detail=SIZE)
    plain = next(iter(Loader(loaded, [[(first,)]], SIZE, detail=SIZE)))
    assert torch.equal(one.images, plain.images.flip(3))
    torch.testing.assert_close(both.images, 0.75 * one.images + 0.25 * two.images, atol=0.51 / 255, rtol=0)
    expected = one.targets.blend(two.targets, torch.tensor([0.25]))
    assert rows([both]) == [
        [value.tolist() for value in vars(type(expected).stack([expected]).image(0)).values()
         if isinstance(value, torch.Tensor)]
    ]  # fmt: skip


def test_a_mosaic_is_changed_as_a_whole(pictures):
    mosaic = Policy(mosaic=1.0)
    flipped = mosaic.model_copy(update={"albumentations": text(A.VerticalFlip(p=1))})
    loaded = samples(pictures, mask_truth)
    (plain,), (turned,) = batches(loaded, mosaic, 11), batches(loaded, flipped, 11)
    assert torch.equal(turned.images, plain.images.flip(2))
    assert torch.equal(turned.targets.index, plain.targets.index.flip(1))


def test_nothing_changes_where_truth_does_not_follow(pictures):
    flip = Edit(partial(Pipeline(text(A.HorizontalFlip(p=1))), 0))
    ((first,),) = fitted([0], SIZE, "letterbox")
    for truth in ("none", "original"):
        (batch,) = Loader(samples(pictures[:1], box_truth), [[(first,), (first, flip)]], SIZE, SIZE, truth=truth)
        assert torch.equal(batch.images[0], batch.images[1])


def test_an_image_for_which_it_fails_is_left_out_and_named(pictures):
    shown = A.CropNonEmptyMaskIfExists(96, 96, ignore_values=[0], p=1)  # is for masks only

    def broken(pixels, truth):
        return Pipeline(text(shown))(0, pixels, LABELS)

    first, second = fitted([0, 1], SIZE, "letterbox")
    (batch,) = Loader(samples(pictures, label_truth), [[(*first, Edit(broken)), second]], SIZE, detail=SIZE)
    assert len(batch) == 1
    (failure,) = batch.failures
    assert failure.path == pictures[0]
    assert "CropNonEmptyMaskIfExists" in failure.reason


# What is refused


def tree(**step):
    return {"__version__": "2.0.8", "transform": {"__class_fullname__": "Compose", "p": 1.0, "transforms": [step]}}


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        ("", "is no pipeline"),
        ("[1, 2]", "is no pipeline"),
        ("just words", "is no pipeline"),
        ('{"transforms": []}', "is no pipeline"),
        ("{", "can't be read as YAML"),
        ("transform: !!python/object/apply:os.system ['true']", "can't be read as YAML"),
        ("transform: {__class_fullname__: Compose, when: 2020-01-01}", "plain values"),
        ("transform: &a {__class_fullname__: Compose, transforms: [*a]}", "aliases"),
        ("[" * 100000, "can't be read"),
        (tree(__class_fullname__="HorizontalFlop", p=1), "did you mean HorizontalFlip"),
        (tree(__class_fullname__="os.system", p=1), "unknown transform"),
        (tree(__class_fullname__="BboxParams", format="coco"), "unknown transform"),
        (tree(__class_fullname__="Lambda", __name__="mine"), "Lambda is code"),
        (tree(__class_fullname__="HorizontalFlip", p=2), "HorizontalFlip: p: Input"),
        (tree(__class_fullname__="Rotate", p=1, limits=20), "limits"),
        (tree(__class_fullname__="OneOf", p=1, transforms={"a": 1}), "OneOf: its transforms are no list"),
        (tree(__class_fullname__="OneOf", p=1, transforms=[{"p": 1}]), "no __class_fullname__"),
        (tree(p=1), "no __class_fullname__"),
        (tree(__class_fullname__="SomeOf", p=1, transforms=[], number=2), "SomeOf: "),
    ],
)
def test_a_file_that_is_no_pipeline_is_told_with_its_name(tmp_path, content, expected):
    path = tmp_path / "policy.yaml"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    message = refusal(lambda: read_pipeline(path))
    assert message.startswith(f"{path}: ")
    assert expected in message


def test_boxes_parameters_of_a_file_that_the_library_does_not_take_are_told(tmp_path):
    content = tree(__class_fullname__="HorizontalFlip", p=1)
    content["transform"]["bbox_params"] = {"format": "coco", "min_size": 3}
    assert "bbox_params: " in refusal(lambda: Pipeline(json.dumps(content)))


def test_a_missing_file_is_told(tmp_path):
    assert "No such file" in refusal(lambda: read_pipeline(tmp_path / "gone.yaml"))


def test_without_the_library_the_remedy_is_told(monkeypatch, tmp_path):
    (tmp_path / "policy.json").write_text(text(A.NoOp()))
    monkeypatch.setitem(sys.modules, "albumentations", None)
    assert "vision-tasks[albumentations]" in refusal(lambda: read_pipeline(tmp_path / "policy.json"))


def test_a_name_in_full_is_read_too():
    """As older versions wrote it."""
    content = tree(__class_fullname__="albumentations.augmentations.geometric.flip.HorizontalFlip", p=1)
    assert np.array_equal(applied(json.dumps(content))[0], noise()[:, ::-1])


@pytest.mark.parametrize(
    ("transforms", "kind", "channels", "expected"),
    [
        ([A.RandomCrop(64, 48, p=1)], LABELS, 3, "RandomCrop leaves 48x64x3 of a canvas of 96x96x3"),
        ([A.HorizontalFlip(), A.RandomScale(p=0.01), A.VerticalFlip()], MASK, 3, "RandomScale leaves"),
        ([A.RandomCrop(200, 200, p=0.01)], LABELS, 3, "RandomCrop: "),
        ([A.Normalize()], LABELS, 3, "leave out Normalize"),
        ([A.ToTensorV2()], BOXES, 3, "leave out ToTensorV2"),
        ([A.ToFloat(p=1)], LABELS, 3, "ToFloat makes float32"),
        ([A.OverlayElements(p=1)], BOXES, 3, "OverlayElements does not support boxes"),
        ([A.OverlayElements(p=1)], MASK, 3, "OverlayElements needs 'overlay_metadata'"),
        ([A.CoarseDropout3D(p=1)], LABELS, 3, "CoarseDropout3D does not support"),
        ([A.OneOf([A.NoOp(), A.MaskDropout(p=0.1)])], LABELS, 3, "MaskDropout needs masks"),
        ([A.RandomCropNearBBox(p=1)], BOXES, 3, "RandomCropNearBBox needs 'cropping_bbox'"),
        ([A.HueSaturationValue(p=0.01)], LABELS, 5, "HueSaturationValue: "),
    ],
)
def test_what_would_fail_in_training_is_told_before_it(transforms, kind, channels, expected):
    pipeline = Pipeline(text(*transforms))
    assert expected in refusal(lambda: pipeline.rehearse(kind, SIZE, channels))


@pytest.mark.parametrize("channels", [1, 5])
@pytest.mark.parametrize("kind", [LABELS, BOXES, MASK])
def test_geometry_and_noise_are_for_any_number_of_bands(kind, channels):
    pipeline = Pipeline(text(A.Affine(rotate=30), A.HorizontalFlip(), A.GaussNoise(), A.RandomResizedCrop(SIZE)))
    pipeline.rehearse(kind, SIZE, channels)


def test_sizes_may_change_on_the_way():
    Pipeline(text(A.PadIfNeeded(200, 200), A.RandomCrop(96, 96, p=1))).rehearse(BOXES, SIZE, 3)


def test_it_says_what_it_does():
    written = json.loads(text(A.HorizontalFlip(), A.OneOf([A.Blur(), A.Sharpen()])))
    assert str(Pipeline(json.dumps(written))) == "albumentations 2.0.8: HorizontalFlip, Blur, Sharpen"
    written["__version__"] = "1.4.3"
    assert "2.0.8 (written by 1.4.3)" in str(Pipeline(json.dumps(written)))


# Trainings


TRAININGS = {
    "classify": (factories.write_folder_per_class, "mnist_cnn", 28),
    "detect": (factories.write_voc, "yolo11n", 64),
    "segment": (factories.write_mask_pairs, "unet:resnet18", 64),
}


@pytest.mark.parametrize("task", TRAININGS)
def test_a_training_of_each_kind(tmp_path, task, capsys):
    write, model, side = TRAININGS[task]
    write(tmp_path / "data")
    path = tmp_path / "policy.yaml"
    A.save(
        A.Compose([A.RandomResizedCrop((side, side), scale=(0.6, 1)), A.HorizontalFlip(), A.ColorJitter()]), path,
        data_format="yaml",
    )  # fmt: skip
    settings = {"data": tmp_path / "data", "model": model, "image_size": side, "epochs": 1, "batch_size": 4,
                "device": "cpu"}  # fmt: skip
    run = vt.train(task, augment=f"albumentations:{path}", out=tmp_path / "run", **settings)
    assert "RandomResizedCrop, HorizontalFlip, ColorJitter" in capsys.readouterr().err
    line = json.loads((run / "metrics.jsonl").read_text())
    assert np.isfinite(line["loss"])
    path.unlink()
    again = vt.train(task, config=run, out=tmp_path / "again")
    repeated = json.loads((again / "metrics.jsonl").read_text())
    assert repeated["loss"] == line["loss"]
    plain = vt.train(task, augment="none", out=tmp_path / "plain", **settings)
    assert json.loads((plain / "metrics.jsonl").read_text())["loss"] != line["loss"]


def test_a_path_where_the_text_belongs_is_told_where_it_goes():
    config = get_task("classify").recipe.changed(**{"augment.albumentations": "policy.yaml"})
    message = refusal(lambda: rehearse([], config))
    assert message.startswith("setting 'augment.albumentations': is no pipeline")
    assert "--augment albumentations:FILE" in message


def test_a_pipeline_that_can_not_be_is_refused_before_the_run_has_a_folder(tmp_path):
    factories.write_voc(tmp_path / "data")
    A.save(A.Compose([A.OverlayElements()]), tmp_path / "policy.json")
    message = refusal(
        lambda: vt.train(
            "detect", data=tmp_path / "data", augment=f"albumentations:{tmp_path / 'policy.json'}", image_size=64,
            out=tmp_path / "run",
        )
    )  # fmt: skip
    assert "OverlayElements does not support boxes" in message
    assert not (tmp_path / "run").exists()
