"""One contract for every model: a class here per adapter, all tests inherited."""

import copy
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor

from vision_tasks.errors import UserError
from vision_tasks.models.base import TaskModel
from vision_tasks.models.checkpoint import load_model, save_model
from vision_tasks.models.registry import create_model
from vision_tasks.types import IGNORE, Bands, Boxes, InputSpec, Labels, Masks

CLASSES = ("cat", "dog", "eel")


class ModelContract:
    """What each adapter must keep; a subclass names a model and gives truths for it."""

    name: str
    canvas = (64, 96)
    rate = 1e-3  # of the optimiser, in the test that learns
    channels = 3
    exclusive = True
    least_of_backbone = 10  # parameters
    may_rest = "none"  # part of the names of parameters that not every batch moves

    @classmethod
    def create(cls, classes: tuple[str, ...] = CLASSES) -> TaskModel[Any]:
        return create_model(cls.name, classes, channels=cls.channels, exclusive=cls.exclusive)

    def spec(self, fit: str) -> InputSpec:
        bands = None if self.channels == 3 else Bands(tuple(range(1, self.channels + 1)))
        return InputSpec(self.canvas, fit, bands)

    def images(self, count: int = 2) -> Tensor:
        return torch.rand(count, self.channels, *self.canvas, generator=torch.Generator().manual_seed(count))

    def truth(self) -> Any:
        """For two images."""
        raise NotImplementedError

    def empty(self) -> list[Any]:
        """Truths for two images, of which nothing, or only one image, can be learned."""
        raise NotImplementedError

    def waken(self, model: TaskModel[Any]) -> None:
        """Make an untrained model say something."""

    def check_inside(self, prediction: Any) -> None:
        raise NotImplementedError

    def check_equal(self, one: Any, other: Any, tolerance: float) -> None:
        raise NotImplementedError

    @pytest.fixture(scope="class")
    @classmethod
    def built(cls) -> TaskModel[Any]:
        torch.manual_seed(0)
        contract, model = cls(), cls.create()
        contract.waken(model)
        norms = [module for module in model.modules() if isinstance(module, torch.nn.BatchNorm2d)]
        usual = [norm.momentum for norm in norms]
        for norm in norms:
            norm.momentum = None  # the plain average at once: without statistics all places of an image look the same
        with torch.no_grad():
            for _ in range(3):
                model.train()(contract.images(), contract.truth())
        for norm, momentum in zip(norms, usual, strict=True):
            norm.momentum = momentum
        return model

    @pytest.fixture
    def model(self, built: TaskModel[Any]) -> TaskModel[Any]:
        return copy.deepcopy(built)

    def test_info(self, model: TaskModel[Any]) -> None:
        assert model.info.name == self.name
        assert model.info.classes == CLASSES
        assert model.info.code_licence
        assert len(list(model.backbone.parameters())) > self.least_of_backbone
        assert (model.info.channels, model.info.exclusive) == (self.channels, self.exclusive)
        owned = {id(parameter) for parameter in model.parameters()}
        assert all(id(parameter) in owned for parameter in model.backbone.parameters())

    def test_losses_are_finite_scalars(self, model: TaskModel[Any]) -> None:
        losses = model.train()(self.images(), self.truth())
        assert losses
        for loss in losses.values():
            assert loss.shape == ()
            assert loss.dtype == torch.float32
            assert loss.isfinite()

    def test_losses_do_not_ask_for_training_mode(self, model: TaskModel[Any]) -> None:
        state = {name: tensor.clone() for name, tensor in model.eval().state_dict().items()}
        losses = model(self.images(), self.truth())
        assert all(loss.isfinite() for loss in losses.values())
        assert not any(module.training for module in model.modules())
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())

    def test_gradients_reach_every_parameter(self, model: TaskModel[Any]) -> None:
        losses = model.train()(self.images(), self.truth())
        torch.stack(list(losses.values())).sum().backward()
        parameters = [(name, p) for name, p in model.named_parameters() if p.requires_grad]
        assert [name for name, p in parameters if p.grad is None or not p.grad.isfinite().all()] == []
        assert [name for name, p in parameters if self.may_rest not in name and not p.grad.any()] == []
        frozen = {name for name, p in model.named_parameters() if not p.requires_grad}
        assert all(name.endswith(".dfl.conv.weight") for name in frozen)  # a constant of YOLO

    def test_class_layers_are_all_that_knows_the_classes(self, model: TaskModel[Any]) -> None:
        wider = self.create((*CLASSES, "fox")).state_dict()
        known = {name for name, tensor in model.state_dict().items() if wider[name].shape != tensor.shape}
        assert {name.rpartition(".")[0] for name in known} == model.class_layers.keys()
        for layer, each in model.class_layers.items():
            outputs, more = len(model.get_submodule(layer).bias), len(wider[f"{layer}.bias"])
            anchors = outputs // (each * (model.background + len(CLASSES)))
            assert outputs == anchors * each * (model.background + len(CLASSES))
            assert more - outputs == anchors * each

    def test_empty_truth(self, model: TaskModel[Any]) -> None:
        for truth in self.empty():
            model.zero_grad()
            losses = model.train()(self.images(), truth)
            assert all(loss.isfinite() for loss in losses.values())
            torch.stack(list(losses.values())).sum().backward()
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            assert gradients
            assert all(gradient.isfinite().all() for gradient in gradients)

    def test_learns_a_batch(self, model: TaskModel[Any]) -> None:
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=self.rate)
        model.train()
        totals = []
        for _ in range(5):
            total = torch.stack(list(model(self.images(), self.truth()).values())).sum()
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
            totals.append(float(total.detach()))
        assert sum(totals[-2:]) < sum(totals[:2])

    def test_predictions_lie_inside_the_canvas(self, model: TaskModel[Any]) -> None:
        prediction = model.eval().predict(self.images())
        assert len(prediction) == 2
        self.check_inside(prediction)

    def test_a_batch_equals_its_images(self, model: TaskModel[Any]) -> None:
        images = self.images(3)
        batch = model.eval().predict(images)
        for i in range(3):
            self.check_equal(batch.image(i), model.predict(images[i : i + 1]).image(0), 1e-4)

    def test_predict_has_no_side_effect(self, model: TaskModel[Any]) -> None:
        model.train()
        model.backbone.eval()  # a frozen part keeps its mode, too
        flags = [module.training for module in model.modules()]
        state = {name: tensor.clone() for name, tensor in model.state_dict().items()}
        random, images = torch.get_rng_state(), self.images()
        untouched = images.clone()
        first = model.predict(images)
        assert [module.training for module in model.modules()] == flags
        assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())
        assert torch.equal(torch.get_rng_state(), random)
        assert torch.equal(images, untouched)
        self.check_equal(first, model.eval().predict(images), 0)

    def test_predict_leaves_training_possible(self, model: TaskModel[Any]) -> None:
        model.predict(self.images())
        losses = model.train()(self.images(), self.truth())
        torch.stack(list(losses.values())).sum().backward()

    def test_copies_after_use(self, model: TaskModel[Any]) -> None:
        model.train()(self.images(), self.truth())
        twin = copy.deepcopy(model).eval()
        self.check_equal(twin.predict(self.images()), model.eval().predict(self.images()), 0)

    def test_save_and_load(self, model: TaskModel[Any], tmp_path: Path) -> None:
        save_model(model, tmp_path / "best.safetensors", self.spec("letterbox"), {"score": 0.5})
        random = torch.get_rng_state()
        loaded, card = load_model(tmp_path)
        assert torch.equal(torch.get_rng_state(), random)
        assert (card.name, card.classes, card.input) == (self.name, CLASSES, self.spec("letterbox"))
        assert card.extra == {"score": 0.5}
        assert loaded.info == model.info
        self.check_equal(loaded.predict(self.images()), model.eval().predict(self.images()), 0)

    def test_loaded_with_other_classes(self, model: TaskModel[Any], tmp_path: Path) -> None:
        other = self.create(("only", "two"))
        other.info = model.info
        save_model(other, tmp_path / "x.safetensors", self.spec("crop"))
        with pytest.raises(UserError, match=r"x\.safetensors does not hold a .*: wrong shape .* instead of "):
            load_model(tmp_path / "x.safetensors")

    def test_bfloat16(self, model: TaskModel[Any]) -> None:
        with torch.autocast("cpu", torch.bfloat16):
            losses = model.train()(self.images(), self.truth())
            prediction = model.eval().predict(self.images())
        assert all(loss.dtype == torch.float32 and loss.isfinite() for loss in losses.values())
        self.check_inside(prediction)

    def test_channels_last(self, model: TaskModel[Any]) -> None:
        plain = model.eval().predict(self.images())
        nhwc = model.to(memory_format=torch.channels_last)
        prediction = nhwc.predict(self.images().contiguous(memory_format=torch.channels_last))
        assert type(prediction) is type(plain)
        self.check_inside(prediction)

    @pytest.mark.cuda
    @pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
    def test_cuda(self, model: TaskModel[Any]) -> None:
        on_cuda = model.cuda().train()
        losses = on_cuda(self.images().cuda(), self.truth().to("cuda"))
        assert all(loss.isfinite() for loss in losses.values())
        self.check_inside(on_cuda.eval().predict(self.images().cuda()).to("cpu"))


