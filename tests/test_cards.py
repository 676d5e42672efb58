"""Cards: every one is whole, those of weights agree with torchvision's own records, mistakes are named."""

import re
from pathlib import Path

import pytest
import torch
import torchvision
from torchvision.models import get_model, get_model_weights, list_models

from vision_tasks import cards
from vision_tasks.cards import (
    class_names,
    dataset_card,
    dataset_names,
    weight_card,
    weight_cards_for,
    weight_names,
)
from vision_tasks.errors import UserError
from vision_tasks.tasks import get_task

ROOT = Path(__file__).parent.parent
FAMILIES = ("resnet", "resnext", "wide_resnet", "inception", "alexnet", "vgg", "googlenet", "mobilenet",
            "efficientnet", "convnext")  # fmt: skip
TRANSFORMING = ("googlenet", "inception_v3")  # torchvision changes their input once more, with published weights
USUAL = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))


def published() -> dict[str, torchvision.models.Weights]:
    """torchvision's weights of these families by our names; without those that can't classify (VGG's features)."""
    models = [name for name in list_models(module=torchvision.models) if name.startswith(FAMILIES)]
    weights = {f"{model}_{entry.name.lower()}": entry for model in models for entry in get_model_weights(model)}
    return {name: entry for name, entry in weights.items() if not name.endswith("_features")}


def test_a_card_for_each_of_torchvisions_weights() -> None:
    assert {name for name in weight_names() if weight_card(name).task == "classify"} == published().keys()


@pytest.mark.parametrize("name", sorted(published()))
def test_weight_cards_repeat_torchvision(name: str) -> None:
    card, entry = weight_card(name), published()[name]
    preset = entry.transforms()
    assert card.url == entry.url
    assert entry.url.endswith(f"-{card.sha256_prefix}.pth")
    assert name == f"{card.model}_{entry.name.lower()}"
    assert card.best == (entry == get_model_weights(card.model).DEFAULT)
    assert card.parameters == entry.meta["num_params"]
    assert card.mebibytes == entry.meta["_file_size"]
    scores = entry.meta["_metrics"]["ImageNet-1K"]
    assert card.scores == {"top1": scores["acc@1"], "top5": scores["acc@5"]}
    assert [*card.canvas] == preset.crop_size * 2
    expected = f"shorter side to {preset.resize_size[0]} ({preset.interpolation.value}), centre crop {card.canvas[0]}"
    assert card.protocol == f"ImageNet-1k val: {expected}"
    if card.model not in TRANSFORMING:
        assert (card.mean or USUAL[0], card.std or USUAL[1]) == (tuple(preset.mean), tuple(preset.std))


@pytest.mark.parametrize("model", TRANSFORMING)
def test_statistics_are_those_behind_the_input_transform(model: str) -> None:
    """With published weights torchvision normalises twice: by ImageNet's statistics, then on to [-1, 1]."""
    card = weight_card(f"{model}_imagenet1k_v1")
    net = get_model(model, transform_input=True, init_weights=False)
    preset = get_model_weights(model).DEFAULT.transforms()
    image = torch.rand(1, 3, 8, 8)
    theirs = net._transform_input(torchvision.transforms.functional.normalize(image, preset.mean, preset.std))
    ours = torchvision.transforms.functional.normalize(image, card.mean, card.std)
    torch.testing.assert_close(ours, theirs)


def test_class_names_are_torchvisions_and_differ_in_any_case() -> None:
    names = class_names(weight_card("resnet18_imagenet1k_v1"))
    theirs = published()["resnet18_imagenet1k_v1"].meta["categories"]
    assert len({name.casefold() for name in names}) == 1000
    assert {i: name for i, name in enumerate(names) if name != theirs[i]} == {264: "Cardigan Welsh corgi"}


