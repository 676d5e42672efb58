"""Which images `explain --source` names."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from vision_tasks.data.folders import files_below, is_image
from vision_tasks.engine.reading import no_truth
from vision_tasks.errors import UserError
from vision_tasks.types import Sample


def images_in(sources: Iterable[str | Path], without: Path) -> list[Sample[Any]]:
    """Files as they are, and the images of folders by their extension, each called as it lies in its source.

    The folder `without`, which is written to, is not looked through. Raises UserError for a source that doesn't exist
    and where there is no image at all.
    """
    listed = [str(source) for source in sources]
    found = {path: name for source in listed for name, path in _of_source(Path(source), without.absolute())}
    if not found:
        raise UserError(f"no images found in {', '.join(listed)}; check --source")
    names = list(found.values())
    # Images of two sources may have one name; pictures of them may not.
    unique = [name if names.count(name) == 1 else f"{number}-{name}" for number, name in enumerate(names)]
    return [Sample(name, path, no_truth) for name, path in zip(unique, found, strict=True)]


def _of_source(source: Path, without: Path) -> Iterator[tuple[str, Path]]:
    if source.is_file():
        yield source.name, source
    elif source.is_dir():
        for name in files_below(source):
            path = source / name
            if is_image(path.name) and not path.absolute().is_relative_to(without):
                yield name, path
    else:
        raise UserError(f"source {source} does not exist")