class ClassifierContract(ModelContract):
    def truth(self) -> Labels:
        return Labels(torch.tensor([[0.0, 1, 0], [0.3, 0, 0.7]]))

    def empty(self) -> list[Labels]:
        return [Labels(torch.zeros(2, 3)), Labels(torch.tensor([[0.0, 0, 0], [0, 0, 1]]))]

    def check_inside(self, prediction: Labels) -> None:
        assert prediction.weight.shape == (2, 3)
        assert prediction.weight.dtype == torch.float32
        assert (prediction.weight >= 0).all()
        assert (prediction.weight <= 1).all()
        if self.exclusive:
            assert torch.allclose(prediction.weight.sum(dim=1), torch.ones(2))

    def check_equal(self, one: Labels, other: Labels, tolerance: float) -> None:
        torch.testing.assert_close(one.weight, other.weight, atol=tolerance, rtol=0)

    def test_backbone_gives_what_the_last_layer_sees(self, model: TaskModel[Any]) -> None:
        features = model.features(self.images())
        assert features.dtype == torch.float32
        assert not features.requires_grad
        logits = model.net.get_submodule(model.head)(features)
        probability = logits.softmax(dim=1) if self.exclusive else logits.sigmoid()
        torch.testing.assert_close(probability, model.predict(self.images()).weight)

    def test_features_have_no_side_effect(self, model: TaskModel[Any]) -> None:
        model.train()
        random = torch.get_rng_state()
        first = model.features(self.images())
        assert all(module.training for module in model.modules())
        assert torch.equal(torch.get_rng_state(), random)
        assert torch.equal(model.eval().features(self.images()), first)

    def test_freezing_the_backbone_leaves_what_knows_the_classes(self, model: TaskModel[Any]) -> None:
        wider = self.create((*CLASSES, "fox")).state_dict()
        known = {name for name, tensor in model.named_parameters() if wider[name].shape != tensor.shape}
        model.backbone.requires_grad_(False)
        assert known <= {name for name, p in model.named_parameters() if p.requires_grad}
        kept = {f"net.{name}" for name in model.backbone.state_dict()}
        assert kept.isdisjoint(known)
        assert kept <= model.state_dict().keys()


