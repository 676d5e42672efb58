"""The verbs as Python functions: what the command line does, with the same names and options."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

from vision_tasks.augment.policy import strength
from vision_tasks.cards import dataset_card, dataset_names, is_weight_name
from vision_tasks.config import TrainConfig, read_config
from vision_tasks.data.catalog import open_dataset, pick_split, split_remarks, train_val
from vision_tasks.data.dataset import Dataset
from vision_tasks.data.decode import first_band_count
from vision_tasks.data.device_path import DevicePath
from vision_tasks.data.flaws import in_short, write_flaws
from vision_tasks.data.shard_names import is_name_of_shards, is_url
from vision_tasks.data.shard_order import usual_buffer
from vision_tasks.device import choose_device
from vision_tasks.download import data_path
from vision_tasks.engine import predict as inference
from vision_tasks.engine import train as training_engine
from vision_tasks.engine.calibrate import fitted_temperature
from vision_tasks.engine.earlier_outputs import refuse_earlier, remove_earlier
from vision_tasks.engine.engine_choice import fastest
from vision_tasks.engine.engines import AUTO, placed, with_engine
from vision_tasks.engine.evaluate import Inference, score, score_stored
from vision_tasks.engine.progress import downloading, say
from vision_tasks.engine.readable import require_readable
from vision_tasks.engine.rehearsal import rehearse
from vision_tasks.engine.run_folder import RunFolder, dumps, next_free
from vision_tasks.engine.sources import Walk
from vision_tasks.engine.train import TrainingData
from vision_tasks.engine.worst import predicted_again, write_worst
from vision_tasks.errors import UserError, some, unknown_name
from vision_tasks.explain import explanation
from vision_tasks.explain.explanation import Request
from vision_tasks.explain.images import images_in
from vision_tasks.explain.subject import Wish
from vision_tasks.files import sha256_of, write_text
from vision_tasks.metrics.reliability import with_reliability
from vision_tasks.models.checkpoint import KEY, ModelCard, load_model, model_of, own_header
from vision_tasks.models.registry import model_entry, model_names
from vision_tasks.models.temperature import Tempered, heat, store_temperature, temperature_of
from vision_tasks.models.weights import known_weights, resolve
from vision_tasks.report import write_report
from vision_tasks.report.reliability import write_reliability
from vision_tasks.tasks import Report, Task, get_task
from vision_tasks.tasks.base import Table
from vision_tasks.tasks.fonts import drawable, unwritable
from vision_tasks.tasks.tiling import SMALLEST_TILE
from vision_tasks.types import Bands, Failure, Sample, Size

PathLike = str | Path

_ALL_BANDS = "all"


def load_dataset(task: str, data: PathLike, data_format: str | None = None) -> Dataset[Any]:
    """Read a data set of `task`: a folder or file, whose format is recognised unless given, or the name of a card.

    Raises UserError.
    """
    record = get_task(task)
    if str(data) in dataset_names() and not Path(data).exists():
        card = dataset_card(str(data))
        if task not in (card.task, *card.also):
            raise UserError(f"data set '{card.name}' is for {' and '.join((card.task, *card.also))}, not for {task}")
        data_format = data_format or card.format
    with downloading() as report:
        return open_dataset(data_path(data, report), record.readers, data_format)


def train(
    task: str,
    *,
    data: PathLike | None = None,
    model: str | None = None,
    augment: str | None = None,
    config: PathLike | TrainConfig | None = None,
    out: PathLike | None = None,
    resume: PathLike | None = None,
    **settings: Any,
) -> Path:
    """Train a model and return its run folder.

    `settings` are the fields of `TrainConfig` (epochs, image_size, batch_size, lr, seed, ...); what is not given comes
    from `config`, then from the model family's and the task's recipe. `bands` may be "all", for every band that the
    first training image has. `resume` continues a run folder to its end, exactly as if it had never stopped; only
    `data` can be given beside it, where the data has moved. Raises UserError for anything that is the caller's to mend.
    """
    record = get_task(task)
    place = {"data": _kept(data)} if data else {}
    if resume is not None:
        _refuse_beside_resume(model=model, augment=augment, config=config, out=out, **settings)
        folder = RunFolder(Path(resume))
        chosen = _resumed_config(record, folder, place)
    else:
        # One band stands for all until the first image tells how many there are.
        stand_in = {"bands": (1,)} if settings.get("bands") == _ALL_BANDS else {}
        chosen = resolve_config(record, model, augment, config, settings | place | stand_in)
        folder = _new_folder(chosen, out)
    if not chosen.data:
        raise UserError("no data: give --data PATH")
    dataset = load_dataset(task, chosen.data, chosen.data_format)
    training, validation, remarks = train_val(dataset)
    _introduce(dataset, remarks)
    if settings.get("bands") == _ALL_BANDS:
        chosen = chosen.changed(bands=tuple(range(1, first_band_count(training) + 1)))
    if chosen.shuffle_buffer is None and resume is None and (buffer := usual_buffer(training)):
        chosen = chosen.changed(shuffle_buffer=buffer)
        say(f"shards behind URLs are read nearly in their order, shuffled by a buffer of {buffer} samples; "
            "--set shuffle_buffer=N changes it")  # fmt: skip
    for part in (training, validation):
        require_readable(part, chosen.input)
    rehearse(training, chosen)
    _mention(chosen, resume is not None)
    material = TrainingData(training, validation, dataset.classes, dataset.exclusive, dataset.class_ids, dataset.flaws)
    training_engine.train(_suited(record, dataset.exclusive), chosen, folder, material, resume is not None)
    say(f"wrote {folder.best} and {folder.metrics}")
    return folder.path


def evaluate(
    task: str,
    *,
    weights: PathLike | None = None,
    predictions: PathLike | None = None,
    data: PathLike,
    split: str = "test",
    out: PathLike | None = None,
    data_format: str | None = None,
    batch_size: int = 16,
    device: str = "auto",
    precision: str = "fp32",
    engine: str = "torch",
    calibrate: bool = False,
    decode: str = "cpu",
) -> dict[str, Any]:
    """Score a checkpoint, or stored predictions of any tool, on a split; writes `metrics.json` into `out` if given.

    With `calibrate`, a temperature is fitted to the validation split before, and kept in the checkpoint: `predict` and
    `evaluate` divide logits by it from then on. The scores say what it is, and what `ece` was without it.
    Precision is fp32, torch the engine, and the CPU decodes JPEG files, unless asked for otherwise, so that a score
    does not depend on the machine. Raises UserError.
    """
    if (weights is None) == (predictions is None):
        raise UserError("give either --weights, to score a model, or --predictions, to score what is stored")
    record = get_task(task)
    _require_positive(batch_size=batch_size)
    model = None if weights is None else _load(record, weights, device, precision)
    file = _calibratable(weights, model) if calibrate else None
    dataset = load_dataset(task, data, data_format)
    samples: Sequence[Sample[Any]] = pick_split(dataset, split)
    _introduce(dataset, split_remarks(dataset, split))
    folder = None if out is None else _output_folder(Path(out))
    failures: list[Failure] = []
    predicted: Callable[[int], Any]  # what is predicted for the sample at a position
    if model is not None:
        inference, card = model
        samples = _numbered_as(card, dataset, samples)
        record = _suited(record, card.exclusive)
        record = replace(record, metric=with_reliability(record.metric))
        tempered = {} if file is None else _calibrate(file, inference, card, record, dataset, samples, batch_size)
        temperature = temperature_of(inference.model)
        inference = with_engine(inference, card, engine)
        path = DevicePath.to(inference.device, decode)
        metrics, failures = score(inference, record, samples, card.classes, card.input, batch_size, device_path=path)
        for remark in path.remarks() if path else ():
            say(remark)
        metrics |= tempered | ({"temperature": temperature} if tempered or temperature != 1 else {})
        predicted = partial(predicted_again, inference, card.input, samples)
    else:
        record = _suited(record, dataset.exclusive)
        record = replace(record, metric=with_reliability(record.metric))
        stored = _stored(record, Path(str(predictions)), dataset, samples)
        metrics, failures = score_stored(record, stored, samples, dataset.classes)
        predicted = stored.__getitem__
    for failure in failures:
        say(f"left out, cannot be read: {failure.path}: {failure.reason}")
    metrics |= {"split": split, "failed": [{"path": str(f.path), "reason": f.reason} for f in failures]}
    if folder is not None:
        _write_metrics(folder, metrics, tuple(metrics["per_class"]))
        _draw_worst(folder, record, metrics, samples, predicted, model and model[1].input.bands)
        write_flaws(folder, dataset.flaws)
    return metrics


def predict(
    task: str,
    *,
    weights: PathLike,
    source: PathLike | Sequence[PathLike],
    out: PathLike,
    formats: str | Sequence[str] = inference.FORMATS,
    conf: float = 0.25,
    max_detections: int = 300,
    batch_size: int = 16,
    device: str = "auto",
    precision: str = "fp32",
    engine: str = "torch",
    restart: bool = False,
    tile: int | None = None,
    watch: bool = False,
    decode: str = "cpu",
) -> inference.Summary:
    """Run a checkpoint over images, and write `formats` of the task into `out`.

    `source` names files, folders, globs, tar and zip archives, videos, text files of paths, or is `-` for paths from
    standard input. Of an archive every image is predicted in place, of a video every frame.

    `formats` are names, or one text of them with commas; `tasks/outputs` describes each. Boxes, or several labels of an
    image, below the score `conf` are not reported, and no more boxes of an image than `max_detections`, the best.
    An earlier call into `out` with the same settings is gone on with, whatever ended it: only new and changed images
    are predicted, and those that failed. Other settings are an error, unless `restart` removes what was written;
    nothing else in `out` is touched. Images with a side of more than `tile` pixels are predicted in overlapping tiles
    of so many. With `watch` the sources are looked at again and again, until Ctrl-C. `engine` computes the network:
    torch, compile, onnx, openvino, or with auto the fastest here that says what torch says.
    Raises UserError, also where every image failed: `failures.jsonl` is then written, too.
    """
    record = get_task(task)
    _require_positive(batch_size=batch_size, max_detections=max_detections)
    if tile is not None and record.stitch is None:
        raise UserError(f"--tile: what {record.name} says of a tile says nothing of its image; leave it out")
    if tile is not None and tile < SMALLEST_TILE:
        raise UserError(f"--tile must be {SMALLEST_TILE} pixels or more, not {tile}: try the model's image size")
    chosen = _formats(record, formats)
    refuse_earlier(record, Path(out), restart)
    model, card = _load(record, weights, device, precision)
    record = _suited(record, card.exclusive)
    if "drawings" in chosen and (names := unwritable(card.classes)):
        say(f"no font here can write {some(names)}: drawn by their numbers; a font that can, if installed, is found")
    # The folder that is written to is never looked through: an earlier call's drawings are no pictures of the user's.
    walk = Walk([source] if isinstance(source, str | Path) else source, Path(out))
    if watch and walk.reads_standard_input:
        raise UserError("--watch looks again and again, and standard input can be read once; give a folder")
    if not watch:
        walk.require_images()
    again = Walk(walk.sources, walk.without)
    model = fastest(model, card, again, batch_size) if engine == AUTO else with_engine(model, card, engine)
    path = DevicePath.to(model.device, decode)
    folder = _output_folder(Path(out))
    if restart:
        remove_earlier(record, folder)
    fingerprint = {
        "task": record.name, "weights": _weights_id(weights), "conf": f"{conf:g}",
        "max-detections": str(max_detections), "tile": str(tile), "format": ",".join(chosen),
        "precision": model.precision, "engine": engine, "decode": decode,
    }  # fmt: skip
    settings = inference.Settings(chosen, Report(conf, max_detections), batch_size, tile, path, watch, fingerprint)
    summary = inference.predict(model, record, walk, card.input, folder, settings)
    for remark in path.remarks() if path else ():
        say(remark)
    written = [name for each in chosen for name in record.formats[each].writes]
    before = f" ({summary.before} of them by earlier calls)" if summary.before else ""
    say(
        f"{summary.predicted} images predicted{before}, {summary.failed} could not be, {summary.skipped} other files "
        f"skipped; wrote {', '.join(written)} into {folder}"
    )
    if not summary.predicted and not watch:
        raise UserError(f"none of {summary.failed} images could be predicted; {folder / 'failures.jsonl'} says why")
    if summary.failed:
        say(f"those that could not be are listed in {folder / 'failures.jsonl'}, with the reason")
    return summary


def explain(
    *,
    weights: PathLike,
    source: PathLike | Sequence[PathLike],
    out: PathLike,
    layer: str | None = None,
    filter: int | None = None,
    data: PathLike | None = None,
    split: str = "all",
    label: str | None = None,
    box: int = 1,
    device: str = "auto",
    data_format: str | None = None,
) -> list[Path]:
    """Write pictures of what a checkpoint looks at, in itself and in the images of `source`, into `out`.

    They are its first filters, the maps that `layer` makes of each image, and where the evidence for what it predicts
    lies (Grad-CAM): for the class `label`, or the likeliest; of boxes for the number `box`, of which 1 is the surest.
    `layer` is a name as `models show` prints it, or of a block of such. With a number of a `filter` of that layer also
    the nine patches of `data`, or else of `source`, that excite it most. Returns the pictures; raises UserError.
    """
    if data is not None and filter is None:
        raise UserError("--data is where patches for a filter are looked for; give --filter N too")
    with downloading() as report:
        model, card = load_model(weights, report)
    record = get_task(model_entry(card.name).task)
    model = Inference.of(model, choose_device(device), "fp32").model  # as evaluate has it, to the bit
    images = images_in([source] if isinstance(source, str | Path) else source, Path(out))
    searched: Sequence[Sample[Any]] = images
    if data is not None:
        searched = pick_split(load_dataset(record.name, data, data_format), split)
    request = Request(layer, filter, Wish(label, box))
    written = explanation.explain(model, card.input, images, searched, _output_folder(Path(out)), request)
    say(f"wrote {len(written)} pictures into {out}; {explanation.LIST} there says what each of them shows")
    return written


def resolve_config(
    task: Task[Any],
    model: str | None,
    augment: str | None,
    config: PathLike | TrainConfig | None,
    settings: dict[str, Any],
) -> TrainConfig:
    """The complete configuration: task's recipe, then the model family's, then `config`, then `settings`.

    `augment` makes the policy stronger or weaker before `settings` have the last word on its parts.
    """
    given: dict[str, Any] = {}
    if isinstance(config, TrainConfig):
        given = config.model_dump()
    elif config is not None:
        given = read_config(Path(config))
    if given.get("task", task.name) != task.name:
        raise UserError(f"{config} is a configuration for {given['task']}, not for {task.name}")
    weights = str(settings.get("weights", "none"))
    name = model or given.get("model") or _same_model(task, weights) or task.recipe.model
    require_model_of(task, name)
    if weights != "none" and not is_weight_name(weights):
        settings = settings | {"weights": _kept(weights)}
    named = dict(model_entry(name).recipe) | given | {"model": name}
    if augment:
        own = named.get("augment", task.recipe.augment.model_dump())
        named["augment"] = strength(augment, task.recipe.changed(augment=own).augment).model_dump()
    return task.recipe.changed(**named | settings)


def _new_folder(config: TrainConfig, out: PathLike | None) -> RunFolder:
    name = f"{config.task}-{config.model.replace(':', '-').replace('/', '-')}"
    folder = RunFolder(Path(out) if out else next_free(Path("runs"), name))
    folder.require_new()
    return folder


def _same_model(task: Task[Any], weights: str) -> str:
    """The model that the weights hold, if it is one of this task: nobody needs to name it again."""
    name = model_of(weights) if weights != "none" else ""
    return name if name and model_entry(name).task == task.name else ""


def require_model_of(task: Task[Any], name: str) -> None:
    """A model of another task is answered with the models of this one."""
    owner = model_entry(name).task
    if owner != task.name:
        raise UserError(
            f"model '{name}' is for {owner}, not for {task.name}; use `vision-tasks {owner}`, or a model of "
            f"{task.name}: {some(model_names(task.name), 5)}"
        )


def _resumed_config(task: Task[Any], folder: RunFolder, place: dict[str, str]) -> TrainConfig:
    """The run's own configuration, in the precision that `auto` was resolved to when it began."""
    if not folder.config.exists():
        raise UserError(f"{folder.path} is not a run folder: it has no config.toml")
    if not folder.state.exists():
        raise UserError(f"{folder.path} has no last.state to resume from; train anew into another --out")
    return resolve_config(task, None, None, folder.config, {"precision": folder.precision()} | place)


