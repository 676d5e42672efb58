"""The sentences, read as a person would."""

from __future__ import annotations

from tests.benchmarking.example import example
from vision_tasks.benchmarking.record import Estimate, Pair
from vision_tasks.benchmarking.words import remarks, sentences


def score(mean: float, low: float | None = None, high: float | None = None) -> Estimate:
    return Estimate(mean=mean, low=low, high=high, spread=None)


def pair(better: str, worse: str, different: bool = True, p_holm: float = 0.01) -> Pair:
    return Pair(better=better, worse=worse, metric="map", difference=0.021, low=0.008, high=0.033, p=0.001,
                p_holm=p_holm, seed_error=None, different=different)  # fmt: skip


QUALITY = {"frcnn": score(0.5, 0.45, 0.55), "yolo": score(0.479), "ssd": score(0.48)}


def test_the_best_who_ties_with_it_and_who_is_worse_at_which_cost():
    found = sentences(
        "map", QUALITY, [pair("frcnn", "ssd", False), pair("frcnn", "yolo"), pair("ssd", "yolo", False)],
        {"frcnn": 90.0, "yolo": 10.0, "ssd": 4.2}, [],
    )  # fmt: skip
    assert found == [
        "frcnn has the highest map, 0.500 (95 % interval 0.450 to 0.550).",
        "It can't be told apart from ssd.",
        "Of these, ssd is the fastest: 4.2 ms an image.",
        "frcnn is better than yolo by 2.1 points of map (95 % interval 0.8 to 3.3) at 9.0 times its latency.",
    ]


def test_without_times_nothing_is_said_of_them():
    found = sentences("map", QUALITY, [pair("frcnn", "yolo")], {}, [])
    assert found[1] == "frcnn is better than yolo by 2.1 points of map (95 % interval 0.8 to 3.3)."


def test_who_failed_is_said_with_the_reason():
    (found,) = sentences("top1", {}, [], {}, [example().models[-1]])
    assert found == "broken failed: the loss is no longer finite in epoch 1, step 3."


def test_one_model_has_nothing_to_be_compared_with():
    (found,) = sentences("map", {"yolo": score(0.4)}, [], {}, [])
    assert found == "yolo has a map of 0.400; there is nothing to compare it with."


def test_what_makes_numbers_unsure_is_said():
    data = example().data.model_copy(update={"limit": 300, "training_images": 300})
    found = "\n".join(remarks(data, 8, ["zebra"], {"a": 1, "b": 3}, [pair("a", "b", different=False)]))
    assert "8 images in 'test': too few for an interval" in found
    assert "zebra: at most one image of 'test' shows it" in found
    assert "trained on a subset: 300 training images" in found
    assert "a: one training" in found
    assert "a and b: different on these images, but trainings with other seeds differ about as much" in found
    assert remarks(example().data, 100, [], {"a": 2}, [pair("a", "b")]) == []