class TestResNet(ClassifierContract):
    name = "resnet18"


class TestManyLabels(ClassifierContract):
    name = "cifar_resnet20"
    canvas = (32, 48)
    exclusive = False

    def truth(self) -> Labels:
        return Labels(torch.tensor([[0.0, 1, 1], [0.3, 0, 0.7]]))


class TestFiveChannels(ClassifierContract):
    name = "cifar_resnet20"
    canvas = (32, 48)
    channels = 5


class TestOneChannel(ClassifierContract):
    name = "lenet5"
    canvas = (28, 40)
    channels = 1
    least_of_backbone = 7


class TestGoogLeNet(ClassifierContract):
    name = "googlenet"
    canvas = (32, 48)


class TestMobileNet(ClassifierContract):
    name = "mobilenet_v3_small"


class TestTimmResNet(ClassifierContract):
    name = "timm/resnet10t"
    canvas = (32, 48)

    def waken(self, model: TaskModel[Any]) -> None:
        for name, scale in model.net.named_parameters():
            if name.endswith("bn2.weight"):  # zero at first, so that blocks start as identities and learn a step later
                torch.nn.init.ones_(scale)


class TestTimmTransformer(ClassifierContract):
    name = "timm/test_vit"
    canvas = (32, 48)


class TestLeNet5(ClassifierContract):
    name = "lenet5"
    canvas = (28, 40)
    least_of_backbone = 7


class TestMnistCnn(ClassifierContract):
    name = "mnist_cnn"
    canvas = (28, 40)
    least_of_backbone = 5


class TestMlp(ClassifierContract):
    name = "mlp"
    canvas = (28, 40)
    least_of_backbone = 3


