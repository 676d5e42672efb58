"""Small and early networks that courses teach, written from their papers.

Those made for 28x28 grey pixels start with adaptive average pooling to that size: a canvas of 28x28 passes as it is,
a larger one is averaged, a smaller one repeated. So they take canvases of any size; colour becomes luma before.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import Tensor, nn

from vision_tasks.models.base import ModelInfo
from vision_tasks.models.classifier import Classifier

GREY_CANVAS = 28
MNIST_MEAN, MNIST_STD = (0.1307,), (0.3081,)  # of the pixels of its training images, in [0,1]
LENET_WHITE, LENET_BLACK = 1.175, -0.1  # what LeNet-5 makes of the foreground and background of a digit
LENET_MEAN = (-LENET_BLACK / (LENET_WHITE - LENET_BLACK),)
LENET_STD = (1 / (LENET_WHITE - LENET_BLACK),)


class ScaledTanh(nn.Module):
    """1.7159 tanh(2x/3), which keeps 1 and -1 where they are (LeCun et al. 1998, appendix A)."""

    def forward(self, x: Tensor) -> Tensor:
        return 1.7159 * torch.tanh(x * (2 / 3))


def mlp(info: ModelInfo) -> Classifier:
    """A multilayer perceptron on 28x28 grey pixels: 300 and 100 hidden units as in LeCun et al. 1998, with ReLU.

    266,610 parameters for ten classes.
    """
    bands = _bands(info)
    net = _sequence(
        canvas=nn.AdaptiveAvgPool2d(GREY_CANVAS),
        flatten=nn.Flatten(),
        fc1=nn.Linear(bands * GREY_CANVAS**2, 300),
        relu1=nn.ReLU(),
        fc2=nn.Linear(300, 100),
        relu2=nn.ReLU(),
        fc3=nn.Linear(100, len(info.classes)),
    )
    net.apply(_he)
    return Classifier(info, net, "fc3", mean=MNIST_MEAN, std=MNIST_STD, grey=True)


def lenet5(info: ModelInfo) -> Classifier:
    """LeNet-5 of LeCun et al., Gradient-based learning applied to document recognition, 1998.

    As it is taught today: every map of C3 sees all of S2, subsampling has no parameters, and a dense layer stands for
    the radial basis functions. The 28x28 canvas is padded by background to 32x32. 61,706 parameters for ten classes.
    """
    net = _sequence(
        canvas=nn.AdaptiveAvgPool2d(GREY_CANVAS),
        pad=nn.ConstantPad2d(2, LENET_BLACK),
        c1=nn.Conv2d(_bands(info), 6, 5),
        tanh1=ScaledTanh(),
        s2=nn.AvgPool2d(2),
        c3=nn.Conv2d(6, 16, 5),
        tanh3=ScaledTanh(),
        s4=nn.AvgPool2d(2),
        c5=nn.Conv2d(16, 120, 5),
        tanh5=ScaledTanh(),
        flatten=nn.Flatten(),
        f6=nn.Linear(120, 84),
        tanh6=ScaledTanh(),
        output=nn.Linear(84, len(info.classes)),
    )
    net.apply(_lecun)
    return Classifier(info, net, "output", mean=LENET_MEAN, std=LENET_STD, grey=True)


def mnist_cnn(info: ModelInfo) -> Classifier:
    """The small network of MNIST tutorials: 10 and 20 filters of 5x5, ReLU, 2x2 max-pooling, 100 hidden units.

    38,390 parameters for ten classes.
    """
    net = _sequence(
        canvas=nn.AdaptiveAvgPool2d(GREY_CANVAS),
        conv1=nn.Conv2d(_bands(info), 10, 5),
        relu1=nn.ReLU(),
        pool1=nn.MaxPool2d(2),
        conv2=nn.Conv2d(10, 20, 5),
        relu2=nn.ReLU(),
        pool2=nn.MaxPool2d(2),
        flatten=nn.Flatten(),
        fc1=nn.Linear(20 * 4 * 4, 100),
        relu3=nn.ReLU(),
        fc2=nn.Linear(100, len(info.classes)),
    )
    net.apply(_he)
    return Classifier(info, net, "fc2", mean=MNIST_MEAN, std=MNIST_STD, grey=True)


def alexnet_single_tower(info: ModelInfo) -> Classifier:
    """AlexNet of Krizhevsky et al., ImageNet classification with deep convolutional neural networks, 2012.

    In one tower: the grouped layers of the two graphics cards are whole. For 227x227 pixels; other canvases, from 67
    on, are averaged to 6x6 before the dense layers. 62,378,344 parameters for a thousand classes.
    """
    net = _sequence(
        conv1=nn.Conv2d(info.channels, 96, 11, stride=4),
        relu1=nn.ReLU(inplace=True),
        norm1=_response_normalisation(),
        pool1=nn.MaxPool2d(3, stride=2),
        conv2=nn.Conv2d(96, 256, 5, padding=2),
        relu2=nn.ReLU(inplace=True),
        norm2=_response_normalisation(),
        pool2=nn.MaxPool2d(3, stride=2),
        conv3=nn.Conv2d(256, 384, 3, padding=1),
        relu3=nn.ReLU(inplace=True),
        conv4=nn.Conv2d(384, 384, 3, padding=1),
        relu4=nn.ReLU(inplace=True),
        conv5=nn.Conv2d(384, 256, 3, padding=1),
        relu5=nn.ReLU(inplace=True),
        pool5=nn.MaxPool2d(3, stride=2),
        canvas=nn.AdaptiveAvgPool2d(6),
        flatten=nn.Flatten(),
        drop6=nn.Dropout(),
        fc6=nn.Linear(256 * 6 * 6, 4096),
        relu6=nn.ReLU(inplace=True),
        drop7=nn.Dropout(),
        fc7=nn.Linear(4096, 4096),
        relu7=nn.ReLU(inplace=True),
        fc8=nn.Linear(4096, len(info.classes)),
    )
    for name, part in net.named_children():
        if isinstance(part, nn.Conv2d | nn.Linear):
            nn.init.normal_(part.weight, std=0.01)
            nn.init.constant_(_bias(part), float(name in ("conv2", "conv4", "conv5", "fc6", "fc7")))
    return Classifier(info, net, "fc8")


CLASSIC: dict[str, Callable[[ModelInfo], Classifier]] = {
    "mlp": mlp,
    "lenet5": lenet5,
    "mnist_cnn": mnist_cnn,
    "alexnet_single_tower": alexnet_single_tower,
}


def _sequence(**parts: nn.Module) -> nn.Sequential:
    return nn.Sequential(OrderedDict(parts))


def _bands(info: ModelInfo) -> int:
    """Input channels of a grey network: RGB becomes one; anything else is no colour picture and stays."""
    return 1 if info.channels == 3 else info.channels


def _response_normalisation() -> nn.LocalResponseNorm:
    """n = 5, k = 2, alpha = 1e-4, beta = 0.75; torch divides alpha by n, the paper doesn't."""
    return nn.LocalResponseNorm(5, alpha=5 * 1e-4, beta=0.75, k=2.0)


def _he(part: nn.Module) -> None:
    """Normal weights that keep the variance through ReLU (He et al. 2015), no bias."""
    if isinstance(part, nn.Conv2d | nn.Linear):
        nn.init.kaiming_normal_(part.weight, nonlinearity="relu")
        nn.init.zeros_(_bias(part))


def _lecun(part: nn.Module) -> None:
    """Uniform within 2.4 / fan-in, weights and bias (LeCun et al. 1998, appendix A)."""
    if isinstance(part, nn.Conv2d | nn.Linear):
        bound = 2.4 / part.weight[0].numel()
        nn.init.uniform_(part.weight, -bound, bound)
        nn.init.uniform_(_bias(part), -bound, bound)


def _bias(part: nn.Conv2d | nn.Linear) -> Tensor:
    bias = part.bias
    assert bias is not None
    return bias
