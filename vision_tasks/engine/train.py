"""The training loop, one for all tasks: plans -> loader -> losses -> optimiser -> validation -> checkpoints.

A run is a function of its configuration and data: batches, augmentation and the network's own randomness are keyed by
(seed, epoch, step), so a killed and resumed run ends with the bits of an uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from math import isfinite
from typing import TYPE_CHECKING, Any, Generic

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from vision_tasks import luck
from vision_tasks.augment.plan import Planner
from vision_tasks.config import TrainConfig, write_config
from vision_tasks.data.caches.cache import ImageCache
from vision_tasks.data.decode import read_image
from vision_tasks.data.flaws import Flaw, write_flaws
from vision_tasks.data.loader import Loader
from vision_tasks.data.on_device.path import DevicePath
from vision_tasks.data.on_device.side_stream import clock_for
from vision_tasks.data.shards.order import buffered_order, extents_of
from vision_tasks.data.unreadable import DecodeError
from vision_tasks.device import (
    Precision,
    autocast,
    choose_device,
    choose_precision,
    describe,
    fabric_for,
    keep_freed_memory,
)
from vision_tasks.engine.batching import Part, balanced_order, cut, repeat_factors, steps_per_epoch
from vision_tasks.engine.evaluate import Inference, nothing_readable, score
from vision_tasks.engine.optimisation import (
    Holder,
    WeightMean,
    balanced_weights,
    class_counts,
    held_at,
    keep_statistics,
    make_optimiser,
    start_momentum,
)
from vision_tasks.engine.probe import fit_last_layer
from vision_tasks.engine.progress import Bar, downloading, progress, say
from vision_tasks.engine.run_folder import RunFolder, dumps, environment
from vision_tasks.engine.scalars import Scalars
from vision_tasks.engine.schedule import pace, set_pace
from vision_tasks.engine.shared_cache import shared_cache
from vision_tasks.engine.state import Position, load_state, save_state
from vision_tasks.errors import UserError, some
from vision_tasks.files import write_text
from vision_tasks.models.base import TaskModel
from vision_tasks.models.batch_norm import settle_within
from vision_tasks.models.checkpoint import save_model
from vision_tasks.models.registry import create_model
from vision_tasks.models.transfer import start_from
from vision_tasks.tasks.base import Task
from vision_tasks.types import Batch, Failure, Sample, Size, T

if TYPE_CHECKING:
    from lightning_fabric import Fabric
    from lightning_fabric.wrappers import _FabricModule, _FabricOptimizer


@dataclass(frozen=True)
class TrainingData(Generic[T]):
    """What is trained and validated on."""

    train: Sequence[Sample[T]]
    val: Sequence[Sample[T]]
    classes: tuple[str, ...]
    exclusive: bool = True
    class_ids: tuple[int, ...] = ()
    flaws: tuple[Flaw, ...] = ()

    def limited(self, config: TrainConfig) -> TrainingData[T]:
        """With at most the configured number of training samples, drawn by keyed luck."""
        if config.max_images is None:
            return self
        order = luck.order(config.seed, "subset", 0, luck.keys(sample.id for sample in self.train))
        return replace(self, train=[self.train[i] for i in sorted(order[: config.max_images])])

    def counts(self) -> NDArray[np.float64]:
        """How much of each class every training image holds, [N,K]."""
        return class_counts(self.train, len(self.classes)).double().numpy()

    def require_truth(self) -> None:
        """Raises UserError where no training image shows any class; reads no further than the first that does."""
        if not any(_may_show_a_class(sample, len(self.classes)) for sample in self.train):
            raise UserError(
                f"none of {len(self.train)} training images shows any of the classes {some(self.classes)}, so nothing "
                "can be learned; mend the annotations, or raise --max-images"
            )


def _may_show_a_class(sample: Sample[T], num_classes: int) -> bool:
    try:
        return bool(sample.truth(None).counts(num_classes).any())
    except (UserError, DecodeError):  # what can't be read: the loader tells of it
        return True


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
    holder: Holder
    module: _FabricModule  # the model as Fabric wraps it for the devices
    optimiser: _FabricOptimizer
    mean: WeightMean | None
    scalars: Scalars
    cache: ImageCache | None = None
    device_path: DevicePath | None = None
    position: Position = field(default_factory=Position)
    failures: dict[str, Failure] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.held = held_at(self.config, 0)
        self.spare: tuple[Tensor, T] | None = None
        self.keys = luck.keys(sample.id for sample in self.data.train)
        config = self.config
        self.planner = Planner(config.augment, config.input.canvas, config.fit, self.keys, config.seed, config.epochs)
        self.steps_per_epoch = steps_per_epoch(len(self.data.train), config.batch_size, config.accumulate)

    @cached_property
    def factors(self) -> NDArray[np.float64] | None:
        """How often each image is to be seen, relative to others [N]; None: once an epoch."""
        return repeat_factors(self.data.counts()) if self.config.sampling == "balanced" else None

    @property
    def is_first(self) -> bool:
        """Of the processes that train together, the one that validates and writes."""
        return self.fabric.global_rank == 0

    @property
    def is_over(self) -> bool:
        """Whether all epochs are done, or the score has not become better for too long."""
        patience = self.config.patience
        return self.position.epoch >= self.config.epochs or 0 < patience <= self.position.stale

    def resume(self) -> None:
        """Go back to the last saved state of the run folder."""
        self.position = load_state(self.folder.state, self.model, self.optimiser.optimizer, self.mean)
        for model in (self.model, self.mean.model) if self.mean else (self.model,):
            model.info = replace(model.info, weights_licence=self.position.weights_licence)
        self.failures = {str(failure.path): failure for failure in self.folder.read_failures()}
        if self.is_first:
            self.folder.keep_metrics_before(self.position.epoch)

    def begin(self, device: str) -> None:
        """Make the run folder and store what is known before the first step.

        The configuration comes last: where it is, there is a state to resume from.
        """
        folder, config = self.folder, self.config
        folder.create()
        write_text(folder.path / "environment.json", dumps(environment(device, self.precision)))
        card = {"model": config.model, "classes": self.data.classes, "size": config.input.canvas, "fit": config.fit}
        write_text(folder.path / "model.json", dumps(card))
        write_flaws(folder.path, self.data.flaws)
        self.position.weights_licence = self.model.info.weights_licence
        self._save_state()
        write_config(config, folder.config)

    def run(self) -> None:
        """Train from the current position to the end."""
        if self.is_over:
            say(f"{self.folder.path} is complete: {self.position.epoch} of {self.config.epochs} epochs")
        if self.config.probe and not self.is_over:
            self._probe()
        while not self.is_over:
            self._train_epoch()
            self._finish_epoch()
        if self.position.epoch < self.config.epochs:
            say(f"stopped early: no better {self.task.score} in {self.position.stale} validations")

    def _probe(self) -> None:
        """Instead of all epochs: the last layer is fitted to what the still network makes of the images."""
        started = time.perf_counter()
        images, failures = fit_last_layer(self._inference(self.model), self.data.train, self.config)
        for failure in failures:
            self._count_failure(failure)
        self.position = replace(self.position, images=images, seconds=time.perf_counter() - started)
        self.position.epoch = self.config.epochs - 1
        self._finish_epoch()

    def _train_epoch(self) -> None:
        epoch, config = self.position.epoch, self.config
        self._hold(epoch)
        self.model.anneal(epoch / max(1, config.epochs - 1))
        parts = self._parts(epoch)
        loader = Loader(
            self.data.train,
            (self.planner.plan(epoch, part.samples) for part in parts[self.position.step :]),
            config.input.canvas,
            detail=_detail(config),
            bands=config.input.bands,
            device=self.fabric.device,
            read=self.cache or read_image,
            device_path=self.device_path,
        )
        with progress(f"epoch {epoch + 1}/{config.epochs}", len(self.data.train)) as bar:
            bar.advance(self.position.images)
            clock, asked = clock_for(self.fabric.device), time.perf_counter()
            clock.asked()
            for part, batch in zip(parts[self.position.step :], loader, strict=True):
                clock.arrived()
                self._tell_of_path()
                self._learn(part, batch, bar)
                self.position.waited += clock.taken()
                self.position.seconds += time.perf_counter() - asked
                self.position.step += 1
                self._save_now_and_then(part, last=self.position.step == len(parts))
                asked = time.perf_counter()
                clock.asked()

    def _tell_of_path(self) -> None:
        for remark in self.device_path.remarks() if self.device_path else ():
            say(remark)

    def _hold(self, epoch: int) -> None:
        """Hold still what this epoch does not train; where that changes, Fabric must wrap the model anew."""
        what = held_at(self.config, epoch)
        self.holder.hold(what)
        if what != self.held:
            still = "everything" if what == "none" else f"everything but the backbone's first {what} parts"
            say(f"{still} learns from now on, {self.config.fine_tune_rate:g} times as fast")
            self.held, self.module = what, self.fabric.setup_module(self.model)
        if epoch >= self.config.epochs - self.config.norm_off:
            # Of the mean of weights, if there is one: its statistics look back over more than a few batches.
            keep_statistics(self.model, self.mean.model if self.mean else None)

    def _parts(self, epoch: int) -> list[Part]:
        """This process' parts of the epoch."""
        config, fabric = self.config, self.fabric
        return cut(self._order(epoch), config.batch_size, config.accumulate, fabric.world_size, fabric.global_rank)

    def _order(self, epoch: int) -> NDArray[np.int64]:
        """The epoch's samples: shuffled, by a buffer where that is asked for, or drawn, by keyed luck."""
        seed, buffer = self.config.seed, self.config.shuffle_buffer
        if self.factors is not None:
            return balanced_order(self.factors, seed, epoch, self.keys)
        if buffer and (extents := extents_of(self.data.train)):
            return buffered_order(extents, buffer, seed, epoch, self.keys)
        return luck.order(seed, "order", epoch, self.keys)

    def _learn(self, part: Part, batch: Batch[T], bar: Bar) -> None:
        """Gradients of one part, and a step if it is a step's last."""
        for failure in batch.failures:
            self._count_failure(failure)
        done = self.position.epoch * self.steps_per_epoch + self.position.step // self.config.accumulate
        # A single survivor of unreadable files has no statistics to normalise by: it waits for its next epoch.
        alone = len(batch) == 1 < len(part.samples) and self._normalises_batches()
        if len(batch) and batch.targets is not None and not alone:
            self.spare = batch.images, batch.targets
            self._add_gradients(part, batch.images, batch.targets, bar)
        elif self.fabric.world_size > 1:
            self._take_part(part)
        if part.ends_step and any(parameter.grad is not None for parameter in self.model.parameters()):
            self._move(done)

    def _normalises_batches(self) -> bool:
        return any(isinstance(module, nn.modules.batchnorm._BatchNorm) for module in self.model.modules())

    def _take_part(self, part: Part) -> None:
        """Nothing of this process' part could be read, but the others wait for it: it adds nothing, of known images."""
        if self.spare is None:
            raise UserError("a process could read no image of its first batch; see the files named above")
        losses = self._losses(*self.spare)
        with self.fabric.no_backward_sync(self.module, enabled=not part.ends_step):
            self.fabric.backward(torch.stack(list(losses.values())).sum() * 0.0)
        self._count(losses, self.spare[1], 0)

    def _add_gradients(self, part: Part, images: Tensor, targets: T, bar: Bar) -> None:
        fabric, position = self.fabric, self.position
        # Dropout and proposal sampling draw from torch's own stream: it starts anew, keyed, at every part.
        who = f"/{fabric.global_rank}" if fabric.global_rank else ""
        torch.manual_seed(luck.key(f"{self.config.seed}/step/{position.epoch}/{position.step}{who}") >> 1)
        losses = self._losses(images, targets)
        # Fabric takes the mean over processes; each image shall count the same, wherever it is. Where a loss is a mean
        # over what the images show, each process divides by its own: what an image counts then depends on those
        # beside it, in several processes as in several batches.
        weight = part.share * fabric.world_size
        with fabric.no_backward_sync(self.module, enabled=not part.ends_step):
            fabric.backward(torch.stack(list(losses.values())).sum() * weight)
        bar.advance(len(images), f"loss {self._count(losses, targets, len(images)):.3f}")

    def _move(self, done: int) -> None:
        """One step of the optimiser, the `done`-th of the training, counted from 0."""
        set_pace(self.optimiser.optimizer, pace(self.config, done, self.steps_per_epoch))
        clip = self.config.clip
        self.fabric.clip_gradients(self.module, self.optimiser, max_norm=clip, error_if_nonfinite=False)
        self.optimiser.step()
        self.optimiser.zero_grad()
        if self.mean is not None:
            self.mean.update(self.model, done)

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

    def _count(self, losses: dict[str, Tensor], targets: T, images: int) -> float:
        """Add to the epoch's sums, over all processes; the mean loss of this part, fetched from the device once."""
        position = self.position
        own = torch.stack([loss.detach() for loss in losses.values()]).double() * images
        sums: list[float] = self._sum_over_processes(
            torch.cat([own, own.new_tensor([images]), self._shown(targets).to(own) * (images > 0)])
        ).tolist()
        total, count, shown = sum(sums[: len(losses)]), sums[len(losses)], sums[len(losses) + 1 :]
        position.images += round(count)
        for name, value in zip(losses, sums, strict=False):
            position.losses[name] = position.losses.get(name, 0.0) + value
        position.shown = [a + b for a, b in zip(position.shown or [0.0] * len(shown), shown, strict=True)]
        if not all(isfinite(total) for total in position.losses.values()):
            raise UserError(
                f"the loss is no longer finite in epoch {position.epoch + 1}, step {position.step + 1}; "
                f"try a smaller --lr than {self.config.lr:g}. The last saved state is untouched"
            )
        return total / max(1.0, count)

    def _shown(self, targets: T) -> Tensor:
        """How much of each class there is [K]; [0] after the first epoch: nobody asks then, and counting takes time."""
        return torch.zeros(0) if self.position.epoch else targets.counts(len(self.data.classes))

    def _sum_over_processes(self, values: Tensor) -> Tensor:
        total = self.fabric.all_reduce(values, reduce_op="sum")
        assert isinstance(total, Tensor)  # as what went in
        return total

    def _count_failure(self, failure: Failure) -> None:
        if str(failure.path) not in self.failures:
            self.failures[str(failure.path)] = failure
            say(f"left out, cannot be read: {failure.path}: {failure.reason}")
            if self.is_first:
                self.folder.write_failures(self.failures.values())

    def _share_failures(self) -> None:
        """Each process has read other files; the first one tells of all of them."""
        if self.fabric.world_size > 1:
            found: list[dict[str, Failure]] = [{} for _ in range(self.fabric.world_size)]
            torch.distributed.all_gather_object(found, self.failures)
            for failure in (failure for failures in found for failure in failures.values()):
                self._count_failure(failure)

    def _finish_epoch(self) -> None:
        self._share_failures()
        position, config = self.position, self.config
        if not position.images:
            raise nothing_readable(list(self.failures.values()))
        self._tell_unseen()
        if self.cache and (remark := self.cache.remark()):
            say(remark)
        line = self._training_record()
        if (position.epoch + 1) % config.validate_every == 0 or position.epoch + 1 == config.epochs:
            # One process validates: so it needs no cutting and is the same for any number of them.
            line |= self.fabric.broadcast(self._validate() if self.is_first else {})
        self._save_models(line)
        say(_summary(line, config.epochs, self.task.headline))
        self.position = position.next_epoch()
        # In this order: a crash between the two repeats the epoch, with equal bits, and replaces its line.
        if self.is_first:
            self.folder.append_metrics(line)
            self.scalars.write(line)
        self._save_state()

    def _tell_unseen(self) -> None:
        """After the first epoch: of which classes it showed nothing. Before it, all truth would have to be read."""
        shown = self.position.shown if self.position.epoch == 0 else ()
        unseen = [name for name, amount in zip(self.data.classes, shown, strict=False) if not amount]
        if unseen:
            say(f"no image of the first epoch showed any {some(unseen)}: what is never seen can't be learned")

    def _training_record(self) -> dict[str, Any]:
        position = self.position
        losses = {name: total / position.images for name, total in position.losses.items()}
        return {
            "epoch": position.epoch,
            "loss": sum(losses.values()) if losses else None,
            **{f"loss_{name}": value for name, value in losses.items()},
            "lr": self.optimiser.param_groups[0]["lr"],
            "train_images": position.images,
            "train_images_per_second": position.images / position.seconds,
            "data_wait": position.waited / position.seconds,
        }

    def _validate(self) -> dict[str, Any]:
        config = self.config
        inference = self._inference(self.model if self.mean is None else self.mean.model)
        scores, failures = score(
            inference, self.task, self.data.val, self.data.classes, config.input, 2 * config.batch_size,
            intervals=False, read=self.cache or read_image, device_path=self.device_path,
        )  # fmt: skip
        for failure in failures:
            self._count_failure(failure)
        return {name: value for name, value in scores.items() if isinstance(value, int | float)}

    def _inference(self, model: TaskModel[T]) -> Inference[T]:
        return Inference(model, self.fabric.device, self.precision)

    def _save_models(self, line: dict[str, Any]) -> None:
        """`last`, and `best` if its score is; a training that was never scored has its last as its best.

        Of equal scores the later one's weights are kept: they come from smaller steps.
        """
        value, position = line.get(self.task.score), self.position
        is_best = value is not None and (value >= position.best or not self.folder.best.exists())
        if value is not None:
            # What has not begun to score has not stopped getting better; that may take tens of epochs.
            position.stale = 0 if value > position.best or position.best <= 0 else position.stale + 1
            position.best = max(position.best, value) if value == value else position.best
        if not self.is_first:
            return
        model = self.model if self.mean is None else self.mean.model
        extra = {"epoch": line["epoch"], self.task.score: value if value == value else None}
        for path in (self.folder.last, self.folder.best) if is_best else (self.folder.last,):
            save_model(model, path, self.config.input, extra)

    def _save_now_and_then(self, part: Part, last: bool) -> None:
        """Within an epoch; only between steps, when no gradients are pending."""
        steps = self.position.step // self.config.accumulate
        if part.ends_step and not last and steps % self.config.save_steps == 0:
            self._save_state()

    def _save_state(self) -> None:
        if self.is_first:
            save_state(self.folder.state, self.position, self.model, self.optimiser.optimizer, self.mean)