class DetectorContract(ModelContract):
    large = (20.0, 10.0, 60.0, 54.0)

    def truth(self) -> Boxes:
        """Small and large, one as large as the canvas, one without an area, a crowd."""
        boxes = [(4.0, 4.0, 14.0, 16.0), self.large, (0, 0, self.canvas[1], self.canvas[0]), (40, 5, 40, 9)]
        first = Boxes.single(torch.tensor(boxes), torch.tensor([0, 1, 2, 0]))
        second = Boxes.single(
            torch.tensor([[50.0, 20, 75, 45], [1, 2, 90, 60]]), torch.tensor([2, 0]), crowd=torch.tensor([False, True])
        )
        return Boxes.stack([first, second])

    def empty(self) -> list[Boxes]:
        none = Boxes.single(torch.zeros(0, 4), torch.zeros(0, dtype=torch.long))
        flat = Boxes.single(torch.tensor([[3.0, 3, 3, 9]]), torch.tensor([1]))
        one = Boxes.single(torch.tensor([[3.0, 3, 30, 29]]), torch.tensor([1]))
        return [Boxes.stack(pair) for pair in ([none, flat], [none, one])]

    def check_inside(self, prediction: Boxes) -> None:
        height, width = self.canvas
        xyxy = prediction.xyxy[prediction.valid]
        assert len(xyxy) > 10
        assert prediction.valid.any(dim=1).all()
        assert xyxy.dtype == torch.float32
        assert (xyxy >= 0).all()
        assert (xyxy <= torch.tensor([width, height, width, height])).all()
        assert (xyxy[:, 2:] >= xyxy[:, :2]).all()
        assert set(prediction.label[prediction.valid].tolist()) <= {0, 1, 2}
        assert prediction.score is not None
        assert prediction.score.dtype == torch.float32
        score = prediction.score[prediction.valid]
        assert (score > 0).all()
        assert (score <= 1).all()
        assert not prediction.crowd.any()

    def check_equal(self, one: Boxes, other: Boxes, tolerance: float) -> None:
        assert torch.equal(one.valid.sum(dim=1), other.valid.sum(dim=1))
        for i in range(len(one)):
            first, second = one.image(i), other.image(i)
            assert first.score is not None
            assert second.score is not None
            # Nearly equal scores may change places, so each box looks for its own.
            away = (first.xyxy[0, :, None] - second.xyxy[0, None]).abs().amax(dim=-1) > 100 * tolerance
            away |= (first.score[0, :, None] - second.score[0, None]).abs() > tolerance
            away |= first.label[0, :, None] != second.label[0, None]
            assert (~away).any(dim=0).all()
            assert (~away).any(dim=1).all()

    def test_crowds_and_flat_boxes_teach_nothing(self, model: TaskModel[Any]) -> None:
        def losses(truth: Boxes) -> dict[str, Tensor]:
            torch.manual_seed(0)
            return model.eval()(self.images(), truth)

        truth = self.truth()
        area = (truth.xyxy[..., 2:] > truth.xyxy[..., :2]).all(dim=-1)
        kept = Boxes(truth.xyxy, truth.label, truth.valid & ~truth.crowd & area, truth.crowd)
        without = Boxes.stack([kept.image(0), kept.image(1)])
        assert losses(truth) == losses(without)
        assert losses(truth) != losses(self.empty()[0])


class TestFasterRCNN(DetectorContract):
    name = "fasterrcnn_mobilenet_v3_large_320_fpn"
    rate = 1e-4

    def waken(self, model: TaskModel[Any]) -> None:
        model.net.roi_heads.fg_bg_sampler.batch_size_per_image = 32  # proposals to learn from: 512 take seconds


class YoloContract(DetectorContract):
    canvas = (128, 128)  # one box of the truth for each of the three strides
    large = (36.0, 40.0, 100.0, 104.0)

    def waken(self, model: TaskModel[Any]) -> None:
        head = model.net.model[-1]
        with torch.no_grad():
            for branch in (*head.cv3, *getattr(head, "one2one_cv3", ())):
                branch[-1].bias += 5  # scores above the threshold
            for branch in (*head.cv2, *getattr(head, "one2one_cv2", ())):
                branch[-1].weight *= 0.1  # boxes about as large as those of the truth


class TestYolo8(YoloContract):
    name = "yolov8n"


class TestYolo11(YoloContract):
    name = "yolo11n"


class TestYolo26(YoloContract):
    name = "yolo26n"


