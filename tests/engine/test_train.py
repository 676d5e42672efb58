"""Training end to end on tiny real data, through the public functions, for every task by the same code."""

import json
import tomllib
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from sklearn.utils.class_weight import compute_class_weight

import vision_tasks as vt
from tests import factories
from vision_tasks import luck
from vision_tasks.config import TrainConfig
from vision_tasks.engine.optimisation import WeightMean, balanced_weights, class_counts
from vision_tasks.engine.run_folder import RunFolder
from vision_tasks.engine.train import Training, TrainingData
from vision_tasks.tasks import TASKS
from vision_tasks.types import Labels, Sample

CASES = {
    "classify": (factories.write_folder_per_class, "resnet18", 32),
    "detect": (factories.write_voc, "yolo11n", 64),
    "segment": (factories.write_mask_pairs, "unet:resnet18", 64),
}


def train(task, tmp_path, out="run", **options):
    write, model, size = CASES[task]
    data = tmp_path / "data"
    if not data.exists():
        write(data)
    settings = {"model": model, "image_size": size, "epochs": 1, "batch_size": 4, "device": "cpu"} | options
    return vt.train(task, data=data, out=tmp_path / out, **settings)


@pytest.mark.parametrize("task", CASES)
def test_a_run_holds_what_it_promises(task, tmp_path):
    run = train(task, tmp_path)
    assert {path.name for path in run.iterdir()} - {"tensorboard", ".lock"} == {
        "config.toml", "metrics.jsonl", "best.safetensors", "last.safetensors", "last.state", "model.json",
        "environment.json", "report.html",
    }  # fmt: skip
    config = tomllib.loads((run / "config.toml").read_text())
    assert TrainConfig.model_validate(config).task == task
    line = json.loads((run / "metrics.jsonl").read_text())
    assert line["epoch"] == 0
    assert line["loss"] == pytest.approx(sum(v for k, v in line.items() if k.startswith("loss_")))
    assert 0 <= line["data_wait"] <= 1
    assert 0 <= line[TASKS[task].score] <= 1
    card = json.loads((run / "model.json").read_text())
    assert card["model"] == CASES[task][1]
    assert card["size"] == [CASES[task][2]] * 2


@pytest.mark.parametrize("task", CASES)
def test_same_seed_same_weights_and_another_seed_others(task, tmp_path):
    first, again, other = (
        load_file(train(task, tmp_path, out, seed=seed) / "last.safetensors")
        for out, seed in (("a", 1), ("b", 1), ("c", 2))
    )
    assert all(tensor.equal(again[name]) for name, tensor in first.items())
    assert any(not tensor.equal(other[name]) for name, tensor in first.items())


@pytest.mark.parametrize("task", CASES)
def test_bfloat16_trains_evaluates_and_predicts(task, tmp_path):
    """Emulated where the processor has no units for it: slow, but the same path as where it has."""
    run = train(task, tmp_path, precision="bf16")
    line = json.loads((run / "metrics.jsonl").read_text())
    assert line["loss"] > 0
    data = tmp_path / "data"
    found = {
        precision: vt.evaluate(task, weights=run, data=data, precision=precision) for precision in ("fp32", "bf16")
    }
    assert found["bf16"][TASKS[task].score] == pytest.approx(found["fp32"][TASKS[task].score], abs=0.15)
    vt.predict(task, weights=run, source=data, out=tmp_path / "p", precision="bf16", formats="jsonl")


