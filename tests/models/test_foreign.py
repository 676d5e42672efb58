"""Weights from elsewhere: published files behind cards, state dicts of other tools, and pickles that are refused."""

import hashlib
import os
import pickle
import threading
import warnings
import zipfile
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
import torch
import torchvision
from safetensors.torch import save_file
from torch import Tensor, nn

from vision_tasks import cards
from vision_tasks.errors import UserError
from vision_tasks.models.checkpoint import load_model, save_model
from vision_tasks.models.foreign import read_state_dict
from vision_tasks.models.registry import create_model
from vision_tasks.models.transfer import start_from
from vision_tasks.models.weights import known_weights, resolve
from vision_tasks.types import InputSpec

CLASSES = ("ant", "bee", "cat", "dog")


def resnet(classes: int = 4, seed: int = 0) -> nn.Module:
    torch.manual_seed(seed)
    net = torchvision.models.resnet18(num_classes=classes).eval()
    net.bn1.running_mean.uniform_()
    return net


def old_style(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """As files from before torch counted the batches of batch normalisation."""
    return {name: tensor for name, tensor in state.items() if not name.endswith("num_batches_tracked")}


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def published(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A folder whose files are on a server, with weight cards of our own and an empty cache."""
    served, own = tmp_path / "served", tmp_path / "weights"
    (own / "classes").mkdir(parents=True)
    served.mkdir()
    (own / "classes" / "four.txt").write_text("\n".join(CLASSES) + "\n")
    monkeypatch.setenv("VISION_TASKS_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(cards, "_folder", {"weights": own}.__getitem__)
    cards._files.cache_clear()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(served))) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        (own / "address").write_text(f"http://127.0.0.1:{server.server_address[1]}")
        yield served
        server.shutdown()
        thread.join()
    cards._files.cache_clear()


def publish(served: Path, name: str, net: nn.Module, model: str = "resnet18", more: str = "") -> None:
    """Serve `net` and write the card `name` for it."""
    own = served.parent / "weights"
    # The form of torchvision's oldest files.
    torch.save(old_style(net.state_dict()), served / f"{name}.pth", _use_new_zipfile_serialization=False)
    content = (served / f"{name}.pth").read_bytes()
    (own / f"{name}.toml").write_text(
        f"""
        name = "{name}"
        model = "{model}"
        task = "classify"
        data = "insects"
        classes = "four"
        canvas = [64, 96]
        fit = "crop"
        url = "{(own / "address").read_text()}/{name}.pth"
        sha256_prefix = "{hashlib.sha256(content).hexdigest()[:8]}"
        mebibytes = {len(content) / 2**20:.3f}
        parameters = 1
        source = "a test"
        code_licence = "MIT"
        weights_licence = "CC-BY-4.0"
        protocol = "none"
        scores = {{}}
        {more}
        """
    )
    cards._files.cache_clear()


def test_a_card_gives_a_ready_model(published: Path) -> None:
    net = resnet()
    publish(published, "r18", net, more="best = true")
    seen: list[tuple[str, int, int | None]] = []
    model, card = load_model("r18", progress=lambda *state: seen.append(state))
    assert (card.name, card.classes, card.input) == ("resnet18", CLASSES, InputSpec((64, 96), "crop"))
    assert model.info.weights_licence == card.weights_licence == "CC-BY-4.0"
    size = (published / "r18.pth").stat().st_size
    assert seen[-1] == ("r18.pth", size, size)
    images = torch.rand(2, 3, 64, 96)
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = net((images - mean[:, None, None]) / std[:, None, None]).softmax(dim=1)
    torch.testing.assert_close(model.predict(images).weight, expected)
    (published / "r18.pth").unlink()
    load_model("r18")  # from the cache


def test_googlenet_agrees_with_torchvisions_own_way_of_loading(published: Path) -> None:
    """Its published weights expect another normalisation, and bring auxiliary classifiers along."""
    warnings.simplefilter("ignore", FutureWarning)
    torch.manual_seed(0)
    net = torchvision.models.googlenet(num_classes=4, transform_input=True, aux_logits=True, init_weights=False).eval()
    publish(published, "g", net, "googlenet", "mean = [0.5, 0.5, 0.5]\n        std = [0.5, 0.5, 0.5]")
    images = torch.rand(2, 3, 64, 64)
    normal = torchvision.transforms.functional.normalize(images, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225])
    with torch.no_grad():
        expected = net(normal).softmax(dim=1)
    torch.testing.assert_close(load_model("g")[0].predict(images).weight, expected)


def test_the_card_of_the_real_resnet50_is_complete(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without a network, the error says where its file belongs; a file that is put there is checked."""
    monkeypatch.setenv("VISION_TASKS_CACHE", str(tmp_path))
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")
    place = tmp_path / "weights" / "resnet50-11ad3fa6.pth"
    with pytest.raises(UserError, match=f"resnet50-11ad3fa6.pth: no connection .* put it at {place}"):
        load_model("resnet50_imagenet1k_v2")
    place.write_bytes(b"something else")
    with pytest.raises(UserError, match=f"{place}: not the file of .*: sha256 .* instead of 11ad3fa6"):
        load_model("resnet50_imagenet1k_v2")


def test_the_name_of_data_takes_the_best_card(published: Path) -> None:
    publish(published, "worse", resnet(seed=1))
    publish(published, "better", resnet(seed=2), more="best = true")
    model = create_model("resnet18", CLASSES)
    assert start_from(model, "insects") == "took 124 of 124 tensors from resnet18 (better)"
    assert torch.equal(model.net.fc.weight, resnet(seed=2).fc.weight)
    assert model.info.weights_licence == "CC-BY-4.0"
    unet = create_model("unet:resnet18", ("x", "y"))
    assert start_from(unet, "insects").startswith("took 120 of 120 tensors of the backbone from resnet18 (better)")
    with pytest.raises(UserError, match=r"no weights trained on insects are known for 'resnet50'.* for resnet18$"):
        start_from(create_model("resnet50", CLASSES), "insects")
    with pytest.raises(UserError, match="'insects' names weights of many models; name one card, for instance better"):
        load_model("insects")


def test_a_card_of_the_wrong_file(published: Path) -> None:
    publish(published, "r18", resnet(7))
    with pytest.raises(UserError, match=r"does not hold a resnet18: wrong shape fc\.weight 7x512 instead of 4x512, fc"):
        load_model("r18")
    publish(published, "r34", torchvision.models.resnet34(num_classes=4))
    with pytest.raises(UserError, match=r"does not hold a resnet18: unknown layer1\.2\.conv1\.weight, .* more"):
        load_model("r34")


@pytest.mark.parametrize(
    "name", ["alexnet", "vgg11_bn", "googlenet", "mobilenet_v3_small", "efficientnet_b0", "convnext_tiny", "resnet50"]
)
def test_networks_have_the_tensors_of_torchvisions(name: str) -> None:
    """Each family's published files fit: the same names and shapes."""
    options = {"aux_logits": True, "init_weights": False} if name == "googlenet" else {}
    with torch.device("meta"):
        theirs = torchvision.models.get_model(name, weights=None, **options).state_dict()
        ours = create_model(name, [str(i) for i in range(1000)]).state_dict()
    network = {key.removeprefix("net."): tensor.shape for key, tensor in ours.items() if key.startswith("net.")}
    assert network == {key: tensor.shape for key, tensor in theirs.items()}


def test_what_is_known_for_a_model() -> None:
    assert known_weights("resnet50") == ("resnet50_imagenet1k_v2", "resnet50_imagenet1k_v1")
    assert known_weights("unet:resnet18") == ("resnet18_imagenet1k_v1",)
    assert known_weights("timm/resnet10t") == ("imagenet",)
    assert known_weights("yolo11n") == ("yolo11n_coco",)
    assert known_weights("yolov9t") == ()


def test_names_that_are_nothing(published: Path) -> None:
    publish(published, "resnet18_insects", resnet())
    for name, message in {
        "resnet18_insect": "unknown weights 'resnet18_insect'; did you mean resnet18_insects",
        "xyz": "weights 'xyz': neither a run folder, nor a file, nor a card; for instance resnet18_insects",
        "runs/none": "checkpoint not found: runs/none",
        "none.pth": r"checkpoint not found: none\.pth$",
        "resnet18_insects.pth": r"not found: .*; the published file of this name is the card resnet18_insects",
    }.items():
        with pytest.raises(UserError, match=message):
            resolve(name)


# --- state dicts of other tools ---


def forms(state: dict[str, Tensor]) -> dict[str, Any]:
    return {
        "bare": state,
        "old": old_style(state),
        "nested": {"state_dict": state, "epoch": 3, "optimizer": {"lr": 0.1}},
        "nested model": {"model_state_dict": state},
        "data parallel": {f"module.{name}": tensor for name, tensor in state.items()},
        "lightning": {"state_dict": {f"model.{name}": tensor for name, tensor in state.items()}},
        "compiled": {"model": {f"_orig_mod.module.{name}": tensor for name, tensor in state.items()}},
    }


@pytest.mark.parametrize("form", forms({}))
def test_a_state_dict_of_the_same_network(tmp_path: Path, form: str) -> None:
    net = resnet(10)
    torch.save(forms(dict(net.state_dict()))[form], tmp_path / "net.pth")
    model = create_model("resnet18", CLASSES)
    head = model.net.fc.weight.clone()
    account = start_from(model, tmp_path / "net.pth")
    count = 100 if form == "old" else 120
    assert account == f"took {count} of 122 tensors from {tmp_path / 'net.pth'}; new: net.fc.weight, net.fc.bias"
    assert model.info.weights_licence == "unknown"
    assert torch.equal(model.net.fc.weight, head)
    theirs = net.state_dict()
    for name, tensor in model.net.state_dict().items():
        assert name.startswith("fc.") or torch.equal(tensor, theirs[name]), name


def test_a_foreign_safetensors_file_and_half_precision(tmp_path: Path) -> None:
    net = resnet().half()
    save_file(net.state_dict(), tmp_path / "net.safetensors")
    model = create_model("resnet18", CLASSES)
    start_from(model, tmp_path / "net.safetensors")
    assert model.net.conv1.weight.dtype == torch.float32
    assert torch.equal(model.net.conv1.weight, net.conv1.weight.float())


def test_foreign_classes_are_not_taken_by_position(tmp_path: Path) -> None:
    torch.save(resnet(4).state_dict(), tmp_path / "net.pth")
    model = create_model("resnet18", CLASSES)
    assert start_from(model, tmp_path / "net.pth").endswith("new: net.fc.weight, net.fc.bias")


def test_a_file_of_another_network_is_told(tmp_path: Path) -> None:
    """A ResNet-34 holds a whole ResNet-18, and more: what is left over says so."""
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "net.pth")
    account = start_from(create_model("resnet18", CLASSES), tmp_path / "net.pth")
    left = len(torchvision.models.resnet34().state_dict()) - len(torchvision.models.resnet18().state_dict())
    assert f"{left} others in it belong to no part of this model" in account


def test_a_state_dict_of_the_backbone(tmp_path: Path) -> None:
    net = resnet(10)
    torch.save(net.state_dict(), tmp_path / "net.pth")
    unet = create_model("unet:resnet18", CLASSES)
    account = start_from(unet, tmp_path / "net.pth")
    assert account == f"took 120 of 120 tensors of the backbone from {tmp_path / 'net.pth'}"
    assert torch.equal(unet.backbone.layer3[0].conv2.weight, net.layer3[0].conv2.weight)


def test_a_state_dict_of_another_network(tmp_path: Path) -> None:
    torch.save(torchvision.models.resnet34().state_dict(), tmp_path / "net.pth")
    model = create_model("resnet50", CLASSES)
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    with pytest.raises(UserError, match=r"does not fit resnet50: .* of 159 tensors agree; not net\.layer1\.0\.conv1\."):
        start_from(model, tmp_path / "net.pth")
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())