def train(task: Task[T], config: TrainConfig, folder: RunFolder, data: TrainingData[T], resume: bool) -> None:
    """Train into `folder`, from the configured weights or from the folder's last state; the caller's luck is kept."""
    data = data.limited(config)
    data.require_truth()
    device = choose_device(config.device)
    keep_freed_memory(device)
    with torch.random.fork_rng(devices=[device] if device.type == "cuda" else []):
        fabric = fabric_for(device, config.processes)
        path = DevicePath.to(fabric.device, config.decode, config.cache == "device", config.cache_budget)
        precision = _agreed_precision(config, device, fabric)
        say(
            f"training {config.model} on {describe(device)} in {precision}: "
            f"{len(data.train)} images, {len(data.val)} for validation"
        )
        cache = shared_cache(config, [*data.train, *data.val], _detail(config), fabric)
        training = _set_up(task, config, folder, data, fabric, precision, resume)
        training.cache, training.device_path = cache, path
        if resume:
            training.resume()
        elif training.is_first:
            training.begin(describe(device))
        if training.is_first:
            with folder.alone():
                training.run()
        else:
            training.run()
        training.scalars.close()


def _agreed_precision(config: TrainConfig, device: torch.device, fabric: Fabric) -> Precision:
    """One process measures for all: under load they could come to different results."""
    measured = choose_precision(config.precision, device) if fabric.global_rank == 0 else "fp32"
    agreed: Precision = fabric.broadcast(measured)
    return agreed


