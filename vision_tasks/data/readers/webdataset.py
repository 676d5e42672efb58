"""Samples in tar shards, as WebDataset has them: members of one name up to the first dot are one sample.

Layout: `train-000000.tar`, `val-000000.tar`, ...; a folder of them, or of `train/`, `val/`, `test/` with them in it, a
single tar, a pattern (`train-{000000..000012}.tar`), or one of these behind a URL of any kind that fsspec knows.

- A member's extension says what it is: an image, `.cls` or `.json` (what is true of it), `.mask.png` or `.seg.png`.
- The split is in the shard's name, or its folder's; shards without one are one split together.
- `dataset.json` beside the shards, which `data shard` writes, says classes, splits and each shard's count of samples.
- A `.json` may say as "image" what the sample was called before; else it is called SHARD/NAME.EXTENSION.
- Shards that are cut short, samples without an image or without truth, and names that come twice are flaws.
- Nothing is unpacked; a sample knows where its bytes lie. Compressed tars, in which nothing can be found without all
  that is before it, are refused.

This file finds samples; `shard_labels`, `shard_boxes` and `shard_masks` know what is true of them.
"""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from vision_tasks.data.dataset import Dataset, Reader, in_several_splits
from vision_tasks.data.flaws import Flaw
from vision_tasks.data.folders import IMAGE_EXTENSIONS, files, in_order, split_name, subfolders
from vision_tasks.data.readers.class_names import composed
from vision_tasks.data.readers.shard_about import ABOUT, About, read_about
from vision_tasks.data.shards.index import ShardIndex, index_of
from vision_tasks.data.shards.media import MissingError, Shard, shards_named
from vision_tasks.data.shards.names import (
    expanded,
    file_of,
    folder_of,
    is_compressed_tar,
    is_name_of_shards,
    is_tar,
    is_url,
    restored,
)
from vision_tasks.data.shards.tar_headers import Member
from vision_tasks.errors import UserError, some
from vision_tasks.types import Extent, Sample, Size, T

FORMAT = "webdataset"
LOOKS_LIKE = "train-000000.tar, val-000000.tar and so on, of an image and a .cls, .json or .mask.png for each sample"
MASKS = ("mask.png", "seg.png")

_NAME = re.compile(r"((?:.*/)?[^/.][^/.]*)\.([^/]+)")
_BESIDE = frozenset({".json", ".txt", ".md", ".idx", ".toml", ".yaml", ".yml", ".sha256", ".md5"})
_IMAGES = frozenset({ending[1:] for ending in IMAGE_EXTENSIONS} | {"img"})
_AT_ONCE = 8  # shards whose indices are made or fetched


@dataclass(frozen=True, slots=True)
class Stored:
    """A sample as it lies in its shard."""

    shard: Shard
    key: str  # what its members' names have in common
    members: Mapping[str, Member]  # by extension, in small letters
    texts: Mapping[str, str]  # of those of them that are short texts
    said: Mapping[str, Any]  # by its .json; empty without one

    @property
    def image(self) -> str | None:
        """The extension of its image."""
        found = [each for each in self.members if each in _IMAGES]
        # Beside another image a PNG is its mask.
        return min(found, key=lambda each: each == "png", default=None)

    @property
    def where(self) -> str:
        """For people: in which shard, and what it is called there."""
        return f"{self.shard.name}/{self.key}"

    def data(self, extension: str) -> Callable[[], bytes]:
        """What reads one of its members. Raises DecodeError when called."""
        member = self.members[extension]
        return partial(self.shard.read, member.offset, member.size)


@dataclass(frozen=True)
class ShardSet:
    """All samples of a data set."""

    root: Path
    about: About
    splits: Mapping[str, Sequence[tuple[str, Stored]]]  # with their ids
    flaws: tuple[Flaw, ...]

    @property
    def stored(self) -> Iterable[tuple[str, Stored]]:
        return (each for split in self.splits.values() for each in split)

    def dataset(
        self,
        classes: tuple[str, ...],
        truth: Callable[[str, Stored], Callable[[Size | None], T]],
        *,
        strata: Mapping[str, str] | None = None,
        flaws: Iterable[Flaw] = (),
        exclusive: bool = True,
        negatives: Iterable[str] = (),
    ) -> Dataset[T]:
        """The data set in which `truth` says what is true of the sample of an id, and `strata` what splits balance."""
        splits = {
            split: tuple(_sample(id, each, truth(id, each), (strata or {}).get(id, "")) for id, each in samples)
            for split, samples in self.splits.items()
        }
        numbers = {id: each.said["image_id"] for id, each in self.stored if isinstance(each.said.get("image_id"), int)}
        every = (*self.flaws, *flaws, *in_several_splits(self.root, splits))
        return Dataset(
            self.root, FORMAT, classes, splits, every, exclusive, self.about.class_ids, numbers, frozenset(negatives)
        )


