"""What evaluation counts, and what it leaves out where nobody would read it."""

import json
from pathlib import Path

import pytest
import torch

import vision_tasks as vt
from tests import factories
from vision_tasks.tasks import SEGMENT


def test_validation_while_training_counts_no_boundaries(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    factories.write_mask_pairs(tmp_path / "data", images=3)

    def refuse(index: torch.Tensor) -> torch.Tensor:
        raise AssertionError("bands along boundaries cost most of the time")

    with monkeypatch.context() as patch:
        patch.setattr("vision_tasks.metrics.segmentation.near_boundary", refuse)
        run = vt.train(
            "segment", data=tmp_path / "data", model="unet:resnet18", image_size=64, epochs=1, batch_size=3,
            out=tmp_path / "run", device="cpu", precision="fp32",
        )  # fmt: skip
    line = json.loads((run / "metrics.jsonl").read_text())
    assert "boundary_iou" not in line
    found = vt.evaluate(
        "segment", weights=run / "last.safetensors", data=tmp_path / "data", split="val", out=tmp_path / "e"
    )
    assert 0 <= found["boundary_iou"] <= 1
    for name in (*SEGMENT.headline, "iou", "miou_per_image"):
        assert line[name] == pytest.approx(found[name])
