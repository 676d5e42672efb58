"""Pipelines in the form that `albumentations.save` writes: read, and built as by the library, but lenient in nothing.

Reading one runs nothing: it is plain YAML or JSON, whose steps are looked up among the classes that the library has.
No other file imports the library, which is no longer maintained.
"""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Iterator
from inspect import signature
from typing import Any

import cv2
import yaml
from pydantic import ValidationError

from vision_tasks.errors import UserError, unknown_name
from vision_tasks.types import IGNORE, MIN_VISIBLE

_NAME = "__class_fullname__"
_REMEDY = "write the file by albumentations.save"


def library() -> Any:
    """The module albumentations. Raises UserError where it is not installed."""
    # Else its import asks the network for a newer version.
    os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")
    try:
        import albumentations
    except ImportError as error:
        raise UserError(
            "pipelines of albumentations are run by albumentations: pip install 'vision-tasks[albumentations]'"
        ) from error
    return albumentations


def parsed(text: str) -> dict[str, Any]:
    """The plain data of a pipeline. Raises UserError."""
    try:
        tree = _plain(text)
        json.dumps(tree)
    except (yaml.YAMLError, ValueError, TypeError, RecursionError) as error:
        raise UserError(f"can't be read as YAML or JSON of plain values: {one_line(error)}") from error
    if not isinstance(tree, dict) or not isinstance(tree.get("transform"), dict):
        raise UserError("is no pipeline as albumentations.save(pipeline, FILE, data_format='yaml') writes it")
    return tree


def built(tree: dict[str, Any]) -> Any:
    """A `Compose` for the truth that is given here, whatever truth it was written for. Raises UserError."""
    top = tree["transform"]
    whole = top if top.get(_NAME) in ("Compose", "ReplayCompose") else {"transforms": [top]}
    steps = [_step(node) for node in _inner(whole)]
    compose = _made(
        "Compose", library().Compose, transforms=steps, bbox_params=_bbox_params(whole), p=whole.get("p", 1.0)
    )
    compose.set_mask_interpolation(cv2.INTER_NEAREST)  # there is nothing between two classes
    for leaf in leaves(compose):
        if _hides_by_default(leaf):
            leaf.fill_mask = IGNORE
    return compose


def leaves(step: Any) -> Iterator[Any]:
    """The transforms of a pipeline, in order."""
    return (each for each in every_step(step) if not isinstance(each, library().BaseCompose))


def every_step(step: Any) -> Iterator[Any]:
    """The transforms of a pipeline and what they are composed by."""
    yield step
    if isinstance(step, library().BaseCompose):
        for inner in step.transforms:
            yield from every_step(inner)


def one_line(error: BaseException) -> str:
    """What is wrong, without the links and inputs that pydantic adds."""
    if isinstance(error.__cause__, ValidationError):
        first = error.__cause__.errors()[0]
        return " ".join(f"{'.'.join(map(str, first['loc']))}: {first['msg']}".split())
    return " ".join(str(error).split())[:300].rstrip(".")


def _plain(text: str) -> Any:
    """JSON is read as such, for YAML takes 1e-05 for a word."""
    try:
        return json.loads(text)
    except ValueError:
        # A few of them are as large as memory when written out; the library writes none.
        if any(isinstance(event, yaml.AliasEvent) for event in yaml.parse(text)):
            raise UserError("YAML with aliases (*name) is not read; write out what they stand for") from None
        return yaml.safe_load(text)


def _step(node: Any) -> Any:
    """A transform, or a composition with all that is in it."""
    name = node.get(_NAME) if isinstance(node, dict) else None
    if not isinstance(name, str):
        raise UserError(f"a step has no {_NAME}; {_REMEDY}")
    cls = _class(name)
    arguments = {key: value for key, value in node.items() if key != _NAME}
    if "transforms" in node:
        arguments["transforms"] = [_step(inner) for inner in _inner(node)]
    else:
        arguments = _own_arguments(cls, arguments)
    if name not in ("Compose", "Sequential"):
        arguments.setdefault("p", 0.5)  # as the library reads files that don't say
    return _made(cls.__name__, cls, **arguments)


def _own_arguments(cls: Any, arguments: dict[str, Any]) -> dict[str, Any]:
    """Those of a transform, without what the library writes of its ancestors' and does not read itself."""
    own = signature(cls).parameters
    inherited = {name for ancestor in cls.__mro__ for name in signature(ancestor.__init__).parameters}
    kept = {name: value for name, value in arguments.items() if name in own or name not in inherited}
    # What it does not know, or can't check, it would go on without, after a warning.
    return kept | ({"strict": True} if "__signature__" in vars(cls.__init__) else {})


def _inner(node: dict[str, Any]) -> list[Any]:
    steps = node.get("transforms")
    if not isinstance(steps, list):
        raise UserError(f"{node.get(_NAME)}: its transforms are no list; {_REMEDY}")
    return steps


def _class(name: str) -> Any:
    """The class of a step; none is imported for its name, so a file can start nothing."""
    steps = (library().BasicTransform, library().BaseCompose)
    from albumentations.core import serialization

    short = serialization.shorten_class_name(name)
    if short in serialization.NON_SERIALIZABLE_REGISTRY:
        raise UserError(f"{short} is code, which a file can't bring; leave it out")
    known = {each: cls for each, cls in serialization.SERIALIZABLE_REGISTRY.items() if issubclass(cls, steps)}
    if short not in known:
        raise unknown_name(f"transform of albumentations {library().__version__}", short, known)
    return known[short]


def _bbox_params(whole: dict[str, Any]) -> Any:
    """What the file says of boxes, but for their format and labels, which are ours."""
    given = whole.get("bbox_params") or {}
    if not isinstance(given, dict):
        raise UserError(f"bbox_params are no settings; {_REMEDY}")
    ours = {
        "format": "pascal_voc",
        "label_fields": None,
        "min_visibility": given.get("min_visibility") or MIN_VISIBLE,
        "filter_invalid_bboxes": True,  # boxes that are too thin for its float32
    }
    return _made("bbox_params", library().BboxParams, **given | ours)


def _made(name: str, cls: Any, **arguments: Any) -> Any:
    """An object of the library. Raises UserError for arguments that it does not take."""
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Got processor for bboxes")  # pipelines of colours need none
            return cls(**arguments)
    except Exception as error:  # whatever its constructors raise
        raise UserError(f"{name}: {one_line(error)}; see albumentations {library().__version__}") from error


def _hides_by_default(leaf: Any) -> bool:
    """Whether masks get class 0 where nothing is known, and nobody chose that: it is the library's default."""
    parameter = signature(type(leaf)).parameters.get("fill_mask")
    return parameter is not None and parameter.default == 0 == leaf.fill_mask