def _refuse_beside_resume(**options: Any) -> None:
    given = sorted(name for name, value in options.items() if value is not None)
    if given:
        raise UserError(f"--resume goes on with the run's own settings; leave out {', '.join(given)}")


def _require_positive(**values: int) -> None:
    for name, value in values.items():
        if value < 1:
            raise UserError(f"--{name.replace('_', '-')} must be 1 or more, not {value}")


def _kept(path: PathLike) -> str:
    """As it is stored: a run can be resumed from another folder than it was started in."""
    here = Path(path).exists() or (is_name_of_shards(path) and not is_url(path))
    return str(Path(path).absolute()) if here else str(path)


def _load(task: Task[Any], weights: PathLike, device: str, precision: str) -> tuple[Inference[Any], ModelCard]:
    with downloading() as report:
        model, card = load_model(weights, report)
    require_model_of(task, card.name)
    return placed(model, device, precision), card


def _weights_id(weights: PathLike) -> str:
    """What other weights would differ in, wherever they lie."""
    file = resolve(weights).file
    assert file is not None  # it was loaded
    return sha256_of(file)[:16]


def _calibratable(weights: PathLike | None, model: tuple[Inference[Any], ModelCard] | None) -> Path:
    """The checkpoint to write a temperature into. Raises UserError for a model that has none, or no place for one."""
    if model is None or weights is None:
        raise UserError("--calibrate fits a temperature to a model's logits; give --weights, not --predictions")
    inference, card = model
    if not isinstance(inference.model, Tempered) or not card.exclusive:
        raise UserError(
            f"--calibrate: a temperature is for one class a whole image; {card.name} gives "
            f"{'several labels of an image, each for itself' if not card.exclusive else 'something else'}; leave it out"
        )
    source = resolve(weights)
    if source.card is not None or source.file is None or source.file.suffix != ".safetensors":
        raise UserError(f"--calibrate writes into the checkpoint, and {weights} is none of ours; train from it first")
    return source.file


