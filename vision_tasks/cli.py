"""The command line: task first, verb second. It parses, calls the function of the same name, and words the errors.

Nothing heavy is imported here: `--help` must answer before torch could be loaded.
"""

from __future__ import annotations

import errno
import sys
from collections.abc import Callable, Sequence
from glob import has_magic
from pathlib import Path
from typing import Annotated, Any

import typer

from vision_tasks.benchmarking.command import benchmark
from vision_tasks.data.shards.names import is_name_of_shards
from vision_tasks.errors import UserError
from vision_tasks.processes import is_first_process

_TASKS = {
    "classify": "Image classification: one class for a whole image.",
    "detect": "Object detection: boxes with classes and confidence scores.",
    "segment": "Semantic segmentation: a class for every pixel.",
}

_DATA_HELP = "Folder or file of the data set, whose format is recognised, or a card."
_AUGMENT_HELP = "none, light, default, strong, or albumentations:FILE, a pipeline that it saved as YAML or JSON."
_FORMATS_HELP = "jsonl, csv, parquet, drawings; for boxes coco, yolo. jsonl and masks are always written."
_SOURCE_HELP = "File, folder, glob, tar, zip, video, .txt of paths, or - for paths from standard input; repeatable."
_PREDICTIONS_HELP = (
    "Score these instead, of any tool: a CSV; for boxes COCO results or our predictions.jsonl; for masks a folder."
)
_DECODE_HELP = "What decodes JPEG files for a CUDA device: auto, cpu or cuda."
_WEIGHTS_HELP = "Run folder, .safetensors file or name of a weight card."
Data = Annotated[str, typer.Option(help=_DATA_HELP)]
DataFormat = Annotated[str | None, typer.Option(help="On-disk format, where it should not be recognised.")]
Device = Annotated[str, typer.Option(help="auto, cpu, cuda or cuda:N.")]
Weights = Annotated[str, typer.Option(help=_WEIGHTS_HELP)]


