"""How long a benchmark's page takes to open, and how large it is: 20 invented models, 5,000 images, 60 classes.

`python -m benchmarks.report_page` (needs Chromium). The time is from the start of the navigation in headless Chromium,
the file being on the disk, to the event DOMContentLoaded, when the page can be read, searched and sorted, and to the
first plot that is drawn, for which the plotting library must be run first.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from benchmarks.harness import REPORTS, ForeignLoad, Spread, environment
from vision_tasks.benchmarking.record import (
    Benchmark,
    Cost,
    DataFacts,
    Estimate,
    GalleryImage,
    Judgement,
    Latency,
    Machine,
    ModelRecord,
    Pair,
    RunRecord,
    Speed,
    Throughput,
    Training,
)
from vision_tasks.report.benchmark import write_benchmark_report

SECONDS, BYTES = 2.0, 15_000_000
_REPEATS = 9
_EPOCHS, _GALLERY = 50, 24
_KINDS = ("classification", "localisation", "both", "duplicate", "background", "missed")


def invented(models: int = 20, images: int = 5000, classes: int = 60) -> Benchmark:
    """A record with everything that a page can show, all of it random."""
    names = tuple(f"class {i}" for i in range(classes))
    luck = np.random.default_rng(0)
    contenders = tuple(_model(f"model-{i}", names, luck) for i in range(models))
    shown = {model.name: model.quality["map"].mean or 0.0 for model in contenders}
    best_first = sorted(shown, key=lambda name: -shown[name])
    return Benchmark(
        task="detect",
        data=DataFacts(
            name="invented", format="coco", split="test", images=images, training_images=20_000, limit=None,
            classes=names, exclusive=True, fingerprint="0" * 16,
        ),
        command="vision-tasks benchmark detect --data invented --models " + ",".join(shown),
        started="2026-01-01T00:00:00+00:00",
        machine=Machine(
            devices={"cpu": "CPU"}, cores=2, threads=2, memory_bytes=None, clock_mhz={}, load=None, system="Linux",
            python="3.11", versions={},
        ),
        metric="map",
        headline=("map", "map_50", "map_75"),
        image_size=320,
        budget="50 epochs",
        seeds=1,
        models=contenders,
        judgement=Judgement(
            pairs=tuple(_pairs(best_first, shown)), ties=(tuple(best_first[:3]),),
            pareto={"latency": tuple(best_first[:4]), "memory": tuple(best_first[:2])}, device="cpu",
            sentences=(f"{best_first[0]} is the best.",), remarks=(),
        ),
        gallery=tuple(_disputed(i, shown) for i in range(_GALLERY)),
    )  # fmt: skip


def _model(name: str, classes: tuple[str, ...], luck: np.random.Generator) -> ModelRecord:
    score, ms = float(luck.uniform(0.2, 0.8)), float(luck.uniform(2, 200))
    speed = Speed(
        device="cpu", engine="torch", error="", latency=Latency(p50=ms, p95=1.1 * ms, p99=1.2 * ms, runs=200),
        throughput=Throughput(images_per_second=1500 / ms, batch_size=8), decode_to_result=900 / ms,
        resident_bytes=int(luck.integers(3e8, 2e9)), device_bytes=None,
    )  # fmt: skip
    size = int(luck.integers(1_000_000, 60_000_000))
    estimate = Estimate(mean=score, low=score - 0.02, high=score + 0.02, spread=None)
    return ModelRecord(
        name=name, family="invented", licence="MIT", weights="none", status="done", error="",
        runs=(_run(score, classes, luck),), quality=dict.fromkeys(("map", "map_50", "map_75"), estimate),
        cost=Cost(parameters=size, multiply_adds=50 * size, file_bytes=4 * size, speeds=(speed,)),
    )  # fmt: skip


def _run(score: float, classes: tuple[str, ...], luck: np.random.Generator) -> RunRecord:
    scores = {"map": score, "map_50": score, "map_75": score}
    count = len(classes)
    falling = {name: np.sort(luck.random(101))[::-1].round(6).tolist() for name in classes}
    metrics: dict[str, Any] = scores | {
        "images": 5000,
        "per_class": {name: {"map": luck.random(), "map_50": luck.random(), "boxes": 80} for name in classes},
        "confusion": luck.integers(0, 40, (count + 1, count + 1)).tolist(),
        "curves": {name: {"precision": values, "confidence": values} for name, values in falling.items()},
        "errors": {kind: {"count": 9, "map_50_cost": luck.random() / 10} for kind in _KINDS},
        "reliability": {key: luck.random(15).tolist() for key in ("confidence", "accuracy")} | {"images": [9] * 15},
    }
    curve = tuple({"epoch": i, "loss": 5 / (i + 1), "lr": 1e-3, **scores} for i in range(_EPOCHS))
    return RunRecord(
        seed=0, folder="runs/x", metrics=metrics, curve=curve,
        training=Training(epochs=_EPOCHS, seconds=900.0, images_per_second=50.0, energy_joules=None),
    )  # fmt: skip


def _pairs(names: list[str], shown: dict[str, float]) -> Iterator[Pair]:
    for i, better in enumerate(names):
        for worse in names[i + 1 :]:
            gap = shown[better] - shown[worse]
            yield Pair(
                better=better, worse=worse, metric="map", difference=gap, low=gap - 0.02, high=gap + 0.02, p=0.01,
                p_holm=0.04, seed_error=None, different=True,
            )  # fmt: skip


def _disputed(place: int, shown: dict[str, float]) -> GalleryImage:
    folder = f"gallery/{place}"
    return GalleryImage(
        image=f"{place}.jpg", disagreement=0.5, truth=f"{folder}/truth.jpg",
        predictions={name: f"{folder}/{name}.jpg" for name in shown}, scores=dict(shown),
    )  # fmt: skip


def write_pictures(record: Benchmark, folder: Path) -> None:
    """The gallery's files: noise that is as hard to compress as a photo."""
    luck = np.random.default_rng(1)
    for image in record.gallery:
        for name in (image.truth, *image.predictions.values()):
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            coarse = luck.integers(0, 256, (60, 80, 3), dtype=np.uint8)
            cv2.imwrite(str(folder / name), cv2.resize(coarse, (320, 240), interpolation=cv2.INTER_CUBIC))