def test_a_model_whose_own_names_start_like_a_wrapper(tmp_path: Path) -> None:
    """Networks of YOLO call their layers `model.0...`: that must not be taken for a prefix."""
    source = create_model("yolo11n", CLASSES)
    torch.save(source.net.state_dict(), tmp_path / "yolo.pt")
    model = create_model("yolo11n", CLASSES)
    start_from(model, tmp_path / "yolo.pt")
    assert torch.equal(model.net.model[0].conv.weight, source.net.model[0].conv.weight)


# --- refused ---


class Evil:
    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> Any:
        return os.mkdir, (str(self.mark),)


@pytest.mark.parametrize("new_format", [True, False])
def test_a_pickle_with_code_is_refused_and_never_run(tmp_path: Path, new_format: bool) -> None:
    content = {"state_dict": {"x": torch.zeros(1)}, "extra": Evil(tmp_path / "ran")}
    torch.save(content, tmp_path / "evil.pth", _use_new_zipfile_serialization=new_format)
    for read in (read_state_dict, load_model, partial(start_from, create_model("resnet18", CLASSES))):
        with pytest.raises(
            UserError, match=r"evil\.pth: a pickle with more than tensors in it \(posix\.mkdir\)"
        ) as error:
            read(tmp_path / "evil.pth")
        assert "\n" not in str(error.value)
    assert not (tmp_path / "ran").exists()


