"""The fitted last layer against scikit-learn's own pipeline."""

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from vision_tasks.errors import UserError
from vision_tasks.models.base import TaskModel
from vision_tasks.models.registry import create_model
from vision_tasks.types import Labels

COUNT = 90


def features(model: TaskModel[Labels], label: NDArray[np.int64]) -> torch.Tensor:
    """Of noise that is a little brighter for higher labels, so that classes overlap and can be learned."""
    luck = torch.Generator().manual_seed(0)
    images = torch.rand(len(label), 3, 28, 28, generator=luck) + 0.1 * torch.tensor(label)[:, None, None, None]
    return model.features(images)


def sklearn_says(features: torch.Tensor, label: NDArray[np.int64]) -> NDArray[np.float64]:
    pipeline = make_pipeline(StandardScaler(), LogisticRegression(max_iter=1000))
    probability: NDArray[np.float64] = pipeline.fit(features.double().numpy(), label).predict_proba(features.double())
    return probability


def layer_says(model: TaskModel[Labels], features: torch.Tensor, exclusive: bool = True) -> NDArray[np.float64]:
    logits = model.net.output(features)
    probability: NDArray[np.float64] = (logits.softmax(dim=1) if exclusive else logits.sigmoid()).detach().numpy()
    return probability


@pytest.mark.parametrize("present", [(0, 1, 2, 3), (0, 2, 3), (1, 3)])
def test_softmax_is_that_of_scikit_learn(present: tuple[int, ...]) -> None:
    model = create_model("lenet5", ("a", "b", "c", "d"))
    label = np.array(present)[np.arange(COUNT) % len(present)]
    found = features(model, label)
    body = [tensor.clone() for tensor in model.backbone.state_dict().values()]
    model.fit_head(found, Labels(torch.eye(4)[label]))
    said = layer_says(model, found)
    np.testing.assert_allclose(said[:, present], sklearn_says(found, label), atol=2e-5)
    absent = [k for k in range(4) if k not in present]
    assert (said[:, absent] < 1e-30).all()
    assert (said.argmax(axis=1) == label).mean() > 0.6
    assert all(torch.equal(a, b) for a, b in zip(body, model.backbone.state_dict().values(), strict=True))


def test_sigmoids_are_those_of_scikit_learn() -> None:
    model = create_model("lenet5", ("often", "rare", "never", "always"), exclusive=False)
    label = np.arange(COUNT) % 5
    shown = np.stack([label > 1, label == 4, label < 0, label >= 0], axis=1)
    found = features(model, label)
    model.fit_head(found, Labels(torch.tensor(shown, dtype=torch.float32)))
    said = layer_says(model, found, exclusive=False)
    for k in (0, 1):
        np.testing.assert_allclose(said[:, k], sklearn_says(found, shown[:, k])[:, 1], atol=2e-5)
    assert (said[:, 2] < 1e-30).all()
    assert (said[:, 3] == 1).all()


def test_one_class_only() -> None:
    model = create_model("lenet5", ("a", "b"))
    found = features(model, np.zeros(5, dtype=np.int64))
    model.fit_head(found, Labels(torch.eye(2)[[1] * 5]))
    np.testing.assert_allclose(layer_says(model, found)[:, 1], 1)


def test_predictions_use_the_fitted_layer() -> None:
    model = create_model("resnet18", ("a", "b", "c"))
    images = torch.rand(12, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    label = np.arange(12) % 3
    found = model.features(images)
    assert found.shape == (12, 512)
    model.fit_head(found, Labels(torch.eye(3)[label]))
    assert (model.predict(images).weight.argmax(dim=1).numpy() == label).all()


def test_without_a_single_last_layer() -> None:
    for name in ("unet:resnet18", "timm/dla46_c", "timm/deit_tiny_distilled_patch16_224"):
        model = create_model(name, ("a", "b"))
        with pytest.raises(UserError, match="fitted alone; leave out --probe"):
            model.features(torch.rand(1, 3, 32, 32))
