"""Batch normalisation that a batch of one image can train under, too, and that settles within a short training."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

_TORCHS = 0.1  # momentum: statistics look back over some ten batches
_SETTLED = 20  # momentum times batches: after a quarter of a training, e^-5 is left of what statistics began with


class BatchNorm2d(nn.BatchNorm2d):
    """torch's, but of a single value a channel it takes its running statistics instead of failing.

    That is what global pooling leaves of one image (DeepLab, PAN, UPerNet), and an epoch may end with a batch of one.
    """

    def forward(self, input: Tensor) -> Tensor:
        if self.training and input.numel() == input.shape[1]:
            statistics = (self.running_mean, self.running_var, self.weight, self.bias)
            return F.batch_norm(input, *statistics, training=False, eps=self.eps)
        return super().forward(input)


def allow_single_values(net: nn.Module) -> None:
    """Put such a twin, with the same tensors, in the place of each of torch's.

    Its subclasses stay, timm's BatchNormAct2d among them: an encoder `tu-NAME` that has it can't train on one image of
    which its last stage leaves a single pixel.
    """
    for parent in list(net.modules()):
        for name, norm in parent.named_children():
            if type(norm) is nn.BatchNorm2d:
                twin = BatchNorm2d(norm.num_features, norm.eps, norm.momentum)
                twin._parameters, twin._buffers = norm._parameters, norm._buffers
                setattr(parent, name, twin)


def settle_within(net: nn.Module, batches: int) -> None:
    """Let running statistics settle within a training of so many batches, if they would need more.

    Some networks look back over hundreds of batches, as suits trainings of weeks: MobileNetV3 with a momentum of 0.01.
    After two hundred batches it would be evaluated by statistics that are mostly those it was born with, and be as good
    as chance. None is made to look back over less than torch's own.
    """
    momentum = min(_TORCHS, _SETTLED / batches)
    for norm in net.modules():
        if isinstance(norm, _BatchNorm) and norm.momentum is not None:
            norm.momentum = max(norm.momentum, momentum)
