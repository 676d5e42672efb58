"""Users' own pipelines of albumentations as a change of painted canvases, pixels and truth alike.

Buslaev, Iglovikov, Khvedchenya, Parinov, Druzhinin, Kalinin: Albumentations: Fast and Flexible Image Augmentations,
Information 11(2), 2020.

Truth goes through the library as boxes in pixel edges and as a mask, sampled by nearest pixel. What has no truth
becomes IGNORE, where the library's own default would say class 0; a box of which less than MIN_VISIBLE stays is
dropped, unless the file's `bbox_params` say otherwise.
"""

from __future__ import annotations

import json
import random
from collections import deque
from collections.abc import Iterator
from contextlib import contextmanager
from copy import deepcopy
from pathlib import Path
from traceback import walk_tb
from typing import Any

import numpy as np
from numpy.typing import NDArray

from vision_tasks.augment.albumentations_file import built, every_step, leaves, library, one_line, parsed
from vision_tasks.errors import UserError, some
from vision_tasks.files import read_text
from vision_tasks.types import IGNORE, Annotations, Size

Pixels = NDArray[np.uint8]  # [H,W,C]

_NETWORK_DOES = {"Normalize", "ToTensorV2", "ToTensor3D"}  # what pipelines of other projects end with
_WORDS = {"image": "images", "bboxes": "boxes", "mask": "masks"}  # what the library calls kinds of truth
_REHEARSALS = 8  # seeds


def read_pipeline(path: Path) -> str:
    """The pipeline in a YAML or JSON file, as the text that a run remembers, for files change. Raises UserError."""
    try:
        text = read_text(path)
    except OSError as error:
        raise UserError(f"cannot read the albumentations pipeline {path}: {error.strerror}; check --augment") from error
    try:
        Pipeline(text)
        return json.dumps(parsed(text))
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


class Pipeline:
    """A pipeline that any number of threads apply at once, to each image by its own luck."""

    def __init__(self, text: str) -> None:
        """From YAML or JSON. Raises UserError for what the library would not take, or would overlook."""
        self._tree = parsed(text)
        self._template = built(self._tree)
        self._idle: deque[Any] = deque()

    def __str__(self) -> str:
        """The transforms, and by which version."""
        here, written = library().__version__, self._tree.get("__version__")
        of = f" (written by {written})" if written not in (None, here) else ""
        return f"albumentations {here}{of}: {some((_name(leaf) for leaf in leaves(self._template)), 20)}"

    def __call__(self, seed: int, pixels: Pixels, truth: Annotations, /) -> Annotations:
        """Change `pixels` in place by the luck of `seed`; what follows of `truth`. Raises UserError."""
        with self._own() as compose:
            pixels[...], changed = _apply(compose, seed, pixels, truth)
        return changed

    def rehearse(self, kind: Annotations, canvas: Size, channels: int) -> None:
        """Tell before a training what would go wrong in it, with truth of the kind that `kind` is.

        Every transform must support that kind; then noise goes through the pipeline, as it is and with everything in it
        happening that may. Raises UserError.
        """
        given = {"image"} | {name for name, each in (("bboxes", kind.boxes), ("mask", kind.mask)) if each is not None}
        for leaf in leaves(self._template):
            _require_support(leaf, given)
        examples = [_example(kind, canvas), _empty(kind, canvas)]
        for compose in (deepcopy(self._template), _all_happening(self._template)):
            for seed in range(_REHEARSALS):
                noise = np.random.default_rng(seed).integers(0, 256, (*canvas, channels), np.uint8)
                for example in examples:
                    _apply(compose, seed, noise.copy(), example)

    @contextmanager
    def _own(self) -> Iterator[Any]:
        """A copy that nobody else has: what runs keeps its parameters and its luck in itself."""
        try:
            compose = self._idle.pop()
        except IndexError:
            compose = deepcopy(self._template)
        try:
            yield compose
        finally:
            self._idle.append(compose)


def _apply(compose: Any, seed: int, pixels: Pixels, truth: Annotations) -> tuple[Pixels, Annotations]:
    """The changed image and its truth. Raises UserError."""
    try:
        done = _run(compose, seed, pixels, truth)
    except Exception as error:  # whatever its transforms raise
        raise UserError(f"albumentations: {_culprit(error)}: {one_line(error)}") from error
    image, boxes = done["image"], done.get("bboxes")
    if not isinstance(image, np.ndarray) or image.dtype != np.uint8:
        raise _not_bytes(compose, image)
    if image.shape != pixels.shape:
        raise _not_the_canvas(compose, seed, pixels, truth, image.shape)
    if boxes is not None:
        boxes = np.asarray(boxes, np.float64).reshape(-1, 5)  # none at all come back as [0,4]
    return image, Annotations(boxes, done.get("mask"))


