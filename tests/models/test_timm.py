"""timm's models by name: what its settings say reaches the classifier."""

import pytest
import timm
import torch

from vision_tasks.errors import UserError
from vision_tasks.models.registry import create_model, model_entry


def test_predictions_are_those_of_timm() -> None:
    torch.manual_seed(0)
    model = create_model("timm/test_vit", ("a", "b", "c"))
    plain = timm.create_model("test_vit", num_classes=3).eval()
    plain.load_state_dict(model.net.state_dict())
    images = torch.rand(2, 3, 160, 160)
    torch.testing.assert_close(model.predict(images).weight, plain((images - 0.5) / 0.5).softmax(dim=1))
    assert model.info.name == "timm/test_vit"
    assert model.info.size_multiple == 16


def test_settings_of_the_weights() -> None:
    with torch.device("meta"):
        plain, tagged = create_model("timm/resnet50", ("a",)), create_model("timm/resnet50.tv_in1k", ("a",), channels=4)
        tokens = create_model("timm/vit_tiny_patch16_224", ("a",))
    assert plain.info.size_multiple == 1
    assert tagged.net.conv1.weight.shape == (64, 4, 7, 7)
    assert tokens.info.size_multiple == 16
    assert model_entry("timm/resnet10t").recipe == {"image_size": 176}
    assert model_entry("timm/test_vit").code_licence == "Apache-2.0"
    assert model_entry("timm/test_vit").task == "classify"


def test_heads_inside_parts() -> None:
    with torch.device("meta"):
        nested = create_model("timm/convnext_atto", ("a", "b"))
        double = create_model("timm/deit_tiny_distilled_patch16_224", ("a", "b"))
    assert nested.net.get_submodule(nested.head).out_features == 2
    lost = dict(nested.net.named_parameters()).keys() - dict(nested.backbone.named_parameters()).keys()
    assert lost == {"head.fc.weight", "head.fc.bias"}
    lost = dict(double.net.named_parameters()).keys() - dict(double.backbone.named_parameters()).keys()
    assert lost == {"head.weight", "head.bias", "head_dist.weight", "head_dist.bias"}


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("timm/resnet51x", "unknown timm model 'resnet51x'; did you mean .*resnet51q"),
        ("timm/resnet50.none", "unknown timm model 'resnet50.none'; did you mean .*resnet50"),
        ("timm/qqqqqq", r"unknown timm model 'qqqqqq'; `timm.list_models\(\)` has the 1\d\d\d known ones"),
        ("timm/NAME", "unknown timm model 'NAME'"),
        ("timm/hf_hub:someone/net", "unknown timm model"),
    ],
)
def test_wrong_names(name: str, message: str) -> None:
    with pytest.raises(UserError, match=message) as error:
        create_model(name, ("a",))
    assert "\n" not in str(error.value)
    assert len(str(error.value)) < 200


def test_one_size_only() -> None:
    with torch.device("meta"):
        model = create_model("timm/mixer_s32_224", ("a", "b"))
        assert model.predict(torch.rand(1, 3, 224, 224)).weight.shape == (1, 2)
        with pytest.raises(UserError, match="takes images of 224x224 only, not 96x64; --image-size 224"):
            model.predict(torch.rand(1, 3, 64, 96))


def test_an_encoder_is_no_classifier() -> None:
    name = next(name for name in timm.list_models("mobilenetv5*enc"))
    with torch.device("meta"), pytest.raises(UserError, match="gives features only, it has no classifier"):
        create_model(f"timm/{name}", ("a",))
