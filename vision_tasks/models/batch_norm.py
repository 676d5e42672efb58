"""Batch normalisation that a batch of one image can train under, too."""

from __future__ import annotations

from torch import Tensor, nn
from torch.nn import functional as F


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
