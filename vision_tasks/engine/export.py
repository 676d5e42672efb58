"""A checkpoint as a file for another engine, compared with the network itself before it is left anywhere."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch
from torch import Tensor

from vision_tasks.errors import UserError, unknown_name
from vision_tasks.models.base import TaskModel
from vision_tasks.models.checkpoint import ModelCard, load_model, save_model
from vision_tasks.models.exportable import Exportable
from vision_tasks.models.exported import random_images, write_exported

IMAGES = 3  # that are compared; other than those that were traced
ABSOLUTE, RELATIVE = 1e-3, 1e-4  # of outputs: how far they may differ in float32
OF_GREATEST = 1e-5  # of the greatest output, too: what is near 0 may be a difference of large numbers


@dataclass(frozen=True)
class Format:
    """One kind of file."""

    suffix: str
    write: Callable[[Path, TaskModel[Any], ModelCard], None]
    beside: tuple[str, ...] = ()  # endings of other files that belong to it


def _write_checkpoint(path: Path, model: TaskModel[Any], card: ModelCard) -> None:
    save_model(model, path, card.input)


def _write_exported(path: Path, model: TaskModel[Any], card: ModelCard) -> None:
    if not isinstance(model, Exportable):
        raise UserError(
            f"{card.name} chooses regions inside of its network, and can be exported --to torch only; networks for "
            "whole images and for masks, and those of YOLO, can be exported to all formats"
        )
    write_exported(path, model, card)


FORMATS: Mapping[str, Format] = {
    "onnx": Format(".onnx", _write_exported),
    "openvino": Format(".xml", _write_exported, (".bin",)),
    "torch": Format(".safetensors", _write_checkpoint),
}


def export_model(model: TaskModel[Any], card: ModelCard, to: str, out: Path) -> float:
    """Write `model`, on the CPU and for evaluation, into `out`; the greatest difference of an output is returned.

    Raises UserError for an unknown format, a wrong ending, a missing extra, a model that can't be exported, and where
    the file doesn't compute what the model does; then nothing is left.
    """
    if to not in FORMATS:
        raise unknown_name("format of export", to, FORMATS)
    chosen = FORMATS[to]
    if out.suffix != chosen.suffix:
        raise UserError(f"--out {out}: a file for {to} ends in {chosen.suffix}")
    out.parent.mkdir(parents=True, exist_ok=True)
    # In the same folder: only there is a rename one step.
    with TemporaryDirectory(dir=out.parent, prefix=f".{out.name}.") as folder:
        draft = Path(folder) / out.name
        chosen.write(draft, model, card)
        difference = compared(model, load_model(draft)[0], random_images(card, IMAGES), out)
        _publish(draft, out, chosen)
    return difference


@torch.no_grad()
def compared(model: TaskModel[Any], other: TaskModel[Any], images: Tensor, name: Path) -> float:
    """The greatest difference of their outputs. Raises UserError where it is more than rounding."""
    if not isinstance(model, Exportable) or not isinstance(other, Exportable):
        own, theirs = model.state_dict(), other.state_dict()
        return max(float((own[key].double() - theirs[key].double()).abs().max()) for key in own if own[key].numel())
    return max(  # some engines compute a single image by another graph than several
        _difference(one, two, name)
        for each in (images, images[:1])
        for one, two in zip(model.outputs(each), other.outputs(each), strict=True)
    )


def _difference(one: Tensor, two: Tensor, name: Path) -> float:
    difference = (one - two).abs()
    if not (difference <= ABSOLUTE + RELATIVE * one.abs() + OF_GREATEST * one.abs().max()).all():
        raise UserError(
            f"{name}: the file's outputs differ from the network's by up to {float(difference.max()):.3g}, more than "
            "rounding can; nothing was written, predict with the checkpoint itself"
        )
    return float(difference.max())


def _publish(draft: Path, out: Path, chosen: Format) -> None:
    """Put the files in their place, the one that is opened first comes last."""
    if chosen.beside:
        out.unlink(missing_ok=True)  # an old one beside new numbers would be a wrong model
    for suffix in (*chosen.beside, chosen.suffix):
        part = draft.with_suffix(suffix)
        with part.open("rb+") as file:
            os.fsync(file.fileno())
        part.replace(out.with_suffix(suffix))