def _task_app(task: str, summary: str) -> typer.Typer:
    """The verbs of one task; the same three for every task."""
    app = typer.Typer(help=summary, add_completion=False, pretty_exceptions_enable=False)

    @app.command()
    def train(
        data: Annotated[str | None, typer.Option(help=_DATA_HELP)] = None,
        model: Annotated[str | None, typer.Option(help="Name of the model; `vision-tasks models` lists them.")] = None,
        weights: Annotated[
            str | None, typer.Option(help="What to start from: run, file, card, imagenet or none.")
        ] = None,
        epochs: Annotated[int | None, typer.Option(help="Times through the training images.")] = None,
        image_size: Annotated[int | None, typer.Option(help="Side of the square canvas in pixels.")] = None,
        batch_size: Annotated[int | None, typer.Option(help="Images per step.")] = None,
        lr: Annotated[float | None, typer.Option(help="Peak learning rate.")] = None,
        freeze: Annotated[str | None, typer.Option(help="What stands still: none, backbone or N of its parts.")] = None,
        freeze_epochs: Annotated[
            int | None, typer.Option(help="Epochs for the head alone, before everything learns, slowly.")
        ] = None,
        probe: Annotated[bool, typer.Option("--probe", help="Only fit the last layer, to a still network.")] = False,
        class_weights: Annotated[str | None, typer.Option(help="none, or auto: rare classes count more.")] = None,
        bands: Annotated[str | None, typer.Option(help="Bands of many-band images, as 4,3,2, or all.")] = None,
        band_range: Annotated[str | None, typer.Option(help="Values of black and white in bands, as 0,3000.")] = None,
        augment: Annotated[str | None, typer.Option(help=_AUGMENT_HELP)] = None,
        device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or cuda:N.")] = None,
        precision: Annotated[str | None, typer.Option(help="auto, fp32 or bf16.")] = None,
        cache: Annotated[
            str | None, typer.Option(help="Where decoded images are kept: auto, none, ram, disk or device.")
        ] = None,
        cache_budget: Annotated[str | None, typer.Option(help="Most bytes of them, as 4GB.")] = None,
        decode: Annotated[str | None, typer.Option(help=_DECODE_HELP)] = None,
        seed: Annotated[int | None, typer.Option(help="Same seed, same weights.")] = None,
        out: Annotated[str | None, typer.Option(help="Run folder to make; default: runs/TASK-MODEL.")] = None,
        resume: Annotated[str | None, typer.Option(help="Run folder to continue where it stopped.")] = None,
        settings: Annotated[
            list[str] | None, typer.Option("--set", help="key=value for any other setting of config.toml.")
        ] = None,
        config: Annotated[str | None, typer.Option(help="TOML file of settings, as in a run folder.")] = None,
        data_format: DataFormat = None,
    ) -> None:
        """Train a model; writes a run folder with checkpoints and metrics."""
        given = {
            "weights": weights, "epochs": epochs, "image_size": image_size, "batch_size": batch_size, "lr": lr,
            "freeze": freeze, "freeze_epochs": freeze_epochs, "probe": probe or None, "class_weights": class_weights,
            "bands": bands, "band_range": band_range, "device": device, "precision": precision, "seed": seed,
            "data_format": data_format, "cache": cache, "cache_budget": cache_budget,
            "decode": decode,
        }  # fmt: skip
        chosen = {name: value for name, value in given.items() if value is not None}
        _look_first(data, config=config, new_run=None if resume else out)
        chosen = _together(chosen, _settings(settings or []))
        from vision_tasks.commands.train import train

        train(task, data=data, model=model, augment=augment, config=config, out=out, resume=resume, **chosen)

    @app.command()
    def evaluate(
        data: Data,
        weights: Annotated[str | None, typer.Option(help=_WEIGHTS_HELP)] = None,
        predictions: Annotated[str | None, typer.Option(help=_PREDICTIONS_HELP)] = None,
        split: Annotated[str, typer.Option(help="A split of the data, or all.")] = "test",
        out: Annotated[str | None, typer.Option(help="Folder for metrics.json.")] = None,
        batch_size: Annotated[int, typer.Option(help="Images per step.")] = 16,
        device: Device = "auto",
        precision: Annotated[str, typer.Option(help="fp32, bf16 or auto.")] = "fp32",
        engine: Annotated[str, typer.Option(help="torch, compile, onnx or openvino.")] = "torch",
        decode: Annotated[str, typer.Option(help=_DECODE_HELP)] = "cpu",
        calibrate: Annotated[
            bool, typer.Option("--calibrate", help="Fit a temperature on val before, and keep it in the checkpoint.")
        ] = False,
        data_format: DataFormat = None,
    ) -> None:
        """Score a checkpoint, or stored predictions, on a split, in original pixels."""
        _look_first(data)
        from vision_tasks.commands.evaluate import evaluate

        metrics = evaluate(task, weights=weights, predictions=predictions, data=data, split=split, out=out,
                           batch_size=batch_size, device=device, precision=precision,
                           data_format=data_format, engine=engine, calibrate=calibrate, decode=decode)  # fmt: skip
        _print_scores(metrics)

    @app.command()
    def predict(
        weights: Weights,
        source: Annotated[list[str], typer.Option(help=_SOURCE_HELP)],
        out: Annotated[str, typer.Option(help="Folder to write into.")],
        formats: Annotated[str, typer.Option("--format", help=_FORMATS_HELP)] = "jsonl,drawings",
        conf: Annotated[
            float, typer.Option(min=0, max=1, help="Boxes, or several labels, below it are not reported.")
        ] = 0.25,
        max_detections: Annotated[int, typer.Option(help="Most boxes reported for an image.")] = 300,
        batch_size: Annotated[int, typer.Option(help="Images per step.")] = 16,
        tile: Annotated[
            int | None, typer.Option(help="Side in pixels of the tiles in which larger images are predicted.")
        ] = None,
        device: Device = "auto",
        precision: Annotated[str, typer.Option(help="fp32, bf16 or auto.")] = "fp32",
        decode: Annotated[str, typer.Option(help=_DECODE_HELP)] = "cpu",
        engine: Annotated[
            str, typer.Option(help="torch, compile, onnx, openvino; auto is the fastest that agrees with torch.")
        ] = "torch",
        engine_cluster: Annotated[str | None, typer.Option(help="ray: by the machines of a cluster.")] = None,
        restart: Annotated[
            bool, typer.Option("--restart", help="Remove what predict wrote into --out before, and begin anew.")
        ] = False,
        watch: Annotated[bool, typer.Option("--watch", help="Go on as new images come, until Ctrl-C.")] = False,
        strict: Annotated[bool, typer.Option("--strict", help="Exit with 1 if a file could not be predicted.")] = False,
    ) -> None:
        """Run a checkpoint over files and folders; called again, goes on with what is new, changed or not yet done."""
        _look_first(None, sources=source)
        from vision_tasks.commands.predict import predict

        summary = predict(task, weights=weights, source=source, out=out, formats=formats, conf=conf,
                          max_detections=max_detections, batch_size=batch_size, device=device,
                          precision=precision, engine=engine, restart=restart, tile=tile, watch=watch,
                          decode=decode, engine_cluster=engine_cluster)  # fmt: skip
        if strict and summary.failed:
            raise typer.Exit(1)

    return app


