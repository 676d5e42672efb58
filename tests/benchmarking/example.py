"""A benchmark of three invented models: one is best, two can't be told apart, and a fourth failed."""

from __future__ import annotations

import numpy as np

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

CLASSES = ("cat", "dog")
SIZES = {"large": (0.9, 40.0, 25_000_000), "middle": (0.8, 10.0, 4_000_000), "small": (0.79, 2.0, 60_000)}


def example() -> Benchmark:
    """100 images of cats and dogs; two seeds."""
    failed = ModelRecord(
        name="broken", family="invented", licence="MIT", weights="none", status="failed",
        error="the loss is no longer finite in epoch 1, step 3", runs=(), quality={}, cost=None,
    )  # fmt: skip
    return Benchmark(
        task="classify",
        data=DataFacts(
            name="pets", format="folder-per-class", split="test", images=100, training_images=400, limit=None,
            classes=CLASSES, exclusive=True, fingerprint="0123456789abcdef",
        ),
        command="vision-tasks benchmark classify --data pets --models large,middle,small,broken",
        started="2026-01-02T03:04:05+00:00",
        machine=Machine(
            devices={"cpu": "CPU, 2 threads, AVX2"}, cores=2, threads=2, memory_bytes=8_000_000_000,
            clock_mhz={"cpu": (2400.0, 2380.0)}, load=(0.1, 1.9), system="Linux x86_64", python="3.11.2",
            versions={"torch": "2.11.0"},
        ),
        metric="top1",
        headline=("top1", "top5", "macro_f1"),
        image_size=64,
        budget="2 epochs",
        seeds=2,
        models=(*(_model(name, *numbers) for name, numbers in SIZES.items()), failed),
        judgement=_judgement(),
        gallery=(
            GalleryImage(
                image="dog/7.jpg", disagreement=0.47, truth="gallery/0/truth.jpg",
                predictions={name: f"gallery/0/{name}.jpg" for name in SIZES},
                scores={"large": 1.0, "middle": 0.5, "small": 0.0},
            ),
        ),
    )  # fmt: skip


def _model(name: str, score: float, milliseconds: float, parameters: int) -> ModelRecord:
    speed = Speed(
        device="cpu", engine="torch", error="",
        latency=Latency(p50=milliseconds, p95=1.2 * milliseconds, p99=1.5 * milliseconds, runs=200),
        throughput=Throughput(images_per_second=1500 / milliseconds, batch_size=16),
        decode_to_result=800 / milliseconds, resident_bytes=500_000_000 + 8 * parameters, device_bytes=None,
    )  # fmt: skip
    return ModelRecord(
        name=name, family="invented", licence="Apache-2.0", weights="none", status="done", error="",
        runs=tuple(_run(name, seed, score) for seed in range(2)),
        quality={
            "top1": Estimate(mean=score, low=score - 0.06, high=score + 0.05, spread=0.01),
            "top5": Estimate(mean=1.0, low=1.0, high=1.0, spread=0.0),
            "macro_f1": Estimate(mean=score - 0.01, low=score - 0.07, high=score + 0.04, spread=0.01),
        },
        cost=Cost(parameters=parameters, multiply_adds=40 * parameters, file_bytes=4 * parameters, speeds=(speed,)),
    )  # fmt: skip


def _run(name: str, seed: int, score: float) -> RunRecord:
    found = score + 0.01 * (2 * seed - 1)
    right = round(50 * found)
    curve = tuple(
        {"epoch": epoch, "loss": 0.7 / (epoch + 1), "lr": 1e-3, "top1": found - 0.1 + 0.1 * epoch, "train_images": 400}
        for epoch in range(2)
    )
    row = {"precision": found, "recall": found, "f1": found, "images": 50}
    return RunRecord(
        seed=seed,
        folder=f"runs/{name}--seed{seed}",
        metrics={
            "top1": found, "top1_ci": [found - 0.07, found + 0.06], "top5": 1.0, "top5_ci": [1.0, 1.0],
            "macro_f1": found, "macro_f1_ci": [found - 0.07, found + 0.06], "ece": 0.05, "ece_ci": [0.02, 0.09],
            "images": 100, "confusion": [[right, 50 - right, 0], [50 - right, right, 0]],
            "per_class": {"cat": row, "dog": row}, "split": "test", "failed": [], "reliability": _reliability(found),
        },
        curve=curve,
        training=Training(epochs=2, seconds=12.0, images_per_second=66.7, energy_joules=None),
    )  # fmt: skip


def _reliability(score: float) -> dict[str, list[float | None]]:
    confidence = ((np.arange(15) + 0.5) / 15).tolist()
    images: list[float | None] = [0] * 7 + [12] * 7 + [16]
    return {
        "images": images,
        "confidence": [None] * 7 + confidence[7:],
        "accuracy": [None] * 7 + [min(1.0, score * each + 0.1) for each in confidence[7:]],
    }


def _judgement() -> Judgement:
    def pair(better: str, worse: str, difference: float, p: float, different: bool) -> Pair:
        return Pair(
            better=better, worse=worse, metric="top1", difference=difference, low=difference - 0.05,
            high=difference + 0.05, p=p, p_holm=min(1.0, 3 * p), seed_error=0.01, different=different,
        )  # fmt: skip

    return Judgement(
        pairs=(
            pair("large", "middle", 0.1, 0.001, True),
            pair("large", "small", 0.11, 0.001, True),
            pair("middle", "small", 0.01, 0.7, False),
        ),
        ties=(("middle", "small"),),
        pareto={"latency": ("large", "middle", "small"), "memory": ("large", "middle", "small")},
        device="cpu",
        sentences=(
            "large is the best: top1 0.900 (95 % interval 0.840 to 0.950).",
            "large is better than middle by 10.0 points of top1 (95 % interval 5.0 to 15.0) at 4 times its latency.",
        ),
        remarks=("two seeds a model: how far trainings differ is known roughly",),
    )
