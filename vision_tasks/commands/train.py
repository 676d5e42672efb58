"""`train`: a data set and a configuration become a run folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vision_tasks.commands.configuration import as_kept, resolve_config, resumed_config
from vision_tasks.commands.datasets import introduce, load_dataset
from vision_tasks.commands.given import PathLike, suited
from vision_tasks.config import TrainConfig
from vision_tasks.data.catalog import train_val
from vision_tasks.data.decode import first_band_count
from vision_tasks.data.shards.order import usual_buffer
from vision_tasks.engine import train as training_engine
from vision_tasks.engine.progress import say
from vision_tasks.engine.readable import require_readable
from vision_tasks.engine.rehearsal import rehearse
from vision_tasks.engine.run_folder import RunFolder, next_free
from vision_tasks.engine.train import TrainingData
from vision_tasks.errors import UserError, some
from vision_tasks.models.weights import known_weights
from vision_tasks.report.model_page import write_model_page
from vision_tasks.tasks import get_task

_ALL_BANDS = "all"


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
    place = {"data": as_kept(data)} if data else {}
    if resume is not None:
        _refuse_beside_resume(model=model, augment=augment, config=config, out=out, **settings)
        folder = RunFolder(Path(resume))
        chosen = resumed_config(record, folder, place)
    else:
        # One band stands for all until the first image tells how many there are.
        stand_in = {"bands": (1,)} if settings.get("bands") == _ALL_BANDS else {}
        chosen = resolve_config(record, model, augment, config, settings | place | stand_in)
        folder = _new_folder(chosen, out)
    chosen, material = _opened(chosen, every_band=settings.get("bands") == _ALL_BANDS, resumed=resume is not None)
    training_engine.train(suited(record, material.exclusive), chosen, folder, material, resume is not None)
    say(f"wrote {folder.best} and {folder.metrics}")
    write_model_page(folder.path)
    return folder.path


def _opened(config: TrainConfig, every_band: bool, resumed: bool) -> tuple[TrainConfig, TrainingData[Any]]:
    """The data, looked at before anything is trained, and the configuration with what only the data tells."""
    if not config.data:
        raise UserError("no data: give --data PATH")
    dataset = load_dataset(config.task, config.data, config.data_format)
    training, validation, remarks = train_val(dataset)
    introduce(dataset, remarks)
    if every_band:
        config = config.changed(bands=tuple(range(1, first_band_count(training) + 1)))
    if config.shuffle_buffer is None and not resumed and (buffer := usual_buffer(training)):
        config = config.changed(shuffle_buffer=buffer)
        say(f"shards behind URLs are read nearly in their order, shuffled by a buffer of {buffer} samples; "
            "--set shuffle_buffer=N changes it")  # fmt: skip
    for part in (training, validation):
        require_readable(part, config.input)
    rehearse(training, config)
    _mention(config, resumed)
    return config, TrainingData(
        training, validation, dataset.classes, dataset.exclusive, dataset.class_ids, dataset.flaws
    )


def _new_folder(config: TrainConfig, out: PathLike | None) -> RunFolder:
    name = f"{config.task}-{config.model.replace(':', '-').replace('/', '-')}"
    folder = RunFolder(Path(out) if out else next_free(Path("runs"), name))
    folder.require_new()
    return folder


def _refuse_beside_resume(**options: Any) -> None:
    given = sorted(name for name, value in options.items() if value is not None)
    if given:
        raise UserError(f"--resume goes on with the run's own settings; leave out {', '.join(given)}")


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