_APPS = {task: _task_app(task, summary) for task, summary in _TASKS.items()}

app = typer.Typer(
    help="Classify, detect, segment: train, evaluate and predict with one data layer and exact metrics.",
    add_completion=False,
    pretty_exceptions_enable=False,
)
for _name, _app in _APPS.items():
    app.add_typer(_app, name=_name)


@app.command()
def demo(
    out: Annotated[Path, typer.Option(help="Folder to write into.")] = Path("demo"),
    tasks: Annotated[str, typer.Option(help="Which tasks to show.")] = ",".join(_TASKS),
) -> None:
    """The main job on data that is already here: no download, no GPU, some minutes."""
    from vision_tasks.commands.demo import run_demo

    run_demo(out, tuple(tasks.split(",")))


@app.command()
def explain(
    weights: Weights,
    source: Annotated[list[str], typer.Option(help="File, folder or glob; can be given more than once.")],
    out: Annotated[str, typer.Option(help="Folder to write into.")],
    layer: Annotated[
        str | None, typer.Option(help="Layer or block, as `models show` names them; default: the backbone's last.")
    ] = None,
    filter: Annotated[int | None, typer.Option(help="Filter of the layer, whose strongest patches are shown.")] = None,
    data: Annotated[str | None, typer.Option(help="Where patches are looked for, if not in --source.")] = None,
    split: Annotated[str, typer.Option(help="A split of --data, or all.")] = "all",
    label: Annotated[str | None, typer.Option("--class", help="Class to explain; default: the likeliest.")] = None,
    box: Annotated[int, typer.Option(help="Which box to explain; 1 is the surest.")] = 1,
    device: Device = "auto",
    data_format: DataFormat = None,
) -> None:
    """Show what a network looks at: filters, feature maps, patches that excite a filter, Grad-CAM."""
    _look_first(data, sources=source)
    from vision_tasks.commands.explain import explain

    for path in explain(weights=weights, source=source, out=out, layer=layer, filter=filter, data=data,
                        split=split, label=label, box=box, device=device, data_format=data_format):  # fmt: skip
        print(path)


app.command()(benchmark)


_models = typer.Typer(help="The models, with the licence of their code.", add_completion=False)
app.add_typer(_models, name="models")


@_models.callback(invoke_without_command=True)
def models(
    context: typer.Context, task: Annotated[str | None, typer.Option(help="classify, detect or segment.")] = None
) -> None:
    """The models of a task, with the licence of their code."""
    if context.invoked_subcommand is not None:
        return
    from vision_tasks.models.registry import model_entry, model_names

    for name in model_names(task):
        entry = model_entry(name)
        print(f"{entry.task:9} {name:38} {entry.family:20} {entry.code_licence:13} {entry.note}".rstrip())


@_models.command()
def show(
    name: Annotated[str, typer.Argument(help="Name of the model.")],
    image_size: Annotated[int | None, typer.Option(min=1, help="Side of the square canvas in pixels.")] = None,
    classes: Annotated[int | None, typer.Option(min=1, help="How many classes it tells apart.")] = None,
) -> None:
    """Each layer's output shape, parameters and multiply-adds."""
    from vision_tasks.commands.show import show_model

    print(show_model(name, image_size, classes))


@app.command()
def export(
    weights: Weights,
    to: Annotated[str, typer.Option(help="onnx, openvino, or torch: our own .safetensors.")],
    out: Annotated[str, typer.Option(help="File to write: .onnx, .xml or .safetensors.")],
) -> None:
    """Write a checkpoint for another engine, and compare the file with the network."""
    from vision_tasks.commands.export import export as run

    run(weights=weights, to=to, out=out)