class SegmenterContract(ModelContract):
    canvas = (65, 97)

    def truth(self) -> Masks:
        index = torch.randint(0, 3, (2, *self.canvas), generator=torch.Generator().manual_seed(1)).to(torch.uint8)
        index[0, :7] = IGNORE
        return Masks(index, 3)

    def empty(self) -> list[Masks]:
        nothing = self.truth().blank(self.canvas)
        half = Masks.stack([self.truth().image(0), nothing.image(1)])
        soft = nothing.blend(self.truth(), torch.full((2,), 0.5))
        return [nothing, half, soft]

    def check_inside(self, prediction: Masks) -> None:
        assert prediction.index.shape == (2, *self.canvas)
        assert prediction.index.dtype == torch.uint8
        assert prediction.probability is not None
        assert prediction.probability.dtype == torch.float32
        assert prediction.probability.shape == (2, 3, *self.canvas)
        torch.testing.assert_close(prediction.probability.sum(dim=1), torch.ones(2, *self.canvas))
        assert torch.equal(prediction.probability.argmax(dim=1), prediction.index.long())

    def check_equal(self, one: Masks, other: Masks, tolerance: float) -> None:
        torch.testing.assert_close(one.probability, other.probability, atol=tolerance, rtol=0)

    def test_wholly_ignored_is_zero(self, model: TaskModel[Any]) -> None:
        losses = model.train()(self.images(), self.empty()[0])
        assert losses
        assert {loss.item() for loss in losses.values()} == {0.0}

    @pytest.mark.parametrize("loss", ["focal", "jaccard", "tversky", "lovasz", "cross_entropy+dice"])
    def test_learns_by_a_loss(self, model: TaskModel[Any], loss: str) -> None:
        model.learn_by(loss.split("+"), class_weight=torch.tensor([1.0, 2.0, 3.0]))
        losses = model.train()(self.images(), self.truth())
        assert {name.removesuffix("_aux") for name in losses} == set(loss.split("+"))
        torch.stack(list(losses.values())).sum().backward()
        assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


class TestUnet(SegmenterContract):
    name = "unet:resnet18"


class TestUnetOfFiveChannels(SegmenterContract):
    name = "unet:mobilenet_v2"
    channels = 5


class TestDeepLabV3Plus(SegmenterContract):
    name = "deeplabv3plus:mobilenet_v2"


@pytest.mark.slow
class TestUnetPlusPlus(SegmenterContract):
    name = "unetplusplus:mobilenet_v2"


@pytest.mark.slow
class TestMAnet(SegmenterContract):
    name = "manet:mobilenet_v2"
    may_rest = "SE_"  # of one to four units behind a ReLU, a batch may find all below zero


@pytest.mark.slow
class TestLinknet(SegmenterContract):
    name = "linknet:mobilenet_v2"


@pytest.mark.slow
class TestFPN(SegmenterContract):
    name = "fpn:mobilenet_v2"


@pytest.mark.slow
class TestPSPNet(SegmenterContract):
    name = "pspnet:mobilenet_v2"


@pytest.mark.slow
class TestPAN(SegmenterContract):
    name = "pan:mobilenet_v2"
    rate = 1e-4
    may_rest = "fpa.down"  # biases before a normalisation, which takes them away again


@pytest.mark.slow
class TestDeepLabV3(SegmenterContract):
    name = "deeplabv3:mobilenet_v2"
    rate = 1e-4  # dropout of half of its features: five steps at 1e-3 end where they began


@pytest.mark.slow
class TestUPerNet(SegmenterContract):
    name = "upernet:mobilenet_v2"


@pytest.mark.slow
class TestSegformer(SegmenterContract):
    name = "segformer:mobilenet_v2"


@pytest.mark.slow
class TestDPT(SegmenterContract):
    name = "dpt:tu-test_vit"
    rate = 1e-4


class TestOriginalUnet(SegmenterContract):
    name = "unet_original"

    @pytest.fixture(autouse=True, scope="class")
    @classmethod
    def _narrow(cls) -> Iterator[None]:
        """An eighth of its width: at full width each test takes seconds."""
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("vision_tasks.models.unet.WIDTHS", (8, 16, 32, 64, 128))
            yield


class TestLRASPP(SegmenterContract):
    name = "lraspp_mobilenet_v3_large"


class TestTorchvisionDeepLab(SegmenterContract):
    name = "deeplabv3_mobilenet_v3_large"


@pytest.mark.slow
class TestFCN(SegmenterContract):
    name = "fcn_resnet50"
