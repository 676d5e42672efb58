"""Learning rates against torch's own schedulers and by hand."""

import pytest
import torch

from vision_tasks.engine.schedule import pace, set_pace
from vision_tasks.tasks import CLASSIFY

RECIPE = CLASSIFY.recipe.changed(epochs=10, lr=1.0, warmup_epochs=1.0, momentum=0.9)


def test_cosine_warms_up_and_anneals():
    rates = [pace(RECIPE, step, 10).rate for step in range(100)]
    assert rates[:10] == pytest.approx([(step + 1) / 11 for step in range(10)])
    assert max(rates) == rates[10] == 1.0
    assert rates[10:] == sorted(rates[10:], reverse=True)
    assert 0.01 <= rates[-1] < 0.02
    assert rates[55] == pytest.approx(0.505, abs=1e-9)
    assert {pace(RECIPE, step, 10).momentum for step in range(100)} == {0.9}


def test_constant_stays_after_its_warm_up():
    config = RECIPE.changed(schedule="constant", warmup_epochs=0.5)
    assert [pace(config, step, 10).rate for step in (0, 4, 5, 99)] == pytest.approx([1 / 6, 5 / 6, 1, 1])


@pytest.mark.parametrize("steps_per_epoch", [1, 3, 40])
def test_one_cycle_is_torchs(steps_per_epoch):
    config = RECIPE.changed(schedule="one_cycle", epochs=7, lr=0.3)
    total = 7 * steps_per_epoch
    optimiser = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.3, momentum=0.9)
    judge = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.3, total_steps=total)
    for step in range(total):
        group, ours = optimiser.param_groups[0], pace(config, step, steps_per_epoch)
        assert (ours.rate, ours.momentum) == pytest.approx((group["lr"], group["momentum"]), abs=1e-12)
        if step + 1 < total:
            optimiser.step()
            judge.step()


def test_the_head_first_then_everything_each_with_a_whole_schedule():
    config = RECIPE.changed(freeze_epochs=4, fine_tune_rate=0.1)
    head, rest = RECIPE.changed(epochs=4), RECIPE.changed(epochs=6, lr=0.1)
    assert [pace(config, step, 5) for step in range(20)] == [pace(head, step, 5) for step in range(20)]
    assert [pace(config, step + 20, 5) for step in range(30)] == [pace(rest, step, 5) for step in range(30)]


@pytest.mark.parametrize(("kind", "key"), [(torch.optim.SGD, "momentum"), (torch.optim.Adam, "betas")])
def test_an_optimiser_takes_the_pace(kind, key):
    optimiser = kind([torch.zeros(1, requires_grad=True)], lr=1.0)
    set_pace(optimiser, pace(RECIPE.changed(schedule="one_cycle"), 50, 10))
    group = optimiser.param_groups[0]
    assert group["lr"] == pace(RECIPE.changed(schedule="one_cycle"), 50, 10).rate
    assert group[key] == (pytest.approx((0.9, 0.999), abs=0.05) if key == "betas" else pytest.approx(0.9, abs=0.05))