def test_files_that_are_no_state_dicts(tmp_path: Path) -> None:
    torch.save(nn.Linear(1, 1), tmp_path / "module.pt")
    with warnings.catch_warnings(action="ignore"):
        torch.jit.script(nn.Linear(1, 1)).save(tmp_path / "script.pt")
    torch.save([torch.zeros(1)], tmp_path / "list.pt")
    torch.save({"epoch": 3, 4: torch.zeros(1)}, tmp_path / "numbers.pt")
    torch.save(resnet().state_dict(), tmp_path / "cut.pt")
    (tmp_path / "cut.pt").write_bytes((tmp_path / "cut.pt").read_bytes()[:100_000])
    torch.save({"x": torch.zeros(1)}, tmp_path / "index.pt")
    whole = (tmp_path / "index.pt").read_bytes()
    (tmp_path / "index.pt").write_bytes(whole.replace(b"PK\1\2", b"PK\0\0"))  # the list of an archive's members
    assert zipfile.is_zipfile(tmp_path / "index.pt")
    (tmp_path / "plain.pkl").write_bytes(pickle.dumps({"x": 1}))
    (tmp_path / "text.pth").write_text("hello")
    (tmp_path / "empty.pth").write_bytes(b"")
    for name, message in {
        "module.pt": r"a pickle with more than tensors in it \(torch\.nn\.modules\.linear\.Linear\)",
        "script.pt": r"is a TorchScript archive, which holds code; save the module's state_dict\(\) instead",
        "list.pt": "holds a list, not a state dict",
        "numbers.pt": r"holds no tensors by name; it is no state dict \(its keys: epoch, 4\)",
        "cut.pt": "not a state dict, or damaged",
        "index.pt": "not a state dict, or damaged",
        "plain.pkl": "not a state dict, or damaged",
        "text.pth": "not a state dict, or damaged",
        "empty.pth": "not a state dict, or damaged",
    }.items():
        with pytest.raises(UserError, match=message) as error:
            read_state_dict(tmp_path / name)
        assert str(error.value).startswith(str(tmp_path / name))
        assert "\n" not in str(error.value)


