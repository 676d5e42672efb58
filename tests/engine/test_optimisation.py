"""Class weights from the truth."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.utils.class_weight import compute_class_weight

import vision_tasks as vt
from tests import factories
from vision_tasks.engine.optimisation import balanced_weights


def test_a_class_that_never_occurs_weighs_nothing_and_changes_no_other(tmp_path: Path) -> None:
    written = factories.write_mask_pairs(tmp_path, images=2)["train"]
    (tmp_path / "classes.txt").write_text("0 background\n1 a\n2 never\n3 b\n")
    for name, index in written.items():
        index[index == 2] = 3
        factories.save((tmp_path / name.replace("images", "masks")).with_suffix(".png"), index)
    samples = vt.load_dataset("segment", tmp_path).splits["train"]
    pixels = np.concatenate([index.ravel() for index in written.values()])
    expected = compute_class_weight("balanced", classes=np.array([0, 1, 3]), y=pixels)
    assert balanced_weights(samples, 4).tolist() == pytest.approx([*expected[:2], 0, expected[2]])
