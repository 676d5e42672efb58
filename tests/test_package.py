"""The package as users install it: the wheel works outside the checkout, the lock names versions and hashes only."""

import re
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent


@pytest.mark.slow
def test_the_wheel_works_outside_the_checkout(tmp_path):
    build = [sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(tmp_path), str(ROOT)]
    subprocess.run(build, check=True, capture_output=True)
    (wheel,) = tmp_path.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        archive.extractall(tmp_path / "site")
    assert "vision_tasks/cards/weights/README.md" in names
    assert "vision_tasks/cards/datasets/README.md" in names
    assert not [name for name in names if name.startswith(("tests/", "benchmarks/", "datasets/", "weights/"))]
    code = (
        "import vision_tasks.cli, vision_tasks; print(vision_tasks.__file__); print(vision_tasks.create_model)\n"
        "from vision_tasks.cards import class_names, weight_card, weight_names\n"
        "print(len(weight_names()), len(class_names(weight_card('resnet18_imagenet1k_v1'))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env={"PYTHONPATH": str(tmp_path / "site"), "PATH": ""},
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.startswith(str(tmp_path / "site"))
    assert done.stdout.split()[-2:] == [str(len(list((ROOT / "weights").glob("*.toml")))), "1000"]


def test_the_lock_has_a_hash_for_every_version_and_names_no_host():
    text = (ROOT / "requirements.lock").read_text()
    assert "://" not in text
    pinned = re.findall(r"^([a-z0-9][\w.-]*)==", text, re.MULTILINE)
    entries = re.split(r"^(?=[a-z0-9])", text, flags=re.MULTILINE)[1:]
    assert len(pinned) == len(entries)
    assert all("--hash=sha256:" in entry for entry in entries)


def test_both_builds_of_opencv_stand_at_one_version():
    found = re.findall(r"^opencv-python(?:-headless)?==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    assert len(found) == 2
    assert len(set(found)) == 1


def test_the_readme_names_every_module():
    tree = (ROOT / "README.md").read_text()
    for path in (ROOT / "vision_tasks").rglob("*.py"):
        if path.name != "__init__.py":
            name = path.stem if path.parent.name == "readers" else path.name
            assert name in tree, path
