"""Segmentation networks of segmentation_models_pytorch (MIT): any of its decoders on any of its encoders.

Encoders are SMP's own, or as `tu-NAME` those of timm. SMP keeps each encoder's own statistics on a server and not in
the package. An untrained encoder needs none of its own; weights that were trained with others bring them along,
because they are buffers of the checkpoint.
"""

from __future__ import annotations

from typing import Any

import segmentation_models_pytorch as smp
import torch
from torch import Tensor, nn

from vision_tasks.errors import UserError, unknown_name
from vision_tasks.models.base import ModelInfo
from vision_tasks.models.batch_norm import allow_single_values
from vision_tasks.models.segmenter import Segmenter
from vision_tasks.models.upsampled_convolution import UpsampledConvolution

TIMM_PREFIX = "tu-"
SMALLEST = {"pan": 128}  # its pyramid halves the encoder's map, 1/16 of the canvas, three times
HALVED = {"dpt": 2}  # its decoder halves the encoder's map once
OPTIONS: dict[str, dict[str, Any]] = {"dpt": {"dynamic_img_size": True}}


class SmpSegmenter(Segmenter):
    """A network of SMP, without the parts of its encoder that its decoder never looks at."""

    def __init__(self, info: ModelInfo, arch: str, encoder: str) -> None:
        known = smp.encoders.get_encoder_names()
        if encoder not in known and not encoder.startswith(TIMM_PREFIX):
            raise unknown_name("encoder", encoder, known)
        smallest = SMALLEST.get(arch, 1)
        net = _built(info, arch, encoder, smallest)
        allow_single_values(net)
        super().__init__(info, net, multiple=net.encoder.output_stride * HALVED.get(arch, 1), smallest=smallest)

    @property
    def backbone(self) -> nn.Module:
        """The encoder. SMP's ResNets, VGGs and MobileNetV2 have the names of torchvision's, timm's those of timm."""
        encoder = self.net.get_submodule("encoder")
        model = getattr(encoder, "model", encoder)
        return model if isinstance(model, nn.Module) else encoder

    @property
    def class_layers(self) -> dict[str, int]:
        head = "net.segmentation_head."
        layers = [name for name, part in self.named_modules() if isinstance(part, nn.Conv2d) and name.startswith(head)]
        return {layers[-1]: 1}


def _built(info: ModelInfo, arch: str, encoder: str, smallest: int) -> Any:
    options = OPTIONS.get(arch, {})
    shape = {"in_channels": info.channels, "classes": len(info.classes)}
    try:
        net = smp.create_model(arch, encoder, encoder_weights=None, **shape, **options)
        side = max(2 * net.encoder.output_stride, smallest)
        if arch == "unet":
            _hasten(net.decoder.blocks)
        device = next(net.parameters()).device
        _drop_unused(net, torch.zeros(1, info.channels, side, side, device=device))
    except (ValueError, RuntimeError, TypeError, AttributeError, AssertionError, NotImplementedError) as error:
        # An assertion is how timm's encoders refuse a canvas that isn't the one they were made for.
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(
            f"{arch} can't be built on the encoder '{encoder}' ({reason}); use another, as {arch}:resnet34"
        ) from error
    return net


class _UnetBlock(nn.Module):
    """SMP's block of U-Net, computed faster; its tensors have the same names."""

    def __init__(self, block: Any) -> None:
        super().__init__()
        convolution, norm, activation = block.conv1
        self.conv1 = nn.Sequential(UpsampledConvolution(convolution), norm, activation)
        self.conv2 = block.conv2

    def forward(self, features: Tensor, height: int, width: int, skip_connection: Tensor | None = None) -> Tensor:
        joined, norm, activation = self.conv1
        result: Tensor = self.conv2(activation(norm(joined(features, skip_connection))))
        return result


def _hasten(blocks: nn.ModuleList) -> None:
    for index, block in enumerate(blocks):
        blocks[index] = _UnetBlock(block)


def _drop_unused(net: nn.Module, images: Tensor) -> None:
    """Parts that the output doesn't depend on would neither learn nor be of use: PSPNet takes two of four stages."""
    training, learning = net.training, [parameter for parameter in net.parameters() if parameter.requires_grad]
    with torch.enable_grad():
        gradients = torch.autograd.grad(net.eval()(images).sum(), learning, allow_unused=True)
    net.train(training)
    idle = {parameter for parameter, gradient in zip(learning, gradients, strict=True) if gradient is None}
    for parent in list(net.modules()):
        for name, part in parent.named_children():
            own = set(part.parameters())
            if own and own <= idle:
                setattr(parent, name, nn.Identity())