def _sample(id: str, stored: Stored, truth: Callable[[Size | None], T], stratum: str) -> Sample[T]:
    extension = str(stored.image)
    member = stored.members[extension]
    # Names of files here lead there; of those elsewhere the address would only hide the name.
    shard = file_of(stored.shard.name) if is_url(stored.shard.name) else stored.shard.name
    extent = Extent(stored.shard.name, member.offset, member.size)
    return Sample(id, Path(shard, member.name), truth, stratum, data=stored.data(extension), extent=extent)


def recognises(path: Path) -> bool:
    """Whether `path` names shards and nothing else: archives that were left lying beside what they held are none."""
    if is_name_of_shards(path):
        return True
    if path.is_file():
        return is_tar(path.name) or is_compressed_tar(path.name)
    folders = subfolders(path)
    if folders and not all(split_name(folder.name) and not subfolders(folder) for folder in folders):
        return False
    names = [name for folder in (path, *folders) for name in files(folder)]
    others = [name for name in names if not (is_tar(name) or is_compressed_tar(name))]
    return len(others) < len(names) and all(Path(name).suffix.lower() in _BESIDE for name in others)


def read_shards(path: Path, has_truth: Callable[[Stored], bool], wanted: str) -> ShardSet:
    """All samples of the shards that `path` names which have an image, and of which `has_truth`.

    Raises UserError where there are none, where a shard is missing or compressed, and as `read_about` does.
    """
    base, names = _named(path)
    about = read_about(base)
    whole = path.is_dir() or not names  # all that is listed belongs to it
    shards = _opened(names or _listed(path, base, about), may_be_missing=not names)
    flaws = [*about.flaws, *(_missing(base, [shard.name for shard, _ in shards], about) if whole else ())]
    splits: dict[str, list[Stored]] = {}
    for shard, index in shards:
        samples = _stored(shard, index)
        good = [each for each in samples if each.image and has_truth(each)]
        flaws += _losses(shard, index, samples, good, about, wanted)
        splits.setdefault(_split_of(shard.name, about), []).extend(good)
    if not any(splits.values()):
        found = f"; {flaws[0].path}: {flaws[0].what}" if flaws else ""
        raise UserError(f"{restored(path)}: none of its shards has an image with {wanted}{found}")
    named, twice = _named_samples(splits, about)
    if twice:
        flaws.append(Flaw(path, f"{len(twice)} samples have the name of an earlier one: not read ({some(twice)})"))
    return ShardSet(path, about, in_order(named), tuple(flaws))


def _listed(path: Path, base: str, about: About) -> list[str]:
    if not about.shards:
        raise UserError(
            f"{restored(path)}: isn't a tar, and has no {ABOUT} that lists any; name the shards, as .../train-"
            "{000000..000012}.tar"
        )
    return [base + name for name in about.shards]


def _opened(names: list[str], may_be_missing: bool) -> list[tuple[Shard, ShardIndex]]:
    """The shards of these names, with their indices."""

    def index(shard: Shard) -> ShardIndex | None:
        try:
            return index_of(shard)
        except MissingError:
            if not may_be_missing:
                raise
            return None

    shards = shards_named(names)
    with ThreadPoolExecutor(_AT_ONCE) as pool:
        return [(shard, found) for shard, found in zip(shards, pool.map(index, shards), strict=True) if found]


def _named(path: Path) -> tuple[str, list[str]]:
    """Where what belongs to all shards lies, and their names; none of them for the URL of a folder."""
    text = restored(path)
    if is_name_of_shards(path):
        if is_url(text) and not is_tar(file_of(text)) and not is_compressed_tar(file_of(text)):
            return text.rstrip("/") + "/", []
        names = expanded(text)
    elif path.is_file():
        names = [text]
    else:
        folders = (path, *subfolders(path))
        names = [str(folder / name) for folder in folders for name in files(folder) if not _is_beside(name)]
    if packed := [name for name in names if is_compressed_tar(file_of(name))]:
        raise UserError(
            f"{packed[0]}: is compressed, so that nothing in it can be found without all that is before it; unpack it "
            "to a .tar (images gain nothing by it)"
        )
    return str(path) + "/" if path.is_dir() else folder_of(names[0]), names


def _is_beside(name: str) -> bool:
    return not (is_tar(name) or is_compressed_tar(name))


def _split_of(shard: str, about: About) -> str:
    """By `dataset.json`, by a word of the shard's name, by its folder; "all" without any of them."""
    if (listed := about.shards.get(file_of(shard))) is not None:
        return listed[0]
    words = re.split(r"[-_.]", file_of(shard))
    return next(filter(None, map(split_name, [*words, file_of(folder_of(shard)[:-1])])), "all")