def _detail(config: TrainConfig) -> Size:
    """The coarsest size that images may be decoded to."""
    side = round(config.image_size * config.augment.largest_zoom())
    return side, side


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
    model = _make_model(config, data, resume)
    settle_within(model, config.epochs * -(-len(data.train) // config.batch_size))
    holder = Holder(model)
    # A backbone that is let go later has its place in the optimiser from the start.
    holder.hold(config.freeze)
    model.to(memory_format=torch.channels_last)
    optimiser = make_optimiser(model, config)
    holder.hold(held_at(config, 0))
    module, wrapped = fabric.setup(model, optimiser)
    start_momentum(optimiser)
    mean = WeightMean(model, config.ema) if config.ema and not config.probe else None
    scalars = Scalars(folder.path)
    return Training(task, config, folder, data, fabric, precision, model, holder, module, wrapped, mean, scalars)


def _make_model(config: TrainConfig, data: TrainingData[T], resume: bool) -> TaskModel[T]:
    options: dict[str, Any] = {"channels": config.input.channels, "exclusive": data.exclusive, "norm": config.norm}
    model: TaskModel[T] = create_model(config.model, data.classes, **options)
    model.info = replace(model.info, class_ids=data.class_ids)
    model.require_canvas(config.image_size)
    weight = balanced_weights(data.train, len(data.classes)) if config.class_weights == "auto" else None
    model.learn_by(config.loss.split("+") if config.loss else (), config.label_smoothing, weight)
    if config.weights != "none" and not resume:
        with downloading() as report:
            say(start_from(model, config.weights, report))
    return model


def _summary(line: dict[str, Any], epochs: int, headline: Sequence[str]) -> str:
    loss = "" if line["loss"] is None else f" loss {line['loss']:.4f},"
    scores = "".join(f" {name} {line[name]:.4f}," for name in headline if name in line)
    speed = f"{line['train_images_per_second']:.1f} images/s, waited for data {line['data_wait']:.0%}"
    return f"epoch {line['epoch'] + 1}/{epochs}:{loss}{scores} ({speed})".replace(", (", " (")