def _calibrate(
    file: Path,
    model: Inference[Any],
    card: ModelCard,
    record: Task[Any],
    dataset: Dataset[Any],
    samples: Sequence[Sample[Any]],
    batch_size: int,
) -> dict[str, float]:
    """Fit the temperature of `model`, keep it in `file`, and say how `samples` were calibrated without it."""
    heat(model.model, 1.0)
    before, _ = score(model, record, samples, card.classes, card.input, batch_size, intervals=False)
    for remark in split_remarks(dataset, "val"):
        say(remark)
    validation = _numbered_as(card, dataset, pick_split(dataset, "val"))
    temperature = fitted_temperature(model, validation, card.input, batch_size)
    if temperature is None:
        say(f"no temperature is the best for the {len(validation)} validation images: all are right, or hardly any; "
            "it stays 1")  # fmt: skip
        temperature = 1.0
    heat(model.model, temperature)
    header = own_header(file)
    assert header is not None  # it was loaded
    store_temperature(file, KEY, header, temperature)
    say(f"temperature {temperature:.4f}, of {len(validation)} validation images; it is kept in {file}")
    return {"ece_uncalibrated": before["ece"]}


def _numbered_as(card: ModelCard, dataset: Dataset[Any], samples: Sequence[Sample[Any]]) -> Sequence[Sample[Any]]:
    """`samples` with their classes numbered as the model's are: classes are matched by name."""
    if only := sorted(set(card.classes) ^ set(dataset.classes)):
        raise UserError(
            f"classes differ (not in both: {some(only, 20)}): the weights know {some(card.classes, 20)}; "
            f"{dataset.root} has {some(dataset.classes, 20)}"
        )
    if card.exclusive and not dataset.exclusive:
        raise UserError(f"{dataset.root}: images have several labels, but the weights were trained for one an image")
    if card.classes == dataset.classes:
        return samples
    numbers = [card.classes.index(name) for name in dataset.classes]
    return [replace(sample, truth=partial(_renumbered, sample, numbers)) for sample in samples]


