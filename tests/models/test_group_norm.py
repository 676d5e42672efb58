"""Every image by its own statistics: Wu and He 2018."""

import pytest
import torch
from torch import nn

import vision_tasks as vt
from tests import factories
from vision_tasks import UserError
from vision_tasks.models.checkpoint import load_model, save_model
from vision_tasks.models.group_norm import groups_of
from vision_tasks.models.registry import create_model
from vision_tasks.models.transfer import start_from
from vision_tasks.types import InputSpec

CLASSES = ("a", "b")
SPEC = InputSpec((64, 64), "stretch")


@pytest.mark.parametrize(("channels", "groups"), [(1, 1), (3, 1), (16, 4), (24, 4), (64, 16), (112, 16), (512, 32)])
def test_groups_have_four_channels_or_more(channels, groups):
    assert groups_of(channels) == groups


@pytest.mark.parametrize("name", ["resnet18", "unet:resnet18", "yolo11n"])
def test_nothing_is_left_of_batches_and_no_weight_is_lost(name):
    torch.manual_seed(0)
    by_batch = create_model(name, CLASSES)
    model = create_model(name, CLASSES, norm="group")
    assert not any(isinstance(part, nn.modules.batchnorm._BatchNorm) for part in model.modules())
    shapes = {key: value.shape for key, value in by_batch.named_parameters()}
    assert {key: value.shape for key, value in model.named_parameters()} == shapes


def test_training_and_evaluation_see_the_same():
    """What batch normalisation can't give: the logits of an image don't depend on the mode, nor on its neighbours."""
    torch.manual_seed(0)
    net = create_model("resnet18", CLASSES, norm="group").get_submodule("net")
    images = torch.rand(4, 3, 64, 64) * torch.tensor([1.0, 0.1, 2, 0.5])[:, None, None, None]
    together = net.train()(images)
    torch.testing.assert_close(together, net.eval()(images))
    torch.testing.assert_close(together[1:2], net.train()(images[1:2]), atol=1e-5, rtol=1e-5)


def test_a_checkpoint_remembers(tmp_path):
    torch.manual_seed(0)
    model = create_model("unet:resnet18", CLASSES, norm="group").eval()
    save_model(model, tmp_path / "w.safetensors", SPEC)
    loaded, card = load_model(tmp_path / "w.safetensors")
    assert card.norm == "group"
    images = torch.rand(2, 3, 64, 64)
    assert torch.equal(loaded.predict(images).probability, model.predict(images).probability)


def test_it_trains(tmp_path):
    factories.write_folder_per_class(tmp_path / "data", ("a", "b"), per_class=8)
    settings = {"model": "resnet18", "image_size": 32, "batch_size": 1, "device": "cpu", "norm": "group"}
    run = vt.train("classify", data=tmp_path / "data", out=tmp_path / "run", epochs=1, **settings)
    assert vt.evaluate("classify", weights=run, data=tmp_path / "data")["images"] == 16


def test_a_model_without_batch_normalisation_is_refused():
    with pytest.raises(UserError, match="norm=group: vgg16 has no batch normalisation; leave it out"):
        create_model("vgg16", CLASSES, norm="group")


@pytest.mark.parametrize(("theirs", "ours"), [("batch", "group"), ("group", "batch")])
@pytest.mark.parametrize(("source", "target"), [("resnet18", "resnet18"), ("resnet18", "unet:resnet18")])
def test_weights_of_the_other_kind_are_refused(tmp_path, theirs, ours, source, target):
    save_model(create_model(source, CLASSES, norm=theirs), tmp_path / "w.safetensors", SPEC)
    model = create_model(target, CLASSES, norm=ours)
    with pytest.raises(UserError, match=f"was trained with norm={theirs}, not {ours}; add --set norm={theirs}"):
        start_from(model, tmp_path / "w.safetensors")


def test_tensors_of_another_tool_are_of_batches_where_they_say_so(tmp_path):
    tensors = create_model("resnet18", CLASSES).get_submodule("net").state_dict()
    torch.save(tensors, tmp_path / "w.pth")
    with pytest.raises(UserError, match="norm=batch"):
        start_from(create_model("resnet18", CLASSES, norm="group"), tmp_path / "w.pth")
