"""Names, and what is said of wrong ones."""

import sys

import pytest

from vision_tasks.augment.policy import strength
from vision_tasks.errors import UserError
from vision_tasks.models.registry import MODELS, create_model, model_entry, model_names
from vision_tasks.tasks import get_task


def test_names() -> None:
    names = model_names("classify")
    assert names[:5] == ("resnet18", "resnet34", "resnet50", "resnet101", "resnet152")
    assert {"alexnet", "vgg16", "vgg19_bn", "googlenet", "efficientnet_b7", "convnext_large", "timm/NAME"} < set(names)
    assert {"mlp", "lenet5", "mnist_cnn", "cifar_resnet110", "alexnet_single_tower"} < set(names)
    assert "yolo26x" in model_names("detect")
    assert "unet" in model_names("segment")
    assert sum(name.startswith("timm/") for name in names) == 1
    assert len(model_names()) == len(set(model_names())) == len(MODELS)
    assert [model_entry(name).task for name in names] == ["classify"] * len(names)
    assert model_entry("unet:resnet50").code_licence == "MIT"
    assert model_entry("yolo11n").code_licence == "AGPL-3.0"


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("resnet19", "unknown model 'resnet19'; did you mean .*resnet18"),
        ("yolov7n", "unknown model 'yolov7n'; did you mean .*yolov8n"),
        ("qqqq", r"unknown model 'qqqq'; known: alexnet, .*efficientnet_b0.* and \d+ more"),
        ("resnet18:resnet34", "takes no encoder; write 'resnet18'"),
        ("unet:", None),
    ],
)
def test_wrong_names(name: str, message: str | None) -> None:
    if message is None:
        assert create_model(name, ("a",)).info.name == "unet:resnet34"
        return
    with pytest.raises(UserError, match=message) as error:
        create_model(name, ("a",))
    assert "\n" not in str(error.value)


def test_wrong_tasks_and_classes() -> None:
    with pytest.raises(UserError, match="unknown task 'detection'; did you mean detect"):
        model_names("detection")
    with pytest.raises(UserError, match="at least one class"):
        create_model("resnet18", ())
    with pytest.raises(UserError, match="repeated: a, b"):
        create_model("resnet18", ("a", "b", "a", "b", "c"))


@pytest.mark.parametrize("name", ["yolov8n", "fasterrcnn_resnet50_fpn"])
def test_channels_that_a_family_cannot_take(name: str) -> None:
    with pytest.raises(UserError, match=f"'{name}' takes RGB images only, not 5 channels; leave out --bands"):
        create_model(name, ("a",), channels=5)


@pytest.mark.parametrize("name", [name for name in MODELS if name != "timm/NAME"])
def test_recipes_are_settings(name: str) -> None:
    entry = MODELS[name]
    config = get_task(entry.task).recipe.changed(**entry.recipe, model=name)
    assert config.image_size % entry.size_multiple == 0
    assert config.changed(**{"augment.flip_x": 0.25}).augment.flip_x == 0.25


def test_a_missing_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in [name for name in sys.modules if name.split(".")[0] == "ultralytics"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setattr(sys, "path", [])
    monkeypatch.setattr(sys, "path_importer_cache", {})
    with pytest.raises(UserError, match=r'needs ultralytics: pip install "vision-tasks\[yolo\]" \(AGPL-3.0\)'):
        create_model("yolo11n", ("a",))


@pytest.mark.parametrize("name", [name for name, entry in MODELS.items() if entry.task == "detect"])
def test_detectors_see_both_of_two_blended_images(name: str) -> None:
    """Their boxes are all in the truth, so neither may fade: shares lie near a half."""
    policy = get_task("detect").recipe.changed(**MODELS[name].recipe, model=name).augment
    for made in (policy, strength("strong", policy)):
        assert made.mixup_alpha == 32
    assert strength("strong", policy).mixup == (0.1 if policy.mosaic else 0)