def _renumbered(sample: Sample[Any], numbers: Sequence[int], size: Size | None) -> Any:
    return sample.truth(size).renumbered(numbers)


def _stored(
    record: Task[Any], predictions: Path, dataset: Dataset[Any], samples: Sequence[Sample[Any]]
) -> Sequence[Any]:
    """The stored prediction for each of `samples`."""
    if record.stored is None:
        raise UserError(f"stored predictions of {record.name} can't be scored yet; give --weights")
    stored, remarks = record.stored(predictions, dataset, samples)
    for remark in remarks:
        say(remark)
    return stored


def _formats(record: Task[Any], named: str | Sequence[str]) -> tuple[str, ...]:
    """What is written: the formats that were asked for and those that always are, in the task's order."""
    names = [name.strip() for name in named.split(",")] if isinstance(named, str) else named
    for name in names:
        if name not in record.formats:
            raise unknown_name(f"format of {record.name}", name, record.formats)
        if isinstance(chosen := record.formats[name], Table):
            chosen.require()
    return tuple(name for name in record.formats if name in names or name in record.always)


def _suited(record: Task[Any], exclusive: bool) -> Task[Any]:
    """The task's record for images of one class each, or of several."""
    if exclusive:
        return record
    if record.several is None:
        raise UserError(f"{record.name} takes no data whose images have several labels")
    return record.several


