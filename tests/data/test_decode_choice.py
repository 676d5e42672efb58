"""Who decodes: as asked for, or as measured."""

import pytest
import torch

from tests.data.on_device.test_painter import CANVAS, samples
from tests.data.test_nvjpeg import files as files
from tests.stand_ins import decode_or_raise, path
from tests.truths import label_truth
from vision_tasks.augment.plan import fitted
from vision_tasks.data.decode import decode
from vision_tasks.data.decode_choice import DecodeChoice, require_decoder
from vision_tasks.data.loader import Loader
from vision_tasks.data.on_device.path import DevicePath
from vision_tasks.data.on_device.side_stream import Here, Passed
from vision_tasks.errors import UserError

CPU, CUDA = torch.device("cpu"), torch.device("cuda")


def test_what_is_asked_for_is_taken():
    for place in ("cpu", "cuda"):
        choice = DecodeChoice(place)
        assert [choice.of_next_batch() for _ in range(3)] == [place] * 3
        choice.measured("cpu", 10, 1.0)
        assert choice.remark() == ""


def test_where_a_device_finds_nothing_to_decode_the_measuring_ends():
    choice = DecodeChoice("auto")
    for place in ("cpu", "cuda") * 3:
        assert choice.chosen is None
        choice.measured(place, 10 if place == "cpu" else 0, 0.1)
    assert choice.chosen == "cpu"
    assert choice.remark() == ""


@pytest.mark.parametrize(("cpu", "cuda", "chosen"), [(0.01, 0.02, "cpu"), (0.02, 0.01, "cuda")])
def test_auto_measures_both_and_takes_the_faster(cpu, cuda, chosen):
    choice = DecodeChoice("auto")
    seconds = {"cpu": cpu, "cuda": cuda}
    places = [choice.of_next_batch() for _ in range(6)]
    assert places == ["cpu", "cuda"] * 3
    for index, place in enumerate(places):
        # The first of each also loads libraries, and would say the opposite.
        choice.measured(place, 10, 10 * (seconds[place] if index > 1 else 1 / seconds[place]))
        assert (choice.chosen is None) == (index < 5)
    assert choice.chosen == chosen
    assert choice.of_next_batch() == chosen
    (remark,) = choice.remark().splitlines()
    assert "100 images/s" in remark
    assert "50 on the" in remark
    assert choice.remark() == ""


def test_batches_of_nothing_to_decode_say_nothing():
    choice = DecodeChoice("auto")
    for _ in range(9):
        choice.measured("cpu", 0, 0.0)
        choice.measured("cuda", 0, 0.0)
    assert choice.chosen is None


def test_words_that_are_wrong_and_devices_that_are_not_there():
    assert [require_decoder(name, CUDA) for name in ("auto", "cpu", "cuda")] == ["auto", "cpu", "cuda"]
    assert [require_decoder(name, CPU) for name in ("auto", "cpu")] == ["auto", "cpu"]
    with pytest.raises(UserError, match="--decode cuda needs a CUDA device"):
        require_decoder("cuda", CPU)
    with pytest.raises(UserError, match="unknown decoder 'gpu'"):
        require_decoder("gpu", CPU)
    with pytest.raises(UserError, match="--decode cuda needs a CUDA device"):
        DevicePath.to(CPU, "cuda")
    with pytest.raises(UserError, match="--cache device needs a CUDA device"):
        DevicePath.to(CPU, cache=True)
    assert DevicePath.to(CPU, "auto") is None


def test_a_training_comes_to_a_decision_in_its_first_batches(files):
    loaded = samples(files, label_truth)
    planned = [fitted([i % 4, (i + 1) % 4], CANVAS, "letterbox") for i in range(12)]
    way = path(choice=DecodeChoice("auto"), batch_decode=decode_or_raise)
    assert len(list(Loader(loaded, planned, CANVAS, CANVAS, device_path=way))) == 12
    assert way.choice.chosen in ("cpu", "cuda")
    (remark,) = way.remarks()
    assert remark.startswith("decoding JPEG on the C")
    assert way.remarks() == []


def test_what_was_queued_is_done_before_files_are_decoded(files):
    """nvJPEG doesn't wait for what others have queued, which may still read the memory that it writes to."""
    done = []

    class Lane(Here):
        def mark(self):
            return type("Noted", (Passed,), {"wait": lambda _: done.append("waited")})()

    def decode(files):
        done.append("decoded")
        return decode_or_raise(files)

    way = path(choice=DecodeChoice("cuda"), batch_decode=decode)
    way.lane = Lane()
    planned = [fitted([0, 1], CANVAS, "letterbox"), fitted([2, 3], CANVAS, "letterbox")]
    assert len(list(Loader(samples(files, label_truth), planned, CANVAS, CANVAS, device_path=way))) == 2
    assert [done[index - 1] for index, what in enumerate(done) if what == "decoded"] == ["waited"] * 2


@pytest.mark.cuda
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_auto_decides_on_a_device_and_says_so(files):
    loaded = samples(files, label_truth)
    planned = [fitted([i % 4, (i + 1) % 4], CANVAS, "letterbox") for i in range(12)]
    way = DevicePath.to(CUDA, "auto")
    assert len(list(Loader(loaded, planned, CANVAS, CANVAS, device=CUDA, device_path=way))) == 12
    (remark,) = way.remarks()
    assert way.choice.chosen in ("cpu", "cuda")
    assert "images/s" in remark


def test_what_another_cache_reads_is_not_measured_and_not_left_to_the_device(files):
    loaded, read = samples(files, label_truth), []

    def cache(path, detail, bands):
        read.append(path)
        return decode(path.read_bytes(), detail, bands)

    def nobody(files):
        raise AssertionError

    way = path(choice=DecodeChoice("cuda"), batch_decode=nobody)
    list(Loader(loaded, [fitted(range(4), CANVAS, "stretch")], CANVAS, CANVAS, read=cache, device_path=way))
    assert sorted(read) == files