@app.command()
def parity(
    weights: Weights,
    data: Data,
    split: Annotated[str, typer.Option(help="A split of the data, or all.")] = "test",
    to: Annotated[str | None, typer.Option(help="Formats to export to, as onnx,openvino; default: installed.")] = None,
    exported: Annotated[list[str] | None, typer.Option(help="A file exported before; can be repeated.")] = None,
    batch_size: Annotated[int, typer.Option(help="Images per step.")] = 16,
    precision: Annotated[str, typer.Option(help="fp32, bf16 or auto, of the weights.")] = "fp32",
    data_format: DataFormat = None,
) -> None:
    """Exit with 1 unless evaluate, predict on a folder and exported files give the same scores."""
    _look_first(data)
    from vision_tasks.commands.parity import parity as run

    found = run(weights=weights, data=data, split=split, to=to, exported=exported or (), batch_size=batch_size,
                precision=precision, data_format=data_format)  # fmt: skip
    print(found.table())
    if found.failed():
        raise typer.Exit(1)


_data = typer.Typer(help="Data sets as they are on disk.", add_completion=False, no_args_is_help=True)
app.add_typer(_data, name="data")


@_data.command()
def shard(
    path: Annotated[str, typer.Argument(help=_DATA_HELP)],
    out: Annotated[str, typer.Option(help="Folder to make.")],
    shard_size: Annotated[str, typer.Option(help="Bytes of a shard, about: 256MB, 1GB.")] = "256MB",
    task: Annotated[
        str | None, typer.Option(help="classify, detect or segment, where the data is for more than one.")
    ] = None,
    data_format: DataFormat = None,
) -> None:
    """Write a data set of any format as WebDataset tar shards."""
    _look_first(path)
    from vision_tasks.commands.shard import shard_dataset

    shard_dataset(path, out, task=task, data_format=data_format, shard_size=shard_size)


@_data.command()
def check(
    path: Annotated[str, typer.Argument(help=_DATA_HELP)],
    task: Annotated[
        str | None, typer.Option(help="classify, detect or segment, where the data is for more than one.")
    ] = None,
    out: Annotated[str | None, typer.Option(help="Folder for check.json and check.html.")] = None,
    pixels: Annotated[
        bool, typer.Option("--pixels/--no-pixels", help="Whether images are decoded, or only their headers read.")
    ] = True,
    data_format: DataFormat = None,
) -> None:
    """Look for what is wrong with a data set; changes nothing. Exit code 3 if something is."""
    _look_first(path)
    from vision_tasks.doctor.check import check_dataset

    if not check_dataset(path, task=task, data_format=data_format, pixels=pixels, out=out).healthy:
        raise typer.Exit(_UNHEALTHY)


@_data.command()
def convert(
    path: Annotated[str, typer.Argument(help=_DATA_HELP)],
    to: Annotated[str, typer.Option(help="coco, yolo, voc or masks.")],
    out: Annotated[str, typer.Option(help="Folder to make.")],
    copy: Annotated[bool, typer.Option("--copy", help="Copy the images; else they are linked to.")] = False,
    task: Annotated[
        str | None, typer.Option(help="classify, detect or segment, where the data is for more than one.")
    ] = None,
    data_format: DataFormat = None,
) -> None:
    """Write a data set in another format; what that can't hold is said."""
    _look_first(path)
    from vision_tasks.commands.convert import convert_dataset

    convert_dataset(path, to, out, task=task, data_format=data_format, copy=copy)


@_data.command()
def preview(
    path: Annotated[str, typer.Argument(help=_DATA_HELP)],
    out: Annotated[str, typer.Option(help="PNG to write.")],
    augment: Annotated[str | None, typer.Option(help=_AUGMENT_HELP)] = None,
    image_size: Annotated[int | None, typer.Option(min=1, help="Side of the square canvas in pixels.")] = None,
    split: Annotated[str, typer.Option(help="A split of the data, or all.")] = "train",
    rows: Annotated[int, typer.Option(min=0, max=100, help="Epochs to show below what is not augmented.")] = 4,
    columns: Annotated[int, typer.Option(min=1, max=100, help="Images to show.")] = 6,
    seed: Annotated[int, typer.Option(min=0, help="Of the luck that chooses and augments.")] = 0,
    task: Annotated[
        str | None, typer.Option(help="classify, detect or segment, where the data is for more than one.")
    ] = None,
    data_format: DataFormat = None,
) -> None:
    """Draw what a training would see: augmented images with their truth."""
    _look_first(path)
    from vision_tasks.commands.preview import preview_dataset

    preview_dataset(path, out, task=task, data_format=data_format, augment=augment, image_size=image_size, split=split,
                    rows=rows, columns=columns, seed=seed)  # fmt: skip


