"""The command line as users see it: exit codes, one-line errors, and nothing touched."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests import factories
from vision_tasks import cli
from vision_tasks.errors import UserError
from vision_tasks.models.checkpoint import save_model
from vision_tasks.models.registry import create_model
from vision_tasks.types import InputSpec


@pytest.fixture
def run(monkeypatch, capsys):
    """Call the program in this process; returns (exit code, stdout, stderr)."""

    def call(*arguments: str | Path, program=cli.main) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["vision-tasks", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            program()
        captured = capsys.readouterr()
        return ended.value.code, captured.out, captured.err

    return call


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    factories.write_folder_per_class(folder)
    return folder


def wrong(outcome: tuple[int, str, str]) -> str:
    """The one line of an input error."""
    code, _, err = outcome
    errors = [line for line in err.splitlines() if line.startswith("error:")]
    assert code == 2
    assert "Traceback" not in err
    assert len(errors) == 1
    assert err.splitlines()[-1] == errors[0]
    return errors[0]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (("classify", "train", "--data", "nowhere"), "nowhere"),
        (("classify", "train"), "--data"),
        (("classify", "train", "--data", "PHOTOS", "--model", "resnet81"), "did you mean resnet18"),
        (("classify", "train", "--data", "PHOTOS", "--model", "yolo11n"), "is for detect, not for classify"),
        (("classify", "train", "--data", "PHOTOS", "--augment", "hard"), "unknown augmentation"),
        (("classify", "train", "--data", "PHOTOS", "--device", "tpu"), "device"),
        (("classify", "train", "--data", "PHOTOS", "--device", "cuda:99"), "--device cpu"),
        (("classify", "train", "--data", "PHOTOS", "--set", "epoks=3"), "did you mean epochs"),
        (("classify", "train", "--data", "PHOTOS", "--set", "epochs"), "key=value"),
        (("classify", "train", "--data", "PHOTOS", "--set", "model=resnet18"), "--model"),
        (("classify", "train", "--data", "PHOTOS", "--set", "augment.zom=1"), "did you mean augment.zoom"),
        (("classify", "train", "--data", "PHOTOS", "--set", "augment.zoom=[0, 1]"), "rising"),
        (("classify", "train", "--data", "PHOTOS", "--set", "fit=squeeze"), "fit"),
        (("classify", "train", "--resume", "PHOTOS", "--epochs", "3"), "leave out epochs"),
        (("classify", "train", "--data", "PHOTOS", "--out", "PHOTOS/train/a/000.jpg"), "cannot make the run folder"),
        (("classify", "evaluate", "--weights", "gone", "--data", "PHOTOS", "--batch-size", "0"), "--batch-size"),
        (("classify", "train", "--data", "PHOTOS", "--epochs", "0"), "epochs"),
        (("classify", "train", "--data", "PHOTOS", "--epochs", "many"), "epochs"),
        (("classify", "train", "--data", "PHOTOS", "--freeze", "head"), "freeze"),
        (("classify", "train", "--data", "PHOTOS", "--data-format", "folder"), "folder-per-class"),
        (("classify", "train", "--resume", "PHOTOS"), "not a run folder"),
        (("classify", "train", "--config", "gone.toml"), "gone.toml"),
        (("detect", "train", "--data", "PHOTOS"), "pascal-voc"),
        (("segment", "train", "--data", "PHOTOS"), "masks/"),
        (("classify", "evaluate", "--weights", "gone", "--data", "PHOTOS"), "gone"),
        (("classify", "evaluate", "--data", "PHOTOS"), "--weights"),
        (("classify", "predict", "--weights", "gone", "--source", "PHOTOS", "--out", "OUT"), "gone"),
        (("clasify", "train"), "clasify"),
        (("classify", "train", "--eopchs", "3"), "--eopchs"),
        (("demo", "--tasks", "classify,count"), "unknown task"),
        (("models", "--task", "count"), "unknown task"),
    ],
)
def test_wrong_input_is_one_line_with_the_remedy(arguments, expected, run, photos, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    before = {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}
    names = {"PHOTOS": photos, "OUT": tmp_path / "out"}
    given = [str(names.get(word, word)).replace("PHOTOS/", f"{photos}/") for word in arguments]
    assert expected in wrong(run(*given))
    assert before == {path: path.read_bytes() for path in photos.rglob("*") if path.is_file()}


def test_canvas_that_the_network_cannot_divide(run, tmp_path):
    factories.write_voc(tmp_path / "voc")
    line = wrong(run("detect", "train", "--data", tmp_path / "voc", "--image-size", 100, "--out", tmp_path / "run"))
    assert "multiple of 32" in line
    assert "96" in line


def test_the_whole_way(run, photos, tmp_path):
    run_folder, metrics, predictions = tmp_path / "run", tmp_path / "metrics", tmp_path / "predictions"
    code, _, err = run(
        "train", "--data", photos, "--image-size", 32, "--epochs", 1, "--batch-size", 4, "--out", run_folder,
        program=cli.classify_main,
    )  # fmt: skip
    assert code == 0
    assert "train 12" in err
    code, out, _ = run("classify", "evaluate", "--weights", run_folder, "--data", photos, "--out", metrics)
    assert code == 0
    assert "top1" in out
    assert (metrics / "metrics.json").exists()
    assert "no split 'holiday'" in wrong(
        run("classify", "evaluate", "--weights", run_folder, "--data", photos, "--split", "holiday")
    )

    (photos / "test" / "a" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    arguments = ("classify", "predict", "--weights", run_folder, "--source", photos / "test", "--out", predictions)
    code, _, err = run(*arguments)
    assert code == 0
    assert "12 images predicted, 1 could not be," in err
    assert "12 images predicted (12 of them by earlier calls), 1 could not be," in run(*arguments)[2]
    assert "conf was 0.25, now 0.5" in wrong(run(*arguments, "--conf", 0.5))
    assert run(*arguments, "--strict", "--restart")[0] == 1
    (photos / "test" / "a" / "broken.jpg").unlink()

    other = tmp_path / "other"
    factories.write_folder_per_class(other, classes=("a", "c"))
    line = wrong(run("classify", "evaluate", "--weights", run_folder, "--data", other))
    assert "a, b" in line
    assert "a, c" in line


def test_a_prediction_of_unreadable_files_alone_is_an_error(run, tmp_path):
    save_model(create_model("resnet18", ("a", "b")), tmp_path / "w.safetensors", InputSpec((32, 32), "letterbox"))
    (tmp_path / "photos").mkdir()
    (tmp_path / "photos" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 broken")
    given = ("--weights", tmp_path / "w.safetensors", "--source", tmp_path / "photos", "--out", tmp_path / "out")
    line = wrong(run("classify", "predict", *given))
    assert line == f"error: none of 1 images could be predicted; {tmp_path}/out/failures.jsonl says why"
    assert "broken.jpg" in (tmp_path / "out" / "failures.jsonl").read_text()
    assert (tmp_path / "out" / "predictions.jsonl").read_bytes() == b""


def test_a_score_outside_of_its_interval_is_explained(run, monkeypatch):
    scores = {"map": 0.5, "map_ci": (0.2, 0.4), "map_50": 0.6, "map_50_ci": (0.5, 0.7), "mar": float("nan"),
              "mar_ci": (float("nan"), float("nan")), "images": 3}  # fmt: skip
    monkeypatch.setattr("vision_tasks.commands.evaluate.evaluate", lambda *_, **__: scores)
    code, out, err = run("detect", "evaluate", "--data", ".", "--weights", "w")
    assert (code, out.splitlines()[0].split()) == (0, ["map", "0.5000", "[0.2000,", "0.4000]"])
    assert err.startswith("map: outside of its interval, which is meant so")
    scores["map"] = 0.3
    assert run("detect", "evaluate", "--data", ".", "--weights", "w")[2] == ""


EARLY = """
import sys
from vision_tasks.cli import main
sys.argv = ["vision-tasks", *sys.argv[1:]]
try:
    main()