# --- timm ---


def test_timms_own_weights(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    torch.manual_seed(3)
    build, net = timm.create_model, timm.create_model("resnet10t")

    def create(name: str, pretrained: bool = False, **options: Any) -> nn.Module:
        if pretrained:
            assert (name, options) == ("resnet10t", {})
            return net
        return build(name, **options)

    model = create_model("timm/resnet10t", CLASSES, channels=4)
    monkeypatch.setattr(timm, "create_model", create)
    account = start_from(model, "imagenet")
    assert "tensors from timm/resnet10t's own; its first layer was widened from RGB; new: net.fc.weight" in account
    assert torch.equal(model.net.layer4[0].conv1.weight, net.layer4[0].conv1.weight)
    assert model.info.weights_licence == "apache-2.0"


def test_timm_without_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    import timm

    def create(name: str, pretrained: bool) -> nn.Module:
        raise ConnectionError("offline")

    model = create_model("timm/resnet10t", CLASSES)
    monkeypatch.setattr(timm, "create_model", create)
    with pytest.raises(
        UserError, match=r"get model\.safetensors from https://.*/timm/resnet10t\.\w+ yourself and give"
    ):
        start_from(model, "imagenet")


def test_our_own_file_is_never_taken_for_a_foreign_one(tmp_path: Path) -> None:
    save_model(create_model("resnet18", CLASSES), tmp_path / "best.safetensors", InputSpec((64, 64), "crop"))
    account = start_from(create_model("resnet18", CLASSES), tmp_path)
    assert account == f"took 124 of 124 tensors from resnet18 ({tmp_path})"