def test_autocast_reaches_the_network(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(torch.nn.Conv2d, "forward", _recording(torch.nn.Conv2d.forward, seen))
    run = train("classify", tmp_path, precision="bf16")
    assert set(seen) == {torch.bfloat16}
    seen.clear()
    vt.evaluate("classify", weights=run, data=tmp_path / "data")
    assert set(seen) == {torch.float32}


def _recording(forward, seen):
    def recorded(self, images):
        output = forward(self, images)
        seen.append(output.dtype)
        return output

    return recorded


def test_training_leaves_the_callers_random_state(tmp_path):
    torch.manual_seed(5)
    before = torch.random.get_rng_state()
    train("classify", tmp_path)
    assert torch.equal(torch.random.get_rng_state(), before)


@pytest.mark.parametrize("task", CASES)
def test_evaluate_scores_what_the_last_validation_scored(task, tmp_path):
    """One preprocessing: `evaluate` on the validation split gives the number that training reported for it."""
    run = train(task, tmp_path, precision="fp32")
    line = json.loads((run / "metrics.jsonl").read_text())
    found = vt.evaluate(task, weights=run, data=tmp_path / "data", split="val", out=tmp_path / "e")
    assert found[TASKS[task].score] == pytest.approx(line[TASKS[task].score], abs=1e-6)
    assert json.loads((tmp_path / "e" / "metrics.json").read_text())["images"] == found["images"]


def test_a_frozen_backbone_stays_still(tmp_path):
    run = train("classify", tmp_path, epochs=1, freeze="backbone")
    after = load_file(run / "last.safetensors")
    torch.manual_seed(0)
    before = vt.create_model("resnet18", ("a", "b")).state_dict()
    moved = {name for name, tensor in after.items() if not tensor.equal(before[name])}
    assert moved
    assert all(".fc." in f".{name}" for name in moved), moved


def test_unet_starts_from_a_classifier(tmp_path, capsys):
    run = train("classify", tmp_path / "c")
    train("segment", tmp_path / "s", weights=str(run))
    assert "of the backbone" in capsys.readouterr().err


def test_an_unreadable_training_image_is_named_and_left_out(tmp_path, capsys):
    factories.write_folder_per_class(tmp_path / "data")
    bad = tmp_path / "data" / "train" / "a" / "000.jpg"
    bad.write_bytes(bad.read_bytes()[:300])
    run = train("classify", tmp_path)
    assert json.loads((run / "metrics.jsonl").read_text())["train_images"] == 11
    assert json.loads((run / "failures.jsonl").read_text())["path"] == str(bad)
    assert str(bad) in capsys.readouterr().err


def test_no_readable_image_at_all_is_an_error(tmp_path):
    factories.write_folder_per_class(tmp_path / "data")
    for path in (tmp_path / "data" / "train").rglob("*.jpg"):
        path.write_bytes(b"")
    with pytest.raises(vt.UserError, match="none of 12 images could be read"):
        train("classify", tmp_path)


def test_a_lost_training_stops_with_the_remedy(tmp_path):
    with pytest.raises(vt.UserError, match="smaller --lr"):
        train("classify", tmp_path, lr=1e30, epochs=3, optimiser="sgd", warmup_epochs=0.0, clip=1e30)


def test_a_run_is_never_overwritten(tmp_path):
    train("classify", tmp_path)
    with pytest.raises(vt.UserError, match="--resume"):
        train("classify", tmp_path)


def test_a_finished_run_resumes_to_itself(tmp_path):
    run = train("classify", tmp_path)
    before = (run / "last.safetensors").read_bytes()
    assert vt.train("classify", resume=run) == run
    assert (run / "last.safetensors").read_bytes() == before


def test_the_config_of_a_run_makes_the_same_run(tmp_path):
    run = train("classify", tmp_path, augment="strong", seed=3)
    again = vt.train("classify", config=run / "config.toml", out=tmp_path / "again")
    first, second = load_file(run / "last.safetensors"), load_file(again / "last.safetensors")
    assert all(tensor.equal(second[name]) for name, tensor in first.items())


def test_the_licence_of_the_start_survives_a_resume(tmp_path):
    start = train("classify", tmp_path, "start")
    torch.save({k.removeprefix("net."): v for k, v in load_file(start / "last.safetensors").items()
                if k.startswith("net.")}, tmp_path / "foreign.pth")  # fmt: skip
    run = train("classify", tmp_path, weights=str(tmp_path / "foreign.pth"), epochs=1)
    (run / "config.toml").write_text((run / "config.toml").read_text().replace("epochs = 1", "epochs = 2", 1))
    before = vt.load_model(run)[1].weights_licence
    vt.train("classify", resume=run)
    assert vt.load_model(run / "last.safetensors")[1].weights_licence == before != ""


def test_one_training_a_folder(tmp_path):
    run = train("classify", tmp_path)
    with RunFolder(run).alone(), pytest.raises(vt.UserError, match="another process"):
        vt.train("classify", resume=run)


def test_early_stopping_and_a_resume_that_stays_stopped(tmp_path, capsys):
    run = train("classify", tmp_path, epochs=30, patience=2, lr=1e-9, warmup_epochs=0.0)
    lines = (run / "metrics.jsonl").read_text().splitlines()
    scores = [json.loads(line)["top1"] for line in lines]
    assert len(lines) < 30
    assert max(scores[:-2]) >= max(scores[-2:])
    assert "stopped early: no better top1 in 2 validations" in capsys.readouterr().err
    vt.train("classify", resume=run)
    assert (run / "metrics.jsonl").read_text().splitlines() == lines


@pytest.mark.parametrize(("scores", "best"), [((0.5, 0.5, 0.5), 2), ((0.4, 0.6, 0.6, 0.5), 2), ((0.7, 0.1), 0)])
def test_of_equally_good_weights_the_later_are_the_best(scores, best, tmp_path, monkeypatch):
    each = iter(scores)
    monkeypatch.setattr("vision_tasks.engine.train.score", lambda *_, **__: ({"top1": next(each)}, []))
    run = train("classify", tmp_path, epochs=len(scores))
    assert vt.load_model(run / "best.safetensors")[1].extra["epoch"] == best


def test_patience_waits_for_a_first_score(tmp_path):
    run = train("detect", tmp_path, epochs=3, patience=1, lr=1e-9, warmup_epochs=0.0)
    scores = [json.loads(line)["map"] for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert scores == [0, 0, 0]


@pytest.mark.parametrize("optimiser", ["sgd", "adam", "adamw"])
def test_every_optimiser_resumes(optimiser, tmp_path):
    """Also where it uses no momentum."""
    run = train("classify", tmp_path, optimiser=optimiser, momentum=0.0, augment="none")
    state = (run / "last.state").read_bytes()
    (run / "config.toml").write_text((run / "config.toml").read_text().replace("epochs = 1", "epochs = 2", 1))
    vt.train("classify", resume=run)
    assert len((run / "metrics.jsonl").read_text().splitlines()) == 2
    assert (run / "last.state").read_bytes() != state


def test_balanced_weights_are_scikit_learns(tmp_path):
    factories.write_folder_per_class(tmp_path / "data", ("a", "b", "c"), per_class=6)
    for path in sorted((tmp_path / "data" / "train" / "b").iterdir())[2:]:
        path.unlink()
    samples = vt.load_dataset("classify", tmp_path / "data").splits["train"]
    labels = [sample.stratum for sample in samples]
    expected = compute_class_weight("balanced", classes=np.array(["a", "b", "c"]), y=labels)
    assert balanced_weights(samples, 3).tolist() == pytest.approx(expected.tolist())


def test_learning_curves_for_tensorboard(tmp_path):
    events = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    run = train("classify", tmp_path, epochs=2)
    found = events.EventAccumulator(str(run / "tensorboard")).Reload()
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    for name in ("loss", "top1", "lr"):
        curve = [(event.step, event.value) for event in found.Scalars(name)]
        assert curve == [(line["epoch"], pytest.approx(line[name], rel=1e-6)) for line in lines]


def test_a_loss_by_name(tmp_path):
    run = train("classify", tmp_path, loss="focal+mae", label_smoothing=0.1, class_weights="auto")
    line = json.loads((run / "metrics.jsonl").read_text())
    assert {name for name in line if name.startswith("loss_")} == {"loss_focal", "loss_mae"}
    with pytest.raises(vt.UserError, match="did you mean cross_entropy"):
        train("classify", tmp_path, "other", loss="cross_entropi")
    with pytest.raises(vt.UserError, match="losses of its own"):
        train("detect", tmp_path / "d", loss="focal")


def test_mean_of_weights_and_statistics_against_float64():
    """What is whole is the model's own; all else follows one formula, in double precision here."""
    torch.manual_seed(0)
    model = vt.create_model("cifar_resnet20", ("a", "b")).train()
    mean = WeightMean(model, 0.6)
    expected = {name: tensor.double().clone() for name, tensor in model.state_dict().items()}
    for step in range(30):
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(0.1 * torch.randn_like(parameter))
            model.predict(torch.rand(2, 3, 32, 32))
            model(torch.rand(4, 3, 32, 32), Labels(torch.eye(2)[[0, 1, 0, 1]]))  # its statistics move
        mean.update(model, step)
        decay = min(0.6, (1 + step) / (10 + step))
        for name, tensor in model.state_dict().items():
            expected[name] = decay * expected[name] + (1 - decay) * tensor.double()
    found = mean.model.state_dict()
    counted = [name for name, tensor in found.items() if not tensor.is_floating_point()]
    assert counted
    for name, tensor in found.items():
        if name in counted:
            assert tensor.item() == model.state_dict()[name].item() == 30
        else:
            torch.testing.assert_close(tensor.double(), expected[name], rtol=1e-5, atol=1e-6)
    assert any("running_var" in name and not found[name].equal(model.state_dict()[name]) for name in found)


def test_the_mean_looks_back_over_a_ninth_of_the_steps():
    """Shamir and Zhang's polynomial decay: an age of a share x of all steps weighs 9 (1 - x)^8, on average a tenth."""
    model = torch.nn.Linear(1, 1)
    mean = WeightMean(model, 0.99999)
    for step in range(2000):
        torch.nn.init.constant_(model.weight, step)
        mean.update(model, step)
    assert 2000 - mean.model.weight.item() == pytest.approx(200, rel=0.02)


@pytest.mark.parametrize("task", CASES)
def test_mixing_trains_every_target(task, tmp_path):
    policy = {"mosaic": 0.5, "copy_paste": 0.7, "cutmix": 0.5, "mixup": 0.7, "mixup_alpha": 1.0, "mix_off": 1}
    run = train(task, tmp_path, augment="none", epochs=2, ema=0.9, **{f"augment.{k}": v for k, v in policy.items()})
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    assert all(line["loss"] > 0 for line in lines)


def seen_ids(monkeypatch):
    """The ids of the training's images, in the order in which they are learnt from."""
    seen = []
    learn = Training._learn

    def recorded(self, part, batch, bar):
        seen.extend(info.id for info in batch.info)
        learn(self, part, batch, bar)

    monkeypatch.setattr(Training, "_learn", recorded)
    return seen


def test_rare_classes_are_seen_more_often(tmp_path, monkeypatch):
    factories.write_folder_per_class(tmp_path / "data", per_class=18)
    for path in sorted((tmp_path / "data" / "train" / "b").iterdir())[2:]:
        path.unlink()
    seen = seen_ids(monkeypatch)
    train("classify", tmp_path, model="mnist_cnn", image_size=28, epochs=8, sampling="balanced", validate_every=8)
    assert len(seen) == 8 * 20
    rare = sum(name.startswith("train/b/") for name in seen)
    # 2 and 18 images: the roots of their inverse shares are 3 to 1, so they are 6 of 24 parts, a quarter of the draws.
    assert rare == pytest.approx(40, abs=4)


def test_a_mixed_and_balanced_training_goes_on_with_the_same_bits(tmp_path, monkeypatch):
    policy = {"augment.cutmix": 0.5, "augment.mixup": 0.5, "augment.mix_off": 1}
    options = {"model": "mnist_cnn", "image_size": 28, "epochs": 3, "ema": 0.9, "sampling": "balanced",
               "save_steps": 1, **policy}  # fmt: skip
    whole = train("classify", tmp_path, "whole", **options)
    move = Training._move

    def interrupted(self, done):
        if done == 4:
            raise KeyboardInterrupt
        move(self, done)

    with monkeypatch.context() as patch:
        patch.setattr(Training, "_move", interrupted)
        with pytest.raises(KeyboardInterrupt):
            train("classify", tmp_path, "killed", **options)
    vt.train("classify", resume=tmp_path / "killed")
    expected, found = (load_file(folder / "last.safetensors") for folder in (whole, tmp_path / "killed"))
    assert all(tensor.equal(found[name]) for name, tensor in expected.items())


@pytest.mark.parametrize("task", ["detect", "segment"])
def test_balanced_sampling_reads_any_truth(task, tmp_path, monkeypatch):
    seen = seen_ids(monkeypatch)
    train(task, tmp_path, sampling="balanced")
    samples = vt.load_dataset(task, tmp_path / "data").splits["train"]
    assert len(seen) == len(samples)
    assert set(seen) <= {sample.id for sample in samples}


def test_a_subset_that_shows_no_class_is_an_error(tmp_path):
    """Of the six images the second shows nothing: with this seed it is the one that is drawn."""
    factories.write_voc(tmp_path / "data")
    samples = vt.load_dataset("detect", tmp_path / "data").splits["train"]
    keys = luck.keys(sample.id for sample in samples)
    empty = next(i for i, sample in enumerate(samples) if not sample.truth((60, 80)).counts(2).any())
    seed = next(seed for seed in range(100) if luck.order(seed, "subset", 0, keys)[0] == empty)
    with pytest.raises(vt.UserError, match=r"none of 1 training images shows any of the classes a, b.*--max-images"):
        train("detect", tmp_path, max_images=1, seed=seed)


def test_classes_that_the_first_epoch_never_showed_are_named_once(tmp_path, capsys):
    factories.write_mask_pairs(tmp_path / "data")
    names = [*vt.load_dataset("segment", tmp_path / "data").classes, "unicorn", "kraken"]
    (tmp_path / "data" / "classes.txt").write_text("\n".join(names))
    train("segment", tmp_path, epochs=2)
    told = [line for line in capsys.readouterr().err.splitlines() if "first epoch showed" in line]
    assert len(told) == 1
    assert "any unicorn, kraken:" in told[0]


def test_a_file_whose_truth_cannot_be_counted_is_left_to_the_loader():
    def unreadable(size):
        raise vt.UserError("no such image")

    good = Sample("a", Path("a.jpg"), lambda _: Labels.one_hot(1, 2))
    bad = Sample("b", Path("b.jpg"), unreadable)
    assert class_counts([bad, good], 2).tolist() == [[0, 0], [0, 1]]
    TrainingData([bad], [], ("x", "y")).require_truth()


def test_a_probe_sees_every_image_once(tmp_path):
    with pytest.raises(vt.UserError, match=r"leave out .*sampling"):
        train("classify", tmp_path, probe=True, sampling="balanced")
