"""Cards: what is known of a public data set or weight file, so that its name is enough to get it and to check it.

A card is a TOML file in `datasets/` or `weights/` at the top of the checkout; in a wheel they are package data. It is
called as its file is. What nobody published, a checksum or a score, a card leaves out.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal, Self, TypeVar

from pydantic import BaseModel, ConfigDict, Field, StringConstraints, ValidationError, model_validator

from vision_tasks.errors import UserError, unknown_name

Hex8 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{8}$")]
Hex32 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{32}$")]
Hex64 = Annotated[str, StringConstraints(pattern="^[0-9a-f]{64}$")]
Url = Annotated[str, StringConstraints(pattern=r"^https?://[^\s]+$")]
Task = Literal["classify", "detect", "segment"]
Triple = tuple[float, float, float]  # red, green, blue

_NUMBERED = re.compile(r"(\d+) (.+)")  # a line of a class list with ids: `1 person`


class _Record(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class RemoteFile(_Record):
    """One file on a server."""

    url: Url
    sha256: Hex64 | None = None
    md5: Hex32 | None = None  # where that is all its publisher gives
    bytes: int | None = Field(None, gt=0)
    extract: Literal["none", "zip", "tar"] = "none"

    @property
    def name(self) -> str:
        """What it is called on disk."""
        return self.url.split("?")[0].rsplit("/", 1)[-1]


class DatasetCard(_Record):
    """A public data set."""

    name: str
    title: str
    task: Task
    also: tuple[Task, ...] = ()  # other tasks that have a reader of this format, and read classes of their own
    format: str  # of the reader
    homepage: Url
    licence: str  # SPDX, or in words
    classes: tuple[str, ...] = ()  # as its reader names them, in its order; empty = the files say
    num_classes: int = Field(gt=0)
    splits: Mapping[str, int]  # images in each
    classes_file: str = ""  # written into the folder, for formats that leave the names to those who know them
    root: str = ""  # the folder to open, within what the files unpack to
    files: tuple[RemoteFile, ...] = ()
    manual: str = ""  # how to get it, where files can't be fetched

    @model_validator(mode="after")
    def _agree(self) -> Self:
        if self.classes and len(set(self.classes)) != self.num_classes:
            raise ValueError(f"{len(set(self.classes))} different classes, not num_classes = {self.num_classes}")
        if bool(self.files) == bool(self.manual):
            raise ValueError("needs either files or manual")
        if self.classes_file and not self.classes:
            raise ValueError("classes_file needs classes")
        if self.root.startswith("/") or ".." in PurePosixPath(self.root).parts:
            raise ValueError("root leaves the data set's folder")
        return self

    @property
    def bytes(self) -> int:
        """To download, as far as it is known."""
        return sum(file.bytes or 0 for file in self.files)


class WeightCard(_Record):
    """A published weight file: a state dict under the names of the network's authors."""

    name: str
    model: str  # in the registry
    task: Task
    data: str  # what it was trained on; `--weights DATA` takes a model's best card of that name
    classes: str  # the list weights/classes/CLASSES.txt, in the order of the network's outputs
    canvas: tuple[int, int]  # (height, width) of evaluation
    fit: Literal["crop", "letterbox", "stretch"]
    mean: Triple | None = None  # of RGB in [0,1]; None = the model's own
    std: Triple | None = None
    url: Url
    sha256: Hex64 | None = None
    sha256_prefix: Hex8 | None = None  # the first 32 bits, where the publisher gives no more
    mebibytes: float = Field(gt=0)  # as published, rounded
    parameters: int = Field(gt=0)
    source: str  # who published it
    code_licence: str  # SPDX
    weights_licence: str
    scores: Mapping[str, float]  # as published
    protocol: str  # how they were measured
    best: bool = False  # of the cards of its model and data

    @model_validator(mode="after")
    def _checkable(self) -> Self:
        if not (self.sha256 or self.sha256_prefix):
            raise ValueError("needs sha256 or sha256_prefix")
        return self


_Card = TypeVar("_Card", DatasetCard, WeightCard)


def dataset_card(name: str) -> DatasetCard:
    """Raises UserError for a name that no card has, and for a damaged card."""
    return _card("datasets", "data set", name, DatasetCard)


def weight_card(name: str) -> WeightCard:
    """Raises UserError for a name that no card has, and for a damaged card."""
    return _card("weights", "weights", name, WeightCard)


def dataset_names() -> tuple[str, ...]:
    """Names of all data set cards, sorted."""
    return tuple(_files("datasets"))


def weight_names() -> tuple[str, ...]:
    """Names of all weight cards, sorted."""
    return tuple(_files("weights"))


def weight_cards_for(model: str, data: str | None = None) -> tuple[WeightCard, ...]:
    """Cards of `model`, or those of them that were trained on `data`; the best first."""
    cards = [card for card in map(weight_card, weight_names()) if card.model == model and data in (None, card.data)]
    return tuple(sorted(cards, key=lambda card: not card.best))


def is_weight_name(name: str) -> bool:
    """Whether `--weights name` means a card, or the data of cards (`imagenet`)."""
    return name in weight_names() or any(weight_card(card).data == name for card in weight_names())


def class_names(card: WeightCard) -> tuple[str, ...]:
    """What the outputs of a weight file mean, in order."""
    return tuple(name for _, name in _class_list(card.classes))


def class_ids(card: WeightCard) -> tuple[int, ...]:
    """What the files of its data call those classes (COCO's category ids); empty = 0, 1, 2, ..."""
    return tuple(int(number) for number, _ in _class_list(card.classes) if number)


def known_class_ids(names: Sequence[str]) -> tuple[int, ...]:
    """The numbers of a list that has exactly these names in this order; empty where none has."""
    lists = (_class_list(file.stem) for file in sorted((_folder("weights") / "classes").glob("*.txt")))
    found = next((pairs for pairs in lists if [name for _, name in pairs] == [*names]), [])
    return tuple(int(number) for number, _ in found if number)


def _class_list(name: str) -> list[tuple[str, str]]:
    """Number and name of each line of the list; no numbers unless all lines have one: a name may begin with digits."""
    text = (_folder("weights") / "classes" / f"{name}.txt").read_text(encoding="utf-8")
    numbered = [_NUMBERED.fullmatch(line) for line in text.splitlines()]
    pairs = [(match[1], match[2]) for match in numbered if match]
    return pairs if len(pairs) == len(numbered) else [("", line) for line in text.splitlines()]


def _card(kind: str, what: str, name: str, record: type[_Card]) -> _Card:
    files = _files(kind)
    if name not in files:
        raise unknown_name(what, name, files)
    card: _Card = _read(files[name], record)
    return card


@cache
def _read(file: Path, record: type[_Card]) -> _Card:
    try:
        card = record.model_validate(tomllib.loads(file.read_text(encoding="utf-8")))
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(map(str, first["loc"]))
        raise UserError(f"{file}: {where}: {first['msg']}") from None
    except ValueError as error:
        raise UserError(f"{file} is not a card: {error}") from None
    if card.name != file.stem:
        raise UserError(f"{file}: holds the card of '{card.name}'; rename one of the two")
    return card


@cache
def _files(kind: str) -> dict[str, Path]:
    return {file.stem: file for file in sorted(_folder(kind).glob("*.toml"))}


def _folder(kind: str) -> Path:
    """Package data first: beside an installed package anything may be called `datasets`."""
    package = Path(__file__).parent
    packed = package / "cards" / kind
    return packed if packed.is_dir() else package.parent / kind
