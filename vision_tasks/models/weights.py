"""What `--weights` names: a run folder, a file, or a card, whose file is fetched when it is first wanted."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path

from vision_tasks.cards import WeightCard, is_weight_name, weight_card, weight_cards_for, weight_names
from vision_tasks.download import Checks, Progress, cache_folder, fetch
from vision_tasks.errors import UserError, unknown_name
from vision_tasks.models.registry import TIMM

EXPORTED = (".onnx", ".xml")  # for other engines than torch
SUFFIXES = (".safetensors", ".pt", ".pth", ".ckpt", ".bin", ".pkl", *EXPORTED)
RUN_FILES = ("best.safetensors", "last.safetensors")
MEBIBYTE = 1 << 20


@dataclass(frozen=True)
class Weights:
    """Where tensors are."""

    label: str  # what to call them
    file: Path | None = None  # on disk; None = the model's own package fetches them
    card: WeightCard | None = None


def resolve(weights: Path | str, model: str = "", progress: Progress | None = None) -> Weights:
    """The tensors behind a run folder (its best, else its last), a file, the name of a card, or of the data of cards.

    The name of data (`imagenet`) means the best card of `model`, or of its encoder. A file or folder that is called as
    a card is meant only with a `./` before it.
    Raises UserError for what is none of these, and what `fetch` raises.
    """
    name = str(weights)
    if name in weight_names():
        return _fetched(weight_card(name), progress)
    if is_weight_name(name):  # and no card of its own: the data of many
        return _best(name, model, progress)
    path = Path(weights)
    if path.exists():
        return Weights(name, _run_file(path) if path.is_dir() else path)
    if path.suffix.lower() in SUFFIXES or len(path.parts) > 1:
        raise UserError(f"checkpoint not found: {path}{_published_as(path)}")
    if get_close_matches(name, weight_names(), cutoff=0.5):
        raise unknown_name("weights", name, weight_names())
    raise UserError(f"weights '{name}': neither a run folder, nor a file, nor a card; {_some_of(weight_names())}")


def known_weights(model: str) -> tuple[str, ...]:
    """What `--weights` could name for `model` or its encoder: cards, the best first; `imagenet` for those of timm."""
    if model.startswith(TIMM):
        from vision_tasks.models.timm_weights import has_weights

        return ("imagenet",) if has_weights(model) else ()
    return tuple(card.name for card in weight_cards_for(model) or weight_cards_for(model.partition(":")[2]))


def _fetched(card: WeightCard, progress: Progress | None) -> Weights:
    place = cache_folder() / "weights" / card.url.rsplit("/", 1)[-1]
    checks = Checks(sha256=card.sha256, sha256_prefix=card.sha256_prefix, about=int(card.mebibytes * MEBIBYTE))
    file = fetch(card.url, place, checks, progress)
    return Weights(card.name, file, card)


def _best(data: str, model: str, progress: Progress | None) -> Weights:
    if model.startswith(TIMM):
        return Weights(f"{model}'s own")
    cards = weight_cards_for(model, data) or weight_cards_for(model.partition(":")[2], data)
    if cards:
        return _fetched(cards[0], progress)
    if not model:
        raise UserError(f"'{data}' names weights of many models; name one card, {_some_of(_names_of(data))}")
    others = sorted({card.model for card in _all_cards() if card.data == data})
    raise UserError(f"no weights trained on {data} are known for '{model}'; there are some for {', '.join(others)}")


def _published_as(path: Path) -> str:
    """Other tools fetch what is called like a published file."""
    cards = [card.name for card in _all_cards() if card.url.rsplit("/", 1)[-1] == str(path)]
    return f"; the published file of this name is the card {cards[0]}" if cards else ""


def _run_file(folder: Path) -> Path:
    for name in RUN_FILES:
        if (folder / name).is_file():
            return folder / name
    raise UserError(f"no {' or '.join(RUN_FILES)} in {folder}")


def _all_cards() -> list[WeightCard]:
    return [weight_card(name) for name in weight_names()]


def _names_of(data: str) -> list[str]:
    return [card.name for card in _all_cards() if card.data == data and card.best]


def _some_of(names: Iterable[str]) -> str:
    first, *_ = names
    return f"for instance {first}"
