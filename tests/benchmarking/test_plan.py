"""Plans: what may stand in them, and which wrong ones are told before anything is read."""

from __future__ import annotations

import pytest

from vision_tasks.benchmarking.plan import make_plan, read_plan, write_plan
from vision_tasks.errors import UserError

GIVEN = {"data": "photos", "models": ["mlp", "lenet5"]}


def test_what_is_given_counts_more_than_the_file(tmp_path):
    (tmp_path / "plan.toml").write_text('data = "photos"\nmodels = ["mlp", "lenet5"]\nseeds = 2\nbudget = 4\n')
    plan = make_plan("classify", tmp_path / "plan.toml", {"seeds": 5, "models": None})
    assert (plan.seeds, plan.models, plan.length.epochs) == (5, ("mlp", "lenet5"), 4)


def test_the_complete_plan_is_read_again(tmp_path):
    own = {"mlp": {"seeds": 1, "lr": 0.01}}
    plan = make_plan("classify", None, GIVEN | {"own": own, "settings": {"lr": 0.1}, "limit": 50})
    write_plan(plan, tmp_path)
    assert read_plan(tmp_path) == plan


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('modles = ["mlp"]', "unknown key of a plan 'modles'; did you mean models?"),
        ("seeds = 0", "plan: seeds: .* not 0"),
        ('task = "segment"', "is a plan for segment, not for classify"),
        ("seeds = ", "cannot read the plan"),
        ('models = ["mlp", "mlp"]', "mlp: named twice"),
        ("models = []", "nothing to compare"),
        ("[own.vgg]\nseeds = 1", "unknown model in .own. 'vgg'"),
        ("[settings]\nimage_size = 64", "'image_size' is the same for all"),
        ('budget = "3 weeks"', "--budget takes"),
        ('budget = "2.5 epochs"', "whole epochs"),
        ('budget = "5 minutes"\n[settings]\nepochs = 3', "two lengths"),
    ],
)
def test_a_wrong_plan_is_told_in_one_line(text, message, tmp_path):
    first = "" if text.startswith("models") else 'models = ["mlp", "lenet5"]\n'
    (tmp_path / "plan.toml").write_text(f'data = "photos"\n{first}{text}\n')
    with pytest.raises(UserError, match=message) as error:
        make_plan("classify", tmp_path / "plan.toml", {})
    assert "\n" not in str(error.value)


def test_data_is_needed():
    with pytest.raises(UserError, match="no data: give --data"):
        make_plan("classify", None, {"models": ["mlp"]})


@pytest.mark.parametrize(
    ("budget", "epochs", "minutes", "words"),
    [
        (20, 20, None, "20 epochs"),
        ("20 epochs", 20, None, "20 epochs"),
        ("1 epoch", 1, None, "1 epoch"),
        ("10 minutes", None, 10, "10 minutes"),
        ("0.5 minutes", None, 0.5, "0.5 minutes"),
        ("", None, None, "as the recipes say"),
    ],
)
def test_budgets(budget, epochs, minutes, words):
    length = make_plan("classify", None, GIVEN | {"budget": budget}).length
    assert (length.epochs, length.minutes, str(length)) == (epochs, minutes, words)


def test_all_models_share_canvas_and_fit_whatever_their_own_recipes_say():
    plan = make_plan("classify", None, {"data": "photos", "models": ["mlp", "lenet5", "resnet18"]})
    configs = [plan.config_of(contender, 1) for contender in plan.contenders]
    assert {config.input for config in configs} == {configs[0].input}
    assert {config.seed for config in configs} == {1}


def test_a_model_has_settings_and_seeds_of_its_own():
    own = {"mlp": {"seeds": 1, "lr": 0.5}}
    plan = make_plan("classify", None, GIVEN | {"own": own, "settings": {"lr": 0.1}, "budget": "7 epochs"})
    mlp, lenet = plan.contenders
    assert (len(mlp.seeds), len(lenet.seeds)) == (1, 3)
    assert (plan.config_of(mlp, 0).lr, plan.config_of(lenet, 0).lr) == (0.5, 0.1)
    assert plan.config_of(lenet, 0).epochs == 7


def test_weights_are_called_by_the_last_part_of_their_path_where_that_tells_them_apart():
    plan = make_plan("classify", None, {"data": "photos", "weights": ["a/run", "b/run", "c/other"]})
    assert [contender.name for contender in plan.contenders] == ["a/run", "b/run", "other"]
    assert [list(contender.seeds) for contender in plan.contenders] == [[None]] * 3
