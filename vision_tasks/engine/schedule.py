"""Learning rate and momentum as functions of the step, so that there is no state to resume."""

from __future__ import annotations

import math
from dataclasses import dataclass

from torch.optim import Optimizer

from vision_tasks.config import TrainConfig

_FINAL_SHARE = 0.01  # of the peak learning rate that is left at the end of a cosine
# One cycle, as torch's OneCycleLR has it: where it peaks, how far below it starts, and how far below that it ends.
_PEAK_AT, _START_DIVISOR, _END_DIVISOR = 0.3, 25.0, 1e4
_CYCLED_MOMENTUM = (0.85, 0.95)


@dataclass(frozen=True)
class Pace:
    """How fast one step goes."""

    rate: float
    momentum: float


def pace(config: TrainConfig, step: int, steps_per_epoch: int) -> Pace:
    """The pace of optimiser step `step`, counted from 0 over the whole training.

    With `freeze_epochs` there are two trainings in a row, each with a whole schedule: the head alone, then everything
    at `fine_tune_rate` times the rate.
    """
    head = config.freeze_epochs * steps_per_epoch
    if step < head:
        return _PACES[config.schedule](config, config.lr, step, head, steps_per_epoch)
    rate = config.lr * (config.fine_tune_rate if head else 1.0)
    return _PACES[config.schedule](config, rate, step - head, config.epochs * steps_per_epoch - head, steps_per_epoch)


def set_pace(optimiser: Optimizer, chosen: Pace) -> None:
    for group in optimiser.param_groups:
        group["lr"] = chosen.rate
        if "betas" in group:
            group["betas"] = (chosen.momentum, group["betas"][1])
        else:
            group["momentum"] = chosen.momentum


def _cosine(config: TrainConfig, rate: float, step: int, steps: int, steps_per_epoch: int) -> Pace:
    """Linear warm-up, then half a cosine down to a hundredth (Loshchilov and Hutter, SGDR, 2017)."""
    warmup = _warmup(config, steps, steps_per_epoch)
    if step < warmup:
        return Pace(rate * _warm(step, warmup), config.momentum)
    share = _half_cosine((step - warmup) / max(1.0, steps - warmup))
    return Pace(rate * (_FINAL_SHARE + (1 - _FINAL_SHARE) * share), config.momentum)


def _constant(config: TrainConfig, rate: float, step: int, steps: int, steps_per_epoch: int) -> Pace:
    """Linear warm-up, then always the same."""
    warmup = _warmup(config, steps, steps_per_epoch)
    return Pace(rate * _warm(step, warmup) if step < warmup else rate, config.momentum)


def _one_cycle(config: TrainConfig, rate: float, step: int, steps: int, steps_per_epoch: int) -> Pace:
    """Up and down once, momentum the other way round (Smith and Topin, Super-Convergence, 2018)."""
    peak, last = _PEAK_AT * steps - 1, steps - 1
    start = rate / _START_DIVISOR
    low, high = _CYCLED_MOMENTUM
    if step <= peak:
        share = _half_cosine(step / max(peak, 1e-9))
        return Pace(rate + (start - rate) * share, low + (high - low) * share)
    share = _half_cosine((step - peak) / (last - peak))
    end = start / _END_DIVISOR
    return Pace(end + (rate - end) * share, high + (low - high) * share)


_PACES = {"cosine": _cosine, "constant": _constant, "one_cycle": _one_cycle}


def _warmup(config: TrainConfig, steps: int, steps_per_epoch: int) -> float:
    """Steps of warm-up: a fifth of a short training at most, or it would never get beyond it."""
    return min(config.warmup_epochs * steps_per_epoch, steps / 5)


def _warm(step: int, warmup: float) -> float:
    return (step + 1) / (warmup + 1)


def _half_cosine(done: float) -> float:
    """From 1 to 0 as `done` goes from 0 to 1."""
    return 0.5 * (1 + math.cos(math.pi * min(1.0, done)))