def _stored(shard: Shard, index: ShardIndex) -> list[Stored]:
    """Its samples: neighbours whose names are the same up to the first dot. Hidden files are none."""
    groups: list[tuple[str, dict[str, Member]]] = []
    for member in index.members:
        if match := _NAME.fullmatch(member.name.removeprefix("./")):
            key, extension = match[1], match[2].lower()
            if not groups or groups[-1][0] != key or extension in groups[-1][1]:
                groups.append((key, {}))
            groups[-1][1][extension] = member
    return [Stored(shard, key, members, *_texts(members, index)) for key, members in groups]


def _texts(members: Mapping[str, Member], index: ShardIndex) -> tuple[dict[str, str], dict[str, Any]]:
    texts = {each: index.texts[member.name] for each, member in members.items() if member.name in index.texts}
    try:
        said = json.loads(texts.get("json", "null"))
    except (ValueError, RecursionError):
        said = None
    return texts, said if isinstance(said, dict) else {}


def _losses(
    shard: Shard, index: ShardIndex, samples: Sequence[Stored], good: Sequence[Stored], about: About, wanted: str
) -> list[Flaw]:
    """What of a shard can't be used."""
    _, expected = about.shards.get(file_of(shard.name), ("", 0))
    lost = max(0, expected - len(good))
    # The sample in whose middle a shard ends is lost by that, and not by whoever wrote it.
    last = samples[-1] if index.problem and samples else None
    used = {each.key for each in good}
    unusable = [each.key for each in samples if each.key not in used and each is not last]
    flaws = []
    if index.problem:
        counted = f": {lost} of its {expected} samples are lost" if expected else f", after {len(good)} samples"
        flaws.append(Flaw(Path(shard.name), index.problem + counted))
    if unusable:
        said = f"{len(unusable)} samples have no image, or no {wanted}: not read ({some(unusable)})"
        flaws.append(Flaw(Path(shard.name), said))
    return flaws


def _missing(base: str, names: Sequence[str], about: About) -> list[Flaw]:
    """Shards that are listed, but not there."""
    there = set(map(file_of, names))
    return [
        Flaw(Path(base + name), f"the shard is missing: its {samples} samples of {split} are lost")
        for name, (split, samples) in about.shards.items()
        if name not in there
    ]


def _named_samples(
    splits: Mapping[str, Sequence[Stored]], about: About
) -> tuple[dict[str, list[tuple[str, Stored]]], list[str]]:
    """The samples of each split with their ids, and ids that came again; ours in the order of their source."""
    ids, named, twice = _ids(splits, about), {}, []
    for split, samples in splits.items():
        named[split], again = _with_ids(samples, ids[split])
        twice += again
    if about.is_ours:
        named = {split: sorted(samples, key=lambda each: each[1].key) for split, samples in named.items()}
    return named, twice


def _with_ids(samples: Sequence[Stored], ids: Sequence[str]) -> tuple[list[tuple[str, Stored]], list[str]]:
    """Samples with their ids, of those of one id the first; and the ids of the others."""
    first: dict[str, Stored] = {}
    twice = [id for id, each in zip(ids, samples, strict=True) if first.setdefault(id, each) is not each]
    return list(first.items()), twice


def _ids(splits: Mapping[str, Sequence[Stored]], about: About) -> dict[str, list[str]]:
    """The ids in each split: what each `.json` says, where no two say the same; else by shard and name."""
    said = {split: [each.said.get("image") for each in samples] for split, samples in splits.items()}
    # An image that two splits share has one name in our shards; elsewhere one name may stand for two images.
    parts = list(said.values()) if about.is_ours else [[id for ids in said.values() for id in ids]]
    if all(isinstance(id, str) for ids in parts for id in ids) and all(len(set(ids)) == len(ids) for ids in parts):
        return {split: [str(id) for id in ids] for split, ids in said.items()}
    every = {each.shard.name for samples in splits.values() for each in samples}
    start = len(folder_of(os.path.commonprefix([folder_of(name) for name in every])))  # noqa: RUF071  # up to a slash
    short = {name: folder_of(name)[start:] + file_of(name).rpartition(".")[0] for name in every}
    return {
        split: [f"{short[each.shard.name]}/{each.key}.{each.image}" for each in samples]
        for split, samples in splits.items()
    }


def class_number(label: Any, index: Mapping[str, int]) -> int | None:
    """The class that is meant by a number or a name; None for anything else."""
    if isinstance(label, str):
        return index.get(composed(label))
    return label if isinstance(label, int) and not isinstance(label, bool) and 0 <= label < len(index) else None


def reader(read: Callable[[Path], Dataset[T]]) -> Reader[T]:
    """The format, for one kind of truth."""
    return Reader(FORMAT, LOOKS_LIKE, recognises, read, of_shards=True)
