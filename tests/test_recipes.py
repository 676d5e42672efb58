"""Recipes that name a command are what that command trains."""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from vision_tasks import cli, recipes
from vision_tasks.commands.configuration import resolve_config
from vision_tasks.config import TrainConfig
from vision_tasks.tasks import get_task


@pytest.mark.parametrize("recipe", [recipes.eurosat_resnet18, recipes.nuclei_unet])
def test_a_recipe_is_what_its_command_trains(
    recipe: Callable[[Path], TrainConfig], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    trained: list[TrainConfig] = []

    def train(
        task: str, *, data: Any, model: str, augment: str, config: Any, out: Any, resume: Any, **settings: Any
    ) -> Path:
        trained.append(resolve_config(get_task(task), model, augment, config, settings | {"data": str(data)}))
        return tmp_path

    monkeypatch.setattr("vision_tasks.commands.train.train", train)
    assert recipe.__doc__
    command = recipe.__doc__[recipe.__doc__.index("vision-tasks ") :].replace("DATA", str(tmp_path))
    monkeypatch.setattr("sys.argv", shlex.split(command))
    with pytest.raises(SystemExit, match="0"):
        cli.main()
    assert trained == [recipe(tmp_path)]
