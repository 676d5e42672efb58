"""The order of an epoch over shards: a shuffle that stays near the order of the bytes."""

import numpy as np
import pytest

from vision_tasks import luck
from vision_tasks.data.shards.order import buffered_order, usual_buffer
from vision_tasks.engine.batching import cut
from vision_tasks.types import Extent, Sample, Size


def no_truth(size: Size | None) -> None:
    return None


SHARDS, EACH = 7, 40
EXTENTS = [Extent(f"train-{shard}.tar", 512 + 100 * place, 90) for shard in range(SHARDS) for place in range(EACH)]
KEYS = luck.keys(str(number) for number in range(len(EXTENTS)))


@pytest.mark.parametrize("buffer", [1, 25, 100, 10_000])
def test_every_sample_comes_once(buffer):
    assert sorted(buffered_order(EXTENTS, buffer, 0, 0, KEYS)) == list(range(SHARDS * EACH))


def test_a_buffer_of_one_reads_shards_from_first_to_last():
    order = buffered_order(EXTENTS, 1, 0, 0, KEYS)
    runs = order.reshape(SHARDS, EACH)
    assert (runs % EACH == np.arange(EACH)).all()
    assert not (runs[:, 0] == np.arange(SHARDS) * EACH).all()  # the shards themselves are shuffled


@pytest.mark.parametrize("buffer", [2, 25, 100])
def test_samples_further_apart_than_the_buffer_keep_their_order(buffer):
    in_row = np.empty(len(EXTENTS), int)
    in_row[buffered_order(EXTENTS, 1, 3, 5, KEYS)] = np.arange(len(EXTENTS))
    places = in_row[buffered_order(EXTENTS, buffer, 3, 5, KEYS)]
    assert (np.maximum.accumulate(places) - places < buffer).all()
    assert np.abs(places - np.arange(len(places))).max() < buffer
    assert np.corrcoef(places[:-1], places[1:])[0, 1] < 1 - 1e-6


def test_epochs_and_seeds_differ_and_the_same_is_the_same():
    orders = {tuple(buffered_order(EXTENTS, 50, seed, epoch, KEYS).tolist()) for seed in range(3) for epoch in range(3)}
    assert len(orders) == 9
    assert tuple(buffered_order(EXTENTS, 50, 0, 0, KEYS).tolist()) in orders


def test_the_order_of_the_list_does_not_matter():
    other = np.random.default_rng(0).permutation(len(EXTENTS))
    order = buffered_order([EXTENTS[i] for i in other], 50, 0, 0, KEYS[other])
    assert (other[order] == buffered_order(EXTENTS, 50, 0, 0, KEYS)).all()


def test_ranks_share_the_same_batches():
    order = buffered_order(EXTENTS, 50, 0, 0, KEYS)
    alone = cut(order, batch_size=16)
    ranks = [cut(order, batch_size=16, processes=2, rank=rank) for rank in (0, 1)]
    together = [np.concatenate([first.samples, second.samples]) for first, second in zip(*ranks, strict=True)]
    assert [part.samples.tolist() for part in alone] == [samples.tolist() for samples in together]


def test_only_far_shards_have_a_buffer_and_it_is_of_256_mib():
    def samples(shard: str, size: int) -> list[Sample[None]]:
        return [Sample(str(i), None, no_truth, extent=Extent(shard, 0, size)) for i in range(3)]

    assert usual_buffer(samples("a/train-0.tar", 1000)) == 0
    assert usual_buffer(samples("s3://a/train-0.tar", 2**18)) == 1024
    assert usual_buffer(samples("s3://a/train-0.tar", 2**40)) == 1
    assert usual_buffer([*samples("s3://a/train-0.tar", 1), Sample("x", None, no_truth)]) == 0