def _write_metrics(folder: Path, metrics: dict[str, Any], classes: Sequence[str]) -> None:
    write_text(folder / "metrics.json", dumps(metrics) + "\n")
    written = [folder / "metrics.json", *write_report(folder, metrics, classes)]
    if "reliability" in metrics:
        written += write_reliability(folder, metrics["reliability"])
    say(f"wrote {', '.join(map(str, written))}")


def _draw_worst(
    folder: Path,
    record: Task[Any],
    metrics: dict[str, Any],
    samples: Sequence[Sample[Any]],
    predicted: Callable[[int], Any],
    bands: Bands | None,
) -> None:
    if record.compare is None or "worst" not in metrics:
        return
    picture, classes = folder / "worst.png", drawable(tuple(metrics["per_class"]))
    if write_worst(picture, record.compare, metrics["worst"], samples, predicted, classes, bands):
        say(f"wrote {picture}")


def _mention(config: TrainConfig, resumed: bool) -> None:
    """What users may want to know, and to choose otherwise, before the first epoch."""
    if config.bands and config.band_range:
        black, white = config.band_range
        say(f"bands {some(map(str, config.bands), 20)}; black is {black:g}, white {white:g}")
    elif config.bands:
        # Values of many-band images rarely fill their number type, and what is nearly black is hard to learn from.
        say(f"bands {some(map(str, config.bands), 20)}; white is the largest value of the files' number type, "
            "--band-range LOW,HIGH changes it")  # fmt: skip
    known = known_weights(config.model) if config.weights == "none" and not resumed else ()
    if known:
        say(f"from scratch; to start from published weights: --weights {' or '.join(known)}")


def _introduce(dataset: Dataset[Any], remarks: Sequence[str]) -> None:
    """Say what was recognised, what was decided, and what is wrong with the data."""
    splits = ", ".join(f"{name} {len(samples)}" for name, samples in dataset.splits.items())
    say(f"{dataset.root}: {dataset.format}, {len(dataset.classes)} classes; {splits}")
    if not dataset.exclusive:
        say("images may have several labels: each class is learned and scored for itself, by sigmoid")
    for remark in remarks:
        say(remark)
    for line in in_short(dataset.flaws, dataset.classes):
        say(f"flaw: {line}")


def _output_folder(out: Path) -> Path:
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write into {out}: {error.strerror}; give another --out") from error
    return out
