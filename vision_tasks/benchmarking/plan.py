"""What is to be compared: contenders, and all that they have in common. Wrong plans are told before anything runs."""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from vision_tasks.commands.configuration import as_kept, resolve_config
from vision_tasks.config import TrainConfig
from vision_tasks.errors import UserError, unknown_name
from vision_tasks.files import read_text, write_text
from vision_tasks.tasks import get_task

_OWN = {"task", "data", "data_format", "model", "seed", "image_size", "fit", "max_images", "device", "processes"}
_BUDGET = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(epochs?|minutes?)?\s*")


class Plan(BaseModel):
    """Frozen and complete; `plan.toml` has keys of the same names."""

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    task: str
    data: str = Field(description="folder or file of the data set, or a card")
    data_format: str | None = None
    split: str = Field("test", description="what is scored")
    models: tuple[str, ...] = Field((), description="names of the registry, to be trained")
    weights: tuple[str, ...] = Field((), description="runs and checkpoints, to be compared as they are")
    budget: str = Field("", description="of a training: '20 epochs', '10 minutes' or 20; empty: as the recipes say")
    seeds: int = Field(3, gt=0, description="trainings of each model")
    image_size: int | None = Field(None, gt=0, description="side of the canvas of all; None = the task's")
    batch_size: int | None = Field(None, gt=0)
    augment: str | None = Field(None, description="none, light, default, strong")
    config: str | None = Field(None, description="TOML file of settings for every training")
    settings: dict[str, Any] = Field({}, description="other settings for every training")
    own: dict[str, dict[str, Any]] = Field({}, description="by model: settings of its own, and its number of seeds")
    limit: int | None = Field(None, gt=0, description="most images to train on, and to validate on: stratified")
    engines: tuple[str, ...] = Field(("torch",), description="what predictions are clocked with")
    device: str = Field("auto", description="what is trained and scored on")

    @property
    def contenders(self) -> tuple[Contender, ...]:
        """Models and weights, in the plan's order."""
        trained = (Contender(name, name, seeds=range(self._seeds_of(name))) for name in self.models)
        stored = (Contender(_label(path, self.weights), "", path, (None,)) for path in self.weights)
        return (*trained, *stored)

    def _seeds_of(self, model: str) -> int:
        return int(self.own.get(model, {}).get("seeds", self.seeds))

    def contender(self, name: str) -> Contender:
        """The one called `name`."""
        return next(one for one in self.contenders if one.name == name)

    def config_of(self, contender: Contender, seed: int, epochs: int | None = None) -> TrainConfig:
        """The complete configuration of a training, on the canvas that all share. Raises UserError."""
        record = get_task(self.task)
        own = {key: value for key, value in self.own.get(contender.model, {}).items() if key != "seeds"}
        sizes = {} if self.batch_size is None else {"batch_size": self.batch_size}
        shared = {
            "data": self.data, "data_format": self.data_format, "seed": seed, "fit": record.recipe.fit,
            "image_size": self.image_size or record.recipe.image_size, "device": self.device,
        }  # fmt: skip
        length = {} if (epochs := epochs or self.length.epochs) is None else {"epochs": epochs}
        settings = sizes | self.settings | length | own | shared
        return resolve_config(record, contender.model, self.augment, self.config, settings)

    @property
    def length(self) -> Budget:
        """What `budget` says. Raises UserError."""
        if not self.budget:
            return Budget()
        found = _BUDGET.fullmatch(self.budget)
        if found is None or float(found[1]) <= 0:
            raise UserError(f"--budget takes '20 epochs', '10 minutes' or 20, not '{self.budget}'")
        if (found[2] or "").startswith("minute"):
            return Budget(minutes=float(found[1]))
        if not found[1].isdigit():
            raise UserError(f"--budget takes whole epochs, not '{self.budget}'")
        return Budget(epochs=int(found[1]))


@dataclass(frozen=True)
class Budget:
    """How long each training may be; neither: as long as its recipe says."""

    epochs: int | None = None
    minutes: float | None = None

    def __str__(self) -> str:
        if self.minutes is not None:
            return _counted(f"{self.minutes:g}", "minute")
        return "as the recipes say" if self.epochs is None else _counted(str(self.epochs), "epoch")


@dataclass(frozen=True)
class Contender:
    """A model that is trained, or weights that are taken as they are."""

    name: str  # unique in the plan
    model: str  # its name in the registry; empty for weights, which say themselves what they are
    weights: str = ""  # of one that is not trained here
    seeds: tuple[int | None, ...] | range = ()

    @property
    def slug(self) -> str:
        """The name as a folder is called."""
        return re.sub(r"[^\w.-]", "-", self.name)


def make_plan(task: str, file: Path | str | None, given: Mapping[str, Any]) -> Plan:
    """The plan of a TOML file under what is `given` (None: not given). Raises UserError for unknown keys and values."""
    stored = {} if file is None else _read(Path(file))
    if stored.get("task", task) != task:
        raise UserError(f"{file} is a plan for {stored['task']}, not for {task}")
    values = stored | {name: value for name, value in given.items() if value is not None} | {"task": task}
    for name in values:
        if name not in Plan.model_fields:
            raise unknown_name("key of a plan", name, Plan.model_fields)
    if "data" not in values:
        raise UserError("no data: give --data PATH")
    values["data"] = as_kept(str(values["data"]))
    values["weights"] = [as_kept(str(path)) for path in values.get("weights", ())]
    try:
        plan = Plan.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"plan: {where}: {str(first['msg']).lower()}, not {first['input']!r}") from error
    _require_sense(plan)
    return plan


def read_plan(folder: Path) -> Plan:
    """What `write_plan` wrote."""
    return Plan.model_validate(tomllib.loads(read_text(folder / "plan.toml")))


def write_plan(plan: Plan, folder: Path) -> None:
    """Store the complete plan, as `--plan` takes it."""
    write_text(folder / "plan.toml", tomli_w.dumps(plan.model_dump(exclude_none=True)))


def _read(file: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(read_text(file))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"cannot read the plan {file}: {error}") from error


def _require_sense(plan: Plan) -> None:
    """What can be told without data and models."""
    if not plan.models and not plan.weights:
        raise UserError("nothing to compare: give --models A,B,C, or --weights of trained ones")
    if twice := [name for name, count in Counter((*plan.models, *plan.weights)).items() if count > 1]:
        raise UserError(f"{', '.join(twice)}: named twice; name each model once, --seeds trains it several times")
    for name in plan.own:
        if name not in plan.models:
            raise unknown_name("model in [own]", name, plan.models)
    for key in [*plan.settings, *(key for own in plan.own.values() for key in own)]:
        if key in _OWN:
            raise UserError(f"'{key}' is the same for all that are compared; leave it out of settings")
    if plan.length.minutes is not None and "epochs" in plan.settings:
        raise UserError("--budget in minutes and epochs are two lengths; leave out one of them")


def _counted(number: str, unit: str) -> str:
    return f"{number} {unit}" if number == "1" else f"{number} {unit}s"


def _label(path: str, among: tuple[str, ...]) -> str:
    """The last part of a path, or all of it where that is not the only one of its kind."""
    ends = Counter(Path(each).name for each in among)
    return Path(path).name if ends[Path(path).name] == 1 else path
