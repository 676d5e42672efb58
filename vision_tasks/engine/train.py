"""The training loop, one for all tasks: plans -> loader -> losses -> optimiser -> validation -> checkpoints.

A run is a function of its configuration and data: batches, augmentation and the network's own randomness are keyed by
(seed, epoch, step), so a killed and resumed run ends with the bits of an uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from typing import Any, Generic

import numpy as np
import torch
from lightning_fabric import Fabric
from lightning_fabric.wrappers import _FabricModule
from numpy.typing import NDArray
from torch import Tensor
from torch.optim import Optimizer

from vision_tasks import luck
from vision_tasks.augment.plan import Planner
from vision_tasks.config import TrainConfig, write_config
from vision_tasks.data.loader import Loader
from vision_tasks.device import (
    Precision,
    autocast,
    choose_device,
    choose_precision,
    describe,
    fabric_for,
    keep_freed_memory,
)
from vision_tasks.engine.evaluate import Inference, nothing_readable, score
from vision_tasks.engine.optimisation import (
    WeightMean,
    freeze,
    learning_rate,
    make_optimiser,
    set_learning_rate,
    training_mode,
)
from vision_tasks.engine.progress import Bar, progress, say
from vision_tasks.engine.run_folder import RunFolder, dumps, environment
from vision_tasks.engine.state import Position, load_state, save_state
from vision_tasks.errors import UserError
from vision_tasks.files import write_text
from vision_tasks.models.base import TaskModel
from vision_tasks.models.checkpoint import save_model, start_from
from vision_tasks.models.registry import create_model
from vision_tasks.tasks.base import Task
from vision_tasks.types import Batch, Failure, Sample, T


@dataclass(frozen=True)
class TrainingData(Generic[T]):
    """What is trained and validated on."""

    train: Sequence[Sample[T]]
    val: Sequence[Sample[T]]
    classes: tuple[str, ...]

    def limited(self, config: TrainConfig) -> TrainingData[T]:
        """With at most the configured number of training samples, drawn by keyed luck."""
        if config.max_images is None:
            return self
        order = luck.order(config.seed, "subset", 0, luck.keys(sample.id for sample in self.train))
        return replace(self, train=[self.train[i] for i in sorted(order[: config.max_images])])


@dataclass
class Training(Generic[T]):
    """A training that is set up and can run."""

    task: Task[T]
    config: TrainConfig
    folder: RunFolder
    data: TrainingData[T]
    fabric: Fabric
    precision: Precision
    model: TaskModel[T]
    module: _FabricModule  # the model as Fabric wraps it for the devices
    optimiser: Optimizer
    mean: WeightMean | None
    position: Position = field(default_factory=Position)
    failures: dict[str, Failure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.keys = luck.keys(sample.id for sample in self.data.train)
        config = self.config
        self.planner = Planner(config.augment, config.input.canvas, config.fit, self.keys, config.seed, config.epochs)
        self.batches_per_epoch = -(-len(self.data.train) // config.batch_size)

    def resume(self) -> None:
        """Go back to the last saved state of the run folder."""
        self.position = load_state(self.folder.state, self.model, self.optimiser, self.mean)
        self.folder.keep_metrics_before(self.position.epoch)
        self.failures = {str(failure.path): failure for failure in self.folder.read_failures()}

    def run(self) -> None:
        """Train from the current position to the last epoch."""
        while self.position.epoch < self.config.epochs:
            self._train_epoch()
            self._finish_epoch()

    def _train_epoch(self) -> None:
        epoch, config = self.position.epoch, self.config
        training_mode(self.model, config.freeze)
        self.model.anneal(epoch / config.epochs)
        batches = self._batches(epoch)
        detail = config.augment.largest_zoom()
        loader = Loader(
            self.data.train,
            (self.planner.plan(epoch, batch) for batch in batches[self.position.step :]),
            config.input.canvas,
            detail=(round(config.image_size * detail), round(config.image_size * detail)),
            bands=config.input.bands,
            device=self.fabric.device,
        )
        with progress(f"epoch {epoch + 1}/{config.epochs}", len(self.data.train)) as bar:
            bar.advance(self.position.images)
            asked = time.perf_counter()
            for batch in loader:
                arrived = time.perf_counter()
                self._step(batch, bar)
                self.position.waited += arrived - asked
                self.position.seconds += time.perf_counter() - asked
                self.position.step += 1
                if self.position.step % config.save_steps == 0 and self.position.step < len(batches):
                    self._save_state()
                asked = time.perf_counter()

    def _batches(self, epoch: int) -> list[NDArray[np.int64]]:
        """Positions of the samples of each batch: shuffled, and as equal in number as can be."""
        order = luck.order(self.config.seed, "order", epoch, self.keys)
        return np.array_split(order, self.batches_per_epoch)

    def _step(self, batch: Batch[T], bar: Bar) -> None:
        for failure in batch.failures:
            self._count_failure(failure)
        if not len(batch) or batch.targets is None:
            return
        epoch, step = self.position.epoch, self.position.step
        # Dropout and proposal sampling draw from torch's own stream: it starts anew, keyed, at every step.
        torch.manual_seed(luck.key(f"{self.config.seed}/step/{epoch}/{step}") >> 1)
        done = epoch * self.batches_per_epoch + step
        set_learning_rate(self.optimiser, learning_rate(self.config, done, self.batches_per_epoch))
        losses = self._losses(batch.images, batch.targets)
        loss = torch.stack(list(losses.values())).sum()
        self.fabric.backward(loss)
        self.fabric.clip_gradients(self.module, self.optimiser, max_norm=self.config.clip, error_if_nonfinite=False)
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.mean is not None:
            self.mean.update(self.model, done)
        self._count(losses, len(batch))
        bar.advance(len(batch), f"loss {loss.item():.3f}")

    def _losses(self, images: Tensor, targets: T) -> dict[str, Tensor]:
        with autocast(self.fabric.device, self.precision):
            try:
                losses: dict[str, Tensor] = self.module(images, targets)
            except ValueError as error:
                if "more than 1 value per channel" not in str(error):
                    raise
                raise UserError(
                    f"a batch of {len(images)} at {self.config.image_size} px leaves {self.config.model} one value "
                    "to normalise; use a larger --batch-size or --image-size"
                ) from error
        return losses

    def _count(self, losses: dict[str, Tensor], images: int) -> None:
        position = self.position
        position.images += images
        for name, value in losses.items():
            position.losses[name] = position.losses.get(name, 0.0) + value.item() * images
        if not all(isfinite(total) for total in position.losses.values()):
            raise UserError(
                f"the loss is no longer finite in epoch {position.epoch + 1}, step {position.step + 1}; "
                f"try a smaller --lr than {self.config.lr:g}. The last saved state is untouched"
            )

    def _count_failure(self, failure: Failure) -> None:
        if str(failure.path) not in self.failures:
            self.failures[str(failure.path)] = failure
            say(f"left out, cannot be read: {failure.path}: {failure.reason}")
            self.folder.write_failures(self.failures.values())

    def _finish_epoch(self) -> None:
        position, config = self.position, self.config
        if not position.images:
            raise nothing_readable(list(self.failures.values()))
        line = self._training_record()
        if (position.epoch + 1) % config.validate_every == 0 or position.epoch + 1 == config.epochs:
            line |= self._validate()
        evaluated = self.mean.model if self.mean is not None else self.model
        self._save_model(evaluated, line)
        say(_summary(line, config.epochs, self.task.headline))
        self.position = Position(epoch=position.epoch + 1, best=position.best)
        # In this order: a crash between the two repeats the epoch, with equal bits, and replaces its line.
        self.folder.append_metrics(line)
        self._save_state()

    def _training_record(self) -> dict[str, Any]:
        position = self.position
        losses = {name: total / position.images for name, total in position.losses.items()}
        return {
            "epoch": position.epoch,
            "loss": sum(losses.values()),
            **{f"loss_{name}": value for name, value in losses.items()},
            "lr": self.optimiser.param_groups[0]["lr"],
            "train_images": position.images,
            "train_images_per_second": position.images / position.seconds,
            "data_wait": position.waited / position.seconds,
        }

    def _validate(self) -> dict[str, Any]:
        config = self.config
        model = self.model if self.mean is None else self.mean.model
        inference = Inference(model, self.fabric.device, self.precision)
        scores, failures = score(
            inference, self.task, self.data.val, self.data.classes, config.input, 2 * config.batch_size
        )
        for failure in failures:
            self._count_failure(failure)
        return {name: value for name, value in scores.items() if name != "per_class"}

    def _save_model(self, model: TaskModel[T], line: dict[str, Any]) -> None:
        value = line.get(self.task.score)
        config = self.config
        extra = {"epoch": line["epoch"], self.task.score: value if value == value else None}
        save_model(model, self.folder.last, config.input, extra)
        if value is not None and (value > self.position.best or not self.folder.best.exists()):
            self.position.best = value if value == value else self.position.best
            save_model(model, self.folder.best, config.input, extra)

    def _save_state(self) -> None:
        save_state(self.folder.state, self.position, self.model, self.optimiser, self.mean)


def train(task: Task[T], config: TrainConfig, folder: RunFolder, data: TrainingData[T], resume: bool) -> None:
    """Train into `folder`, from the configured weights or from the folder's last state; the caller's luck is kept."""
    data = data.limited(config)
    device = choose_device(config.device)
    keep_freed_memory(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        precision = choose_precision(config.precision, device)
        say(
            f"training {config.model} on {describe(device)} in {precision}: "
            f"{len(data.train)} images, {len(data.val)} for validation"
        )
        training = _set_up(task, config, folder, data, fabric_for(device), precision, resume)
        if resume:
            training.resume()
        else:
            folder.create()
            write_config(config, folder.config)
            write_text(folder.path / "environment.json", dumps(environment(describe(device), precision)))
            card = {"model": config.model, "classes": data.classes, "size": config.input.canvas, "fit": config.fit}
            write_text(folder.path / "model.json", dumps(card))
        training.run()


def _set_up(
    task: Task[T],
    config: TrainConfig,
    folder: RunFolder,
    data: TrainingData[T],
    fabric: Fabric,
    precision: Precision,
    resume: bool,
) -> Training[T]:
    torch.manual_seed(config.seed)
    model: TaskModel[T] = create_model(config.model, data.classes)
    check_canvas(model, config.image_size)
    if config.weights != "none" and not resume:
        say(start_from(model, config.weights))
    freeze(model, config.freeze)
    model.to(memory_format=torch.channels_last)
    module, optimiser = fabric.setup(model, make_optimiser(model, config))
    mean = WeightMean(model, config.ema) if config.ema else None
    return Training(task, config, folder, data, fabric, precision, model, module, optimiser, mean)


def check_canvas(model: TaskModel[Any], image_size: int) -> None:
    """A canvas that the network cannot divide is the user's error."""
    multiple = model.info.size_multiple
    if image_size % multiple:
        near = max(multiple, round(image_size / multiple) * multiple)
        raise UserError(f"--image-size {image_size}: {model.info.name} needs a multiple of {multiple}; try {near}")


def _summary(line: dict[str, Any], epochs: int, headline: Sequence[str]) -> str:
    scores = "".join(f", {name} {line[name]:.4f}" for name in headline if name in line)
    speed = f"{line['train_images_per_second']:.1f} images/s, waited for data {line['data_wait']:.0%}"
    return f"epoch {line['epoch'] + 1}/{epochs}: loss {line['loss']:.4f}{scores} ({speed})"