except SystemExit as ended:
    print(ended.code, [name for name in ("torch", "cv2", "numpy", "matplotlib") if name in sys.modules])
"""


@pytest.mark.parametrize(
    "arguments",
    [
        ("train", "--data", "nowhere"),
        ("train", "--data", "RUN", "--out", "RUN"),
        ("train", "--data", "RUN", "--config", "gone.toml"),
        ("evaluate", "--data", "mnits", "--weights", "w"),
        ("predict", "--weights", "w", "--source", "nowhere.jpg", "--out", "o"),
    ],
)
def test_what_a_look_at_the_disk_tells_is_told_before_anything_heavy_is_imported(arguments, tmp_path):
    (tmp_path / "config.toml").touch()
    given = [str(tmp_path) if word == "RUN" else word for word in arguments]
    done = subprocess.run([sys.executable, "-c", EARLY, "classify", *given], capture_output=True, text=True)
    assert done.stdout.strip() == "2 []"
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.splitlines()) == 1


def test_existing_run_is_kept(run, photos, tmp_path):
    (tmp_path / "config.toml").write_text("mine = 1\n")
    assert "--resume" in wrong(run("classify", "train", "--data", photos, "--out", tmp_path))
    assert (tmp_path / "config.toml").read_text() == "mine = 1\n"


def test_models_are_listed_with_their_licences(run):
    code, out, _ = run("models")
    assert code == 0
    rows = {line.split()[1]: line for line in out.splitlines()}
    assert "AGPL-3.0" in rows["yolo11n"]
    assert "BSD-3-Clause" in rows["resnet18"]
    assert "MIT" in rows["unet"]


def test_stopping_by_hand_says_how_to_go_on(run, monkeypatch):
    def interrupted(*_args, **_options):
        raise KeyboardInterrupt

    monkeypatch.setattr("vision_tasks.commands.train.train", interrupted)
    code, _, err = run("classify", "train", "--data", ".")
    assert code == 1
    assert "--resume" in err


def test_help_and_bare_call(run):
    for arguments in ((), ("--help",), ("detect", "train", "--help")):
        code, out, _ = run(*arguments)
        assert code == 0
        assert "Usage" in out


def test_installed_programs_answer():
    for name in ("vision-tasks", "vt-classify", "vt-detect", "vt-segment"):
        program = Path(sys.executable).with_name(name)
        done = subprocess.run([program, "--help"], capture_output=True, text=True)
        assert done.returncode == 0, done.stderr


def test_errors_are_one_line(run, monkeypatch):
    def fail(*_args, **_options):
        raise UserError("first\n  second")

    monkeypatch.setattr("vision_tasks.commands.train.train", fail)
    assert wrong(run("classify", "train", "--data", ".")) == "error: first second"
