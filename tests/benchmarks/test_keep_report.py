"""What of a benchmark may be published."""

from benchmarks.harness import ROOT
from benchmarks.keep_report import without_places
from tests.benchmarking.example import example


def test_paths_of_the_machine_and_other_peoples_images_stay_behind() -> None:
    record = example()
    command = f"vision-tasks benchmark --data {ROOT}/../shared/pets --out {ROOT}/runs/pets --config {ROOT.parent}/x"
    kept = without_places(record.model_copy(update={"command": command}))
    assert kept.command == "vision-tasks benchmark --data ../shared/pets --out ./runs/pets --config ../x"
    assert kept.gallery == ()
    assert kept.models == record.models
