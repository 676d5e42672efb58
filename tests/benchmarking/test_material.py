"""Subsets and fingerprints of data."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from tests import factories
from vision_tasks.benchmarking.material import facts, open_material, stratified
from vision_tasks.benchmarking.plan import make_plan
from vision_tasks.types import Sample


def samples(counts: dict[str, int]) -> list[Sample]:
    return [
        Sample(f"{name}/{i}", Path(f"{name}/{i}"), truth=lambda _: None, stratum=name)
        for name, count in counts.items()
        for i in range(count)
    ]


def test_each_class_has_its_share_of_a_subset():
    found = stratified(samples({"a": 60, "b": 30, "c": 10}), 20)
    assert Counter(sample.stratum for sample in found) == {"a": 12, "b": 6, "c": 2}


def test_a_smaller_subset_lies_within_a_larger_one_and_the_order_stays():
    everything = samples({"a": 40, "b": 17})
    small, large = ([sample.id for sample in stratified(everything, limit)] for limit in (9, 30))
    assert set(small) < set(large)
    assert large == [sample.id for sample in everything if sample.id in large]
    assert stratified(everything, None) is everything
    assert stratified(everything, 57) is everything


def test_which_images_are_drawn_depends_on_their_ids_not_on_their_order():
    everything = samples({"a": 30, "b": 30})
    there, back = ({sample.id for sample in stratified(each, 20)} for each in (everything, everything[::-1]))
    assert there == back
    assert there != {sample.id for sample in [*everything[:10], *everything[30:40]]}


def test_facts_tell_the_subset_and_a_changed_file_changes_the_fingerprint(tmp_path):
    factories.write_folder_per_class(tmp_path)
    plan = make_plan("classify", None, {"data": tmp_path, "models": ["mlp"], "limit": 4})
    found = facts(open_material(plan), plan)
    assert (found.images, found.training_images, found.limit, found.classes) == (12, 4, 4, ("a", "b"))
    assert len(open_material(plan).val) == 4
    assert facts(open_material(plan), plan) == found
    picture = next((tmp_path / "test" / "a").iterdir())
    picture.write_bytes(picture.read_bytes() + b"\0")
    assert facts(open_material(plan), plan).fingerprint != found.fingerprint
