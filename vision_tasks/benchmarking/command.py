"""`vision-tasks benchmark TASK`: parses, and says in the end what was found. Imports nothing heavy before."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from vision_tasks.benchmarking.record import Benchmark

_SOMETHING_FAILED = 1


def benchmark(
    task: Annotated[str, typer.Argument(help="classify, detect or segment.")],
    out: Annotated[str, typer.Option(help="Folder to write into; the same call goes on where it stopped.")],
    data: Annotated[str | None, typer.Option(help="Folder or file of the data set, or a card.")] = None,
    models: Annotated[str | None, typer.Option(help="Names, as A,B,C: each is trained here.")] = None,
    weights: Annotated[list[str] | None, typer.Option(help="Run or checkpoint, taken as it is; repeatable.")] = None,
    plan: Annotated[str | None, typer.Option(help="TOML file with keys named as these options.")] = None,
    budget: Annotated[str | None, typer.Option(help="Of each training: 20, '20 epochs' or '10 minutes'.")] = None,
    seeds: Annotated[int | None, typer.Option(help="Trainings of each model; default: 3.")] = None,
    split: Annotated[str | None, typer.Option(help="What is scored; default: test.")] = None,
    image_size: Annotated[int | None, typer.Option(help="Side of the square canvas of all, in pixels.")] = None,
    batch_size: Annotated[int | None, typer.Option(help="Images per step of every training.")] = None,
    augment: Annotated[str | None, typer.Option(help="none, light, default or strong.")] = None,
    config: Annotated[str | None, typer.Option(help="TOML file of settings for every training.")] = None,
    settings: Annotated[list[str] | None, typer.Option("--set", help="key=value for every training.")] = None,
    limit: Annotated[int | None, typer.Option(help="Most images to train on, and to validate on.")] = None,
    engines: Annotated[str | None, typer.Option(help="What is clocked, as torch,onnx; default: torch.")] = None,
    device: Annotated[str | None, typer.Option(help="Of trainings: auto, cpu, cuda or cuda:N.")] = None,
    data_format: Annotated[str | None, typer.Option(help="On-disk format, where it isn't recognised.")] = None,
    retry: Annotated[bool, typer.Option("--retry", help="Try again what failed before.")] = False,
) -> None:
    """Compare models on your images: train, score, clock and judge them alike. Exit code 1 if one of them failed."""
    from vision_tasks.benchmarking.run import benchmark as run
    from vision_tasks.config import parse_setting

    found = run(
        task, data=data, models=_names(models), weights=weights or None, out=out, plan=plan, budget=budget,
        seeds=seeds, split=split, image_size=image_size, batch_size=batch_size, augment=augment, config=config,
        settings=dict(map(parse_setting, settings)) if settings else None, limit=limit, engines=_names(engines),
        device=device, data_format=data_format, retry=retry,
    )  # fmt: skip
    _tell(found)
    if any(model.status == "failed" for model in found.models):
        raise typer.Exit(_SOMETHING_FAILED)


def _names(text: str | None) -> list[str] | None:
    return None if text is None else [name.strip() for name in text.split(",") if name.strip()]


def _tell(found: Benchmark) -> None:
    for sentence in (*found.judgement.sentences, *found.judgement.remarks):
        print(sentence)