def _run(compose: Any, seed: int, pixels: Pixels, truth: Annotations) -> dict[str, Any]:
    # One stream for all steps: by set_random_seed each would begin the same one, and of two steps that are equally
    # likely, both would happen or none.
    compose.set_random_state(np.random.default_rng(seed), random.Random(seed))
    given = {"image": pixels, "bboxes": truth.boxes, "mask": truth.mask}
    done: dict[str, Any] = compose(**{name: value for name, value in given.items() if value is not None})
    return done


def _not_bytes(compose: Any, image: Any) -> UserError:
    makes = getattr(image, "dtype", type(image).__name__)
    suspects = some(_name(leaf) for leaf in leaves(compose) if _name(leaf) in ("ToFloat", "FromFloat"))
    return UserError(
        f"albumentations: {suspects or 'the pipeline'} makes {makes} of bytes; leave that out: the network scales and "
        "normalises by itself"
    )


def _not_the_canvas(compose: Any, seed: int, pixels: Pixels, truth: Annotations, shape: tuple[int, ...]) -> UserError:
    """Names the last transform that changed the shape, by doing it all again."""
    steps = list(leaves(compose))
    for leaf in steps:
        leaf.params = {}
    _run(compose, seed, pixels, truth)
    came = [(_name(leaf), leaf.params["shape"]) for leaf in steps if leaf.params]
    left = [before for _, before in came[1:]] + [shape]
    changing = [name for (name, before), after in zip(came, left, strict=True) if before != after]
    return UserError(
        f"albumentations: {changing[-1]} leaves {_size(shape)} of a canvas of {_size(pixels.shape)}; give another "
        "--image-size, or let the pipeline end with the size that it is given"
    )


def _culprit(error: Exception) -> str:
    """The innermost transform on the way to the error."""
    selves = [frame.f_locals.get("self") for frame, _ in walk_tb(error.__traceback__)]
    names = [_name(each) for each in selves if isinstance(each, library().BasicTransform)]
    return names[-1] if names else "the pipeline"


def _require_support(leaf: Any, given: set[str]) -> None:
    """Raises UserError where `leaf` can't follow with what is given."""
    name = _name(leaf)
    if name in _NETWORK_DOES:
        raise UserError(f"albumentations: leave out {name}: the network scales and normalises by itself")
    supported = {target.value.lower() for target in getattr(leaf, "_targets", ())}
    # What changes colours alone leaves all truth where it is.
    unsupported = ({"image"} if isinstance(leaf, library().ImageOnlyTransform) else given) - supported
    if unsupported:
        words = some(_WORDS[each] for each in sorted(unsupported))
        raise UserError(f"albumentations: {name} does not support {words}; leave it out")
    if missing := set(leaf.targets_as_params) - given:
        words = some(_WORDS.get(each, f"'{each}'") for each in sorted(missing))
        raise UserError(f"albumentations: {name} needs {words}, which it does not get here; leave it out")


def _all_happening(template: Any) -> Any:
    """A copy in which everything happens that ever may."""
    compose = deepcopy(template)
    for step in every_step(compose):
        step.p = 1.0 if step.p else 0.0
    return compose


def _example(kind: Annotations, canvas: Size) -> Annotations:
    """A box in the middle; pixels of two classes and of none."""
    height, width = canvas
    box = np.array([[width / 4, height / 4, width * 3 / 4, height * 3 / 4, 0]])
    mask = np.random.default_rng(0).choice(np.array([0, 1, IGNORE], np.uint8), canvas)
    return Annotations(None if kind.boxes is None else box, None if kind.mask is None else mask)


def _empty(kind: Annotations, canvas: Size) -> Annotations:
    """What an image has that shows nothing."""
    boxes = None if kind.boxes is None else np.zeros((0, 5))
    return Annotations(boxes, None if kind.mask is None else np.full(canvas, IGNORE, np.uint8))


def _name(leaf: Any) -> str:
    return type(leaf).__name__


def _size(shape: tuple[int, ...]) -> str:
    """`320x240x3`, width first, as people say it."""
    return "x".join(map(str, (shape[1], shape[0], *shape[2:])))
