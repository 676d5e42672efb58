"""YOLO detectors of ultralytics (AGPL-3.0; the extra `yolo`): its networks and losses, nothing else of it."""

from __future__ import annotations

import logging
import os
import re
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from importlib import import_module
from tempfile import TemporaryDirectory
from typing import Any

import cv2
import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from vision_tasks.models.base import ModelInfo
from vision_tasks.models.boxes import training_truth
from vision_tasks.models.decoding import BoxCandidates, RankedBoxes
from vision_tasks.models.exportable import Exportable
from vision_tasks.models.modes import mode, without_autocast
from vision_tasks.types import Boxes

# What ultralytics' validator uses: nearly all scores, because average precision integrates over them.
SCORE_THRESHOLD = 0.001
NMS_THRESHOLD = 0.7
MAX_DETECTIONS = 300

_SCORES = re.compile(r"net\.model\.\d+\.(one2one_)?cv3\.\d+")


class UltralyticsYolo(Exportable[Boxes]):
    """YOLOv3 to YOLO26, as ultralytics builds them: all without anchors.

    Losses: `box` (CIoU), `cls` (binary cross-entropy) and `dfl`, the distribution focal loss, or `l1` in YOLO26, which
    regresses distances; each with ultralytics' default gain. YOLOv10 and YOLO26 have two heads that learn together, and
    answer from the one that needs no suppression.
    """

    net: Any

    def __init__(self, info: ModelInfo) -> None:
        super().__init__()
        with _tamed():
            tasks = import_module("ultralytics.nn.tasks")
            self.net = tasks.DetectionModel(f"{info.name.removesuffix('u')}.yaml", nc=len(info.classes), verbose=False)
            self.net.args = import_module("ultralytics.cfg").get_cfg()  # the losses read their gains here
        self.info = info
        self.done = 0.0
        self._criterion: Any = None
        # Releases of ultralytics differ in which of two heads answers; ours is the one that needs no NMS.
        self._head.end2end = hasattr(self._head, "one2one_cv2")

    def forward(self, images: Tensor, targets: Boxes) -> dict[str, Tensor]:
        """Losses against the boxes that have an area and are no crowds."""
        raw = self._raw(images)
        with without_autocast(images.device):
            total, _ = self._loss(images.device)(raw, _truth(images, targets))
        # ultralytics multiplies by the batch size, as its recipes sum gradients over images; undone here, so that one
        # learning rate means the same step for every model and every batch size.
        names = ("box", "cls", "dfl" if self._head.reg_max > 1 else "l1")
        return dict(zip(names, total / len(images), strict=True))

    def outputs(self, images: Tensor) -> tuple[Tensor]:
        """Boxes and scores of all places [B,4+K,N]; of two heads, those of the one that answers."""
        raw = self._raw(images)
        with without_autocast(images.device):
            return (self._all_boxes(raw),)

    @property
    def decoder(self) -> BoxCandidates | RankedBoxes:
        """At most 300 boxes an image, best first; without suppression where a head is end to end."""
        if self._head.end2end:
            return RankedBoxes(SCORE_THRESHOLD, MAX_DETECTIONS)
        return BoxCandidates(SCORE_THRESHOLD, NMS_THRESHOLD, MAX_DETECTIONS)

    def anneal(self, done: float) -> None:
        """With two heads the weight shifts from the one-to-many to the one-to-one head."""
        self.done = done

    @property
    def backbone(self) -> nn.Module:
        """The layers that the network's description lists under `backbone`."""
        layers: nn.Module = self.net.model[: len(self.net.yaml["backbone"])]
        return layers

    @property
    def class_layers(self) -> dict[str, int]:
        """The last convolution of each branch for scores; some before it are as wide, but of no class."""
        branches = [(name, part) for name, part in self.named_modules() if _SCORES.fullmatch(name)]
        return {f"{name}.{len(part) - 1}": 1 for name, part in branches if isinstance(part, nn.Sequential)}

    @property
    def _head(self) -> Any:
        return self.net.model[-1]

    def _raw(self, images: Tensor) -> dict[str, Any]:
        """What the head's convolutions give, in float32; its own flag chooses that over decoded boxes."""
        with mode([self._head], training=True):
            raw: dict[str, Any] = _float32(self.net(images))
        return raw

    def _all_boxes(self, raw: dict[str, Any]) -> Tensor:
        """What the head itself would decode to; but it keeps anchors in the module, where tracing may leave none."""
        head = self._head
        answer = raw.get("one2one" if head.end2end else "one2many", raw)
        anchors, strides = import_module("ultralytics.utils.tal").make_anchors(answer["feats"], head.stride, 0.5)
        boxes = head.decode_bboxes(head.dfl(answer["boxes"]), anchors.T[None]) * strides.T
        return torch.cat((boxes, answer["scores"].sigmoid()), dim=1)

    def _loss(self, device: torch.device) -> Any:
        if self._criterion is None or self._criterion[0] != device:
            self._criterion = (device, self.net.init_criterion())
        loss = self._criterion[1]
        if hasattr(loss, "o2m"):
            loss.o2m = loss.o2m_copy + self.done * (loss.final_o2m - loss.o2m_copy)
            loss.o2o = loss.total - loss.o2m
        return loss


def _truth(images: Tensor, targets: Boxes) -> dict[str, Tensor]:
    """The batch as ultralytics' losses read it: boxes [M,4] as centre and size, in shares of the canvas."""
    height, width = images.shape[-2:]
    keep = training_truth(targets)
    xyxy = targets.xyxy[keep] / targets.xyxy.new_tensor([width, height, width, height])
    low, high = xyxy[:, :2], xyxy[:, 2:]
    return {
        "img": images,
        "batch_idx": keep.nonzero()[:, 0].float(),  # in rising order, as its padding of targets demands
        "cls": targets.label[keep].float(),
        "bboxes": torch.cat([(low + high) / 2, high - low], dim=1),
    }


def _float32(raw: Any) -> Any:
    if isinstance(raw, dict):
        return {name: _float32(value) for name, value in raw.items()}
    return [_float32(value) for value in raw] if isinstance(raw, list) else raw.float()


@contextmanager
def _tamed() -> Iterator[None]:
    """Import and build without what ultralytics does to the process beside it.

    Its import writes a settings file, asks the network whether it is there, wraps `torch.save` and Pillow's
    `Image.open`, turns OpenCV's threads off, sets environment variables and changes how torch and numpy print;
    building logs.
    """
    with ExitStack() as stack:
        stack.callback(logging.disable, logging.root.manager.disable)
        logging.disable(logging.WARNING)
        if "ultralytics" not in sys.modules:
            stack.enter_context(_unchanged_process())
            folder = stack.enter_context(TemporaryDirectory())
            os.environ |= {"YOLO_CONFIG_DIR": folder, "YOLO_OFFLINE": "true", "YOLO_AUTOINSTALL": "false"}
        yield


@contextmanager
def _unchanged_process() -> Iterator[None]:
    environment, save, threads, open_image = dict(os.environ), torch.save, cv2.getNumThreads(), Image.open
    printing, array_printing = dict(vars(torch._tensor_str.PRINT_OPTS)), np.get_printoptions()
    try:
        yield
    finally:
        os.environ.clear()
        os.environ.update(environment)
        torch.save, Image.open = save, open_image
        cv2.setNumThreads(threads)
        vars(torch._tensor_str.PRINT_OPTS).update(printing)
        np.set_printoptions(**array_printing)