# The base of every complaint about options, wherever this version of Typer keeps its copy of Click.
_UsageError: Any = typer.BadParameter.__mro__[1]
_INTERRUPTED = 130  # Typer's own answer to Ctrl-C
_UNHEALTHY = 3  # of `data check`: it ran, and found something


def main(app: typer.Typer = app) -> None:
    """Run the command line: exit code 0 done, 2 the input is wrong (one line says how), 1 anything else."""
    arguments = sys.argv[1:] or ["--help"]
    sys.exit(_run(typer.main.get_command(app), arguments))


def classify_main() -> None:
    """`vt-classify`"""
    main(_APPS["classify"])


def detect_main() -> None:
    """`vt-detect`"""
    main(_APPS["detect"])


def segment_main() -> None:
    """`vt-segment`"""
    main(_APPS["segment"])


def _run(command: Callable[..., Any], arguments: list[str]) -> int:
    try:
        code = int(command(arguments, standalone_mode=False) or 0)
    except UserError as error:
        return _complain(str(error))
    except _UsageError as error:
        program = error.ctx.command_path if error.ctx else "vision-tasks"
        return _complain(f"{error.format_message().rstrip('.')}; see {program} --help")
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            named = f"{error.filename}: " if error.filename else ""
            return _complain(f"{named}{error.strerror}; make room, and go on: what was written before is kept")
        if error.filename is None:
            raise
        return _complain(f"{error.filename}: {error.strerror}; check the path and its permissions")
    except (KeyboardInterrupt, typer.Abort):
        code = _INTERRUPTED
    if code == _INTERRUPTED:
        print(
            "stopped; what was written so far is usable (`train --resume RUN` goes on, "
            "`predict` when it is called again)",
            file=sys.stderr,
        )
        return 1
    return code


def _look_first(
    data: str | None, *, config: str | None = None, new_run: str | None = None, sources: Sequence[str] = ()
) -> None:
    """What a look at the disk tells, told at once and not after seconds of imports. Raises UserError."""
    if data is not None and not Path(data).exists() and not is_name_of_shards(data):
        from vision_tasks.cards import dataset_names
        from vision_tasks.download import data_path

        if data not in dataset_names():
            raise UserError(f"{data_path(data)}: no such file or folder; check --data")
    if config is not None and not Path(config).exists():
        raise UserError(f"cannot read the configuration {config}: no such file or folder")
    if new_run is not None and Path(new_run, "config.toml").exists():
        raise UserError(f"{new_run} already holds a run; continue it with --resume {new_run}, or give another --out")
    for source in sources:
        if source != "-" and not has_magic(source) and not Path(source).exists():
            raise UserError(f"source {source} does not exist")


def _settings(texts: list[str]) -> dict[str, Any]:
    """What `--set` says; settings that have an option of their own are asked to use it."""
    from vision_tasks.config import parse_setting

    settings = dict(parse_setting(text) for text in texts)
    for name in ("task", "data", "model", "augment", "config", "out", "resume"):
        if name in settings:
            raise UserError(f"--set {name}=... is not a setting of its own; use the option --{name}")
    return settings


def _together(options: dict[str, Any], settings: dict[str, Any]) -> dict[str, Any]:
    """Both; a value that is given twice is the user's to decide."""
    if twice := sorted(options.keys() & settings.keys()):
        raise UserError(f"{', '.join(twice)}: given by its own option and by --set; leave out one of them")
    return options | settings


def _complain(message: str) -> int:
    if is_first_process():
        print("error: " + " ".join(message.split()), file=sys.stderr)
    return 2


def _print_scores(metrics: dict[str, Any]) -> None:
    """Every score of the whole, with its interval where it has one."""
    outside = []
    for name, value in metrics.items():
        if isinstance(value, float):
            low, high = metrics.get(f"{name}_ci", (None, None))
            print(f"{name:16} {value:.4f}" + ("" if low is None else f"  [{low:.4f}, {high:.4f}]"))
            outside += [name] if low is not None and (value < low or value > high) else []
    print(f"{'images':16} {metrics['images']}")
    if outside:
        print(f"{', '.join(outside)}: outside of its interval, which is meant so: few images give a score that is too "
              "high on average, and the interval is corrected for that", file=sys.stderr)  # fmt: skip


if __name__ == "__main__":
    main()