@pytest.mark.parametrize("name", weight_names())
def test_weight_cards_have_their_classes_and_one_best(name: str) -> None:
    card = weight_card(name)
    assert (ROOT / "weights" / "classes" / f"{card.classes}.txt").is_file()
    ordered = weight_cards_for(card.model, card.data)
    assert [one.best for one in ordered] == [True] + [False] * (len(ordered) - 1)


@pytest.mark.parametrize("name", dataset_names())
def test_dataset_cards_are_whole(name: str) -> None:
    card = dataset_card(name)
    assert card.licence
    assert sum(card.splits.values()) > 0
    assert all(file.sha256 or file.md5 for file in card.files)
    assert len({file.name for file in card.files}) == len(card.files)
    for task in (card.task, *card.also):
        assert card.format in [reader.format for reader in get_task(task).readers]


def test_the_well_known_sets_have_cards() -> None:
    assert set(dataset_names()) == {
        "mnist", "fashion-mnist", "cifar10", "cifar100", "imagenette", "eurosat", "oxford-pets", "voc2007", "voc2012",
        "coco2017", "camvid", "cityscapes", "ade20k",
    }  # fmt: skip


def test_checksums_are_torchvisions_where_it_has_them() -> None:
    """It publishes md5, which can be compared where our card has no better; of the others at least the addresses."""
    classes = torchvision.datasets
    assert (dataset_card("imagenette").files[0].url, dataset_card("imagenette").files[0].md5) == (
        classes.Imagenette._ARCHIVES["160px"]
    )
    source = Path(classes.eurosat.__file__).read_text()
    assert dataset_card("eurosat").files[0].url in source
    assert f'"{dataset_card("eurosat").files[0].md5}"' in source
    assert [file.url for file in dataset_card("oxford-pets").files] == [u for u, _ in classes.OxfordIIITPet._RESOURCES]
    years = classes.voc.DATASET_YEAR_DICT
    assert [file.url for file in dataset_card("voc2007").files] == [years["2007"]["url"], years["2007-test"]["url"]]
    assert [file.url for file in dataset_card("voc2012").files] == [years["2012"]["url"]]
    assert dataset_card("fashion-mnist").classes == tuple(classes.FashionMNIST.classes)


def test_wrong_names() -> None:
    with pytest.raises(UserError, match="unknown data set 'cifar11'; did you mean cifar10"):
        dataset_card("cifar11")
    with pytest.raises(UserError, match="unknown weights 'resnet50_imagenet1k_v3'; did you mean resnet50_imagenet1k_v"):
        weight_card("resnet50_imagenet1k_v3")


GOOD = (ROOT / "datasets" / "eurosat.toml").read_text()


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('title = "', "title = ", "is not a card"),
        ("num_classes = 10", "num_classes = 11", "10 different classes, not num_classes = 11"),
        ("num_classes = 10", "", "num_classes: Field required"),
        ('root = "2750"', 'root = "../2750"', "root leaves the data set's folder"),
        ('root = "2750"', 'rooot = "2750"', "rooot: Extra inputs are not permitted"),
        ('url = "https:', 'url = "file:', "files.0.url: String should match pattern"),
        ('md5 = "c8', 'md5 = "', "files.0.md5: String should match pattern"),
        ("[[files]]", "[[fils]]", "fils: Extra inputs"),
        ('name = "eurosat"', 'name = "satellites"', "holds the card of 'satellites'; rename one of the two"),
    ],
)
def test_mistakes_in_a_card(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, old: str, new: str, message: str) -> None:
    assert old in GOOD
    (tmp_path / "eurosat.toml").write_text(GOOD.replace(old, new))
    monkeypatch.setattr(cards, "_folder", {"datasets": tmp_path}.__getitem__)
    cards._files.cache_clear()
    with pytest.raises(UserError, match=r"eurosat\.toml.*" + re.escape(message)) as error:
        dataset_card("eurosat")
    assert "\n" not in str(error.value)
    cards._files.cache_clear()
