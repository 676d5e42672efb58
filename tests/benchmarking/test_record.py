import json

import pytest

from tests.benchmarking.example import example
from vision_tasks.benchmarking.record import FILE, read_benchmark, write_benchmark
from vision_tasks.errors import UserError


def test_what_is_written_is_read(tmp_path):
    write_benchmark(example(), tmp_path)
    assert read_benchmark(tmp_path) == example()


def test_undefined_numbers_are_null_in_the_file(tmp_path):
    broken = example()
    broken.models[0].runs[0].metrics["ece"] = float("nan")
    write_benchmark(broken, tmp_path)
    stored = json.loads((tmp_path / FILE).read_text())
    assert stored["models"][0]["runs"][0]["metrics"]["ece"] is None


def test_a_damaged_record_is_told(tmp_path):
    (tmp_path / FILE).write_text('{"task": ')
    with pytest.raises(UserError, match=FILE):
        read_benchmark(tmp_path)
