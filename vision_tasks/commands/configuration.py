"""The complete configuration of a training: recipes, a file and single settings, the later over the earlier."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from vision_tasks.augment.policy import strength
from vision_tasks.cards import is_weight_name
from vision_tasks.commands.given import PathLike, require_model_of
from vision_tasks.config import TrainConfig, read_config
from vision_tasks.data.shards.names import is_name_of_shards, is_url
from vision_tasks.engine.run_folder import RunFolder
from vision_tasks.errors import UserError
from vision_tasks.models.checkpoint import model_of
from vision_tasks.models.registry import model_entry
from vision_tasks.tasks import Task


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
        settings = settings | {"weights": as_kept(weights)}
    named = dict(model_entry(name).recipe) | given | {"model": name}
    if augment:
        own = named.get("augment", task.recipe.augment.model_dump())
        named["augment"] = strength(augment, task.recipe.changed(augment=own).augment).model_dump()
    return task.recipe.changed(**named | settings)


def resumed_config(task: Task[Any], folder: RunFolder, place: dict[str, str]) -> TrainConfig:
    """The run's own configuration, in the precision that `auto` was resolved to when it began. Raises UserError."""
    if not folder.config.exists():
        raise UserError(f"{folder.path} is not a run folder: it has no config.toml")
    if not folder.state.exists():
        raise UserError(f"{folder.path} has no last.state to resume from; train anew into another --out")
    return resolve_config(task, None, None, folder.config, {"precision": folder.precision()} | place)


def as_kept(path: PathLike) -> str:
    """As it is stored: a run can be resumed from another folder than it was started in."""
    here = Path(path).exists() or (is_name_of_shards(path) and not is_url(path))
    return str(Path(path).absolute()) if here else str(path)


def _same_model(task: Task[Any], weights: str) -> str:
    """The model that the weights hold, if it is one of this task: nobody needs to name it again."""
    name = model_of(weights) if weights != "none" else ""
    return name if name and model_entry(name).task == task.name else ""