@contextmanager
def chromium() -> Iterator[Any]:
    """A headless browser, Playwright's own object."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=shutil.which("chromium"), args=["--no-sandbox"])
        yield browser
        browser.close()


def wait_for_plot(tab: Any) -> None:
    """Until the page's first plot stands."""
    tab.wait_for_function("performance.getEntriesByName('plot').length > 0")


def opening_times(page: Path, repeats: int = _REPEATS) -> dict[str, list[float]]:
    """Seconds to `content` and to `plot`, the first time (files not yet read, nothing compiled) left out."""
    times: dict[str, list[float]] = {"content": [], "plot": []}
    with chromium() as browser:
        for _ in range(repeats + 1):
            tab = browser.new_context(viewport={"width": 1280, "height": 800}).new_page()
            tab.goto(page.as_uri(), wait_until="domcontentloaded")
            wait_for_plot(tab)
            found = tab.evaluate(
                "[performance.getEntriesByType('navigation')[0].domContentLoadedEventEnd,"
                " performance.getEntriesByName('plot')[0].startTime]"
            )
            for name, milliseconds in zip(times, found, strict=True):
                times[name].append(milliseconds / 1000)
            tab.context.close()
    return {name: values[1:] for name, values in times.items()}


def main() -> None:
    """Write benchmarks/reports/report_page.json and .md."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=REPORTS)
    out = parser.parse_args().out
    with tempfile.TemporaryDirectory() as name:
        folder, record = Path(name), invented()
        write_pictures(record, folder)
        page = next(path for path in write_benchmark_report(record, folder) if path.suffix == ".html")
        with ForeignLoad() as load:
            times = opening_times(page)
        size = page.stat().st_size
    _write(out, times, size, load.share)


def _write(out: Path, times: dict[str, list[float]], size: int, load: float) -> None:
    facts = environment()
    spreads = {name: Spread.of(values) for name, values in times.items()}
    met = {"time": spreads["content"].median < SECONDS, "plot": spreads["plot"].median < SECONDS, "size": size < BYTES}
    found = {"environment": facts, "seconds": times, "bytes": size, "foreign_load": load, "met": met}
    (out / "report_page.json").write_text(json.dumps(found, indent=2) + "\n")
    lines = [
        "# A benchmark's page: time to open and size",
        f"`{facts['command']}`, {facts['date']}; {facts['processor']}; {facts['cores']} cores; other programs took "
        f"{load:.0%} of the processor meanwhile, the browser's own processes among them. 20 models, 5,000 images, "
        "60 classes; headless Chromium, file on disk.",
        "| what | measured | target |\n|---|---|---|\n"
        f"| to DOMContentLoaded, s | {spreads['content']} | below {SECONDS:g}: {'met' if met['time'] else 'missed'} |\n"
        f"| to the first plot, s | {spreads['plot']} | below {SECONDS:g}: {'met' if met['plot'] else 'missed'} |\n"
        f"| size, MB | {size / 1e6:.1f} | below {BYTES / 1e6:g}: {'met' if met['size'] else 'missed'} |",
    ]
    text = "\n\n".join(lines) + "\n"
    (out / "report_page.md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
