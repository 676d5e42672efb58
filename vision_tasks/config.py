"""What a user can set: complete, frozen, validated descriptions; a run folder stores them and `--config` reads them."""

from __future__ import annotations

import tomllib
from copy import deepcopy
from math import isfinite
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import tomli_w
from pydantic import BaseModel, ByteSize, ConfigDict, Field, ValidationError, field_validator, model_validator

from vision_tasks.errors import UserError, unknown_name
from vision_tasks.files import read_text, write_text
from vision_tasks.types import Bands, InputSpec

Range = tuple[float, float]

EARLIER = {"mosaic_off": "mix_off"}  # settings that had another name, when mosaic was all there was to end


class Policy(BaseModel):
    """Ranges of random geometry and colour; the default changes nothing."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    crop_area: Range | None = Field(None, description="share of the image that a random crop keeps; None = use the fit")
    crop_ratio: Range = Field((3 / 4, 4 / 3), description="aspect ratio (width / height) of that crop, drawn as a log")
    flip_x: float = Field(0.0, ge=0, le=1, description="probability of a left-right flip")
    flip_y: float = Field(0.0, ge=0, le=1, description="probability of an upside-down flip")
    rotate: float = Field(0.0, ge=0, le=180, description="degrees, drawn from [-rotate, rotate]")
    quarter_turns: bool = Field(False, description="turned by 0, 90, 180 or 270 degrees, each as often: no up or down")
    shear: float = Field(0.0, ge=0, lt=90, description="degrees along each axis, drawn from [-shear, shear]")
    zoom: Range = Field((1.0, 1.0), description="factor of size about the canvas' centre")
    shift: float = Field(
        0.0, ge=0, le=1, description="share of the canvas side, drawn from [-shift, shift], in whole pixels"
    )
    border: Literal["grey", "mirror"] = Field(
        "grey",
        description="what shows where an image is moved away; mirror: itself, mirrored (without truth)",
    )
    brightness: float = Field(0.0, ge=0, le=1, description="factor drawn from [1 - b, 1 + b]")
    contrast: float = Field(0.0, ge=0, le=1, description="factor about the image's mean grey drawn from [1 - c, 1 + c]")
    saturation: float = Field(0.0, ge=0, le=1, description="factor about the pixel's grey drawn from [1 - s, 1 + s]")
    hue: float = Field(0.0, ge=0, le=0.5, description="turns of the colour circle, drawn from [-h, h]")
    grey: float = Field(0.0, ge=0, le=1, description="probability that all colour is taken away")
    erase: float = Field(0.0, ge=0, le=1, description="probability that a rectangle is painted over")
    erase_area: Range = Field((0.02, 0.33), description="share of the canvas that such a rectangle takes")
    mosaic: float = Field(0.0, ge=0, le=1, description="probability that four images share a canvas")
    copy_paste: float = Field(0.0, ge=0, le=1, description="probability that another image's objects are pasted")
    cutmix: float = Field(0.0, ge=0, le=1, description="probability that a rectangle comes from another image")
    mixup: float = Field(0.0, ge=0, le=1, description="probability that another image is blended in")
    mixup_alpha: float = Field(0.2, gt=0, description="of Beta(alpha, alpha), which draws that image's share")
    albumentations: str = Field(
        "", description="a pipeline as albumentations.save writes it: its text, for a file may change"
    )
    mix_off: int = Field(0, ge=0, description="epochs at the end, half of all at most, in which no image meets another")

    @model_validator(mode="before")
    @classmethod
    def _earlier_names(cls, values: Any) -> Any:
        """Those that runs of earlier versions stored."""
        return (
            {EARLIER.get(name, name): value for name, value in values.items()} if isinstance(values, dict) else values
        )

    @field_validator("crop_area", "erase_area")
    @classmethod
    def _share(cls, ends: Range | None) -> Range | None:
        if ends is not None and ends[1] > 1:
            raise ValueError("must be shares of 1 at most")
        return ends

    @field_validator("crop_area", "crop_ratio", "zoom", "erase_area")
    @classmethod
    def _rising(cls, ends: Range | None) -> Range | None:
        if ends is not None and not 0 < ends[0] <= ends[1]:
            raise ValueError("must be two rising numbers above 0")
        return ends

    def largest_zoom(self) -> float:
        """How much larger than fitted an image can get: what decoders must keep detail for."""
        crop = 1.0 if self.crop_area is None else self.crop_area[0] ** -0.5
        return max(1.0, crop * self.zoom[1])

    def at(self, epoch: int, epochs: int) -> Policy:
        """The policy of one epoch of a training of `epochs`."""
        # A trial of few epochs should show what the recipe does, too.
        if epoch < epochs - min(self.mix_off, epochs // 2):
            return self
        return self.model_copy(update={"mosaic": 0.0, "copy_paste": 0.0, "cutmix": 0.0, "mixup": 0.0})


class TrainConfig(BaseModel):
    """Everything a training depends on besides the data's bytes: the same config and seed give the same weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    task: str
    data: str = Field("", description="folder of the data set")
    data_format: str | None = Field(None, description="on-disk format, where it should not be recognised")
    model: str
    weights: str = Field("none", description="checkpoint to start from, or none")
    norm: Literal["batch", "group"] = Field(
        "batch",
        description="what normalises in a network: batch, as published; group, each image by itself, from scratch only",
    )
    freeze: Literal["none", "backbone"] | Annotated[int, Field(gt=0)] = Field(
        "none", description="what is held still: none, backbone, or a number of the backbone's first parts"
    )
    freeze_epochs: int = Field(0, ge=0, description="epochs at the start in which the backbone is held still")
    fine_tune_rate: float = Field(0.1, gt=0, description="factor on lr for the epochs after freeze_epochs")
    probe: bool = Field(False, description="fit the last layer alone, by logistic regression on a still network")

    image_size: int = Field(gt=0, description="side of the square canvas in pixels")
    fit: Literal["crop", "letterbox", "stretch"] = Field(
        description="how whole images meet the canvas: crop, letterbox or stretch"
    )
    bands: tuple[Annotated[int, Field(gt=0)], ...] = Field((), description="bands to read, from 1; empty = RGB")
    band_range: Range | None = Field(None, description="values of bands that become black and white")
    augment: Policy = Policy()

    loss: str | None = Field(None, description="losses joined by +; None = the model's own")
    label_smoothing: float = Field(0.0, ge=0, lt=1, description="share of the truth that is spread over all classes")
    class_weights: Literal["none", "auto"] = Field("none", description="auto: rare classes count more in the loss")

    max_images: int | None = Field(None, gt=0, description="train on so many images only, drawn by keyed luck")
    sampling: Literal["shuffle", "balanced"] = Field(
        "shuffle", description="shuffle: each image once an epoch; balanced: those of rare classes more often"
    )
    shuffle_buffer: int | None = Field(
        None,
        ge=0,
        description="samples of shards that are shuffled at once, read nearly in their order; 0 = all; None = all of "
        "shards here, 256 MB of those behind URLs",
    )
    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0)
    accumulate: int = Field(1, gt=0, description="batches whose gradients are added up before a step")
    norm_off: int = Field(
        0,
        ge=0,
        description="epochs at the end that normalise by the statistics gathered until then, as evaluation does: for "
        "batches too small or too mixed to speak for all images",
    )
    optimiser: Literal["sgd", "adam", "adamw"] = "adamw"
    schedule: Literal["cosine", "one_cycle", "constant"] = "cosine"
    lr: float = Field(gt=0)
    momentum: float = Field(0.9, ge=0, lt=1, description="of SGD; first beta of Adam and AdamW; one_cycle has its own")
    weight_decay: float = Field(0.01, ge=0)
    warmup_epochs: float = Field(1.0, ge=0)
    patience: int = Field(0, ge=0, description="validations without a better score that end the training; 0 = never")
    clip: float = Field(10.0, gt=0, description="largest norm of the whole gradient")
    ema: float = Field(0.0, ge=0, lt=1, description="decay of the weights' running mean that is evaluated; 0 = off")

    processes: int = Field(1, gt=0, description="processes that share each batch, one a device")
    device: str = Field("auto", description="auto, cpu, cuda or cuda:N")
    precision: Literal["auto", "fp32", "bf16"] = "auto"
    seed: int = Field(0, ge=0, lt=2**63)
    save_steps: int = Field(200, gt=0, description="a resumable state is saved after so many steps, and every epoch")
    decode: Literal["auto", "cpu", "cuda"] = Field(
        "auto", description="what decodes JPEG files for a CUDA device; auto: the faster one, as measured"
    )
    cache: Literal["auto", "none", "ram", "disk", "device"] = Field(
        "auto", description="where decoded images are kept from epoch to epoch; auto: where all of them fit"
    )
    cache_budget: ByteSize | None = Field(
        None, description="most bytes of them, as 4GB; None = half of the free memory, a quarter of the disk"
    )
    validate_every: int = Field(1, gt=0, description="epochs between validations; the last one is always validated")

    @field_validator("bands", "band_range", mode="before")
    @classmethod
    def _listed(cls, value: Any) -> Any:
        """`4,3,2`, as it is written on the command line."""
        return tuple(value.split(",")) if isinstance(value, str) else value

    @field_validator("freeze", mode="before")
    @classmethod
    def _still(cls, value: Any) -> Any:
        if value not in ("none", "backbone") and not (str(value).isdigit() and int(value) > 0):
            raise ValueError("must be none, backbone, or a number of parts from 1")
        return value

    @model_validator(mode="after")
    def _phases(self) -> Self:
        if self.freeze_epochs and (self.freeze == "backbone" or self.freeze_epochs >= self.epochs):
            raise ValueError("with freeze_epochs everything learns later: it must be less than epochs, and freeze none")
        chosen = self.loss or self.label_smoothing or self.class_weights != "none" or self.sampling != "shuffle"
        if self.probe and (chosen or self.freeze_epochs):
            raise ValueError("a probe has no loss of its own choice and no epochs; leave out loss, label_smoothing, "
                             "class_weights, sampling and freeze_epochs")  # fmt: skip
        return self

    @model_validator(mode="after")
    def _range_of_bands(self) -> Self:
        ends = self.band_range
        if ends is not None and not self.bands:
            raise ValueError("band_range is of bands; say which, as --bands 1")
        if ends is not None and not (isfinite(ends[0]) and isfinite(ends[1]) and ends[0] < ends[1]):
            raise ValueError("band_range must be two rising numbers, black and white")
        return self

    @property
    def input(self) -> InputSpec:
        bands = Bands(self.bands, self.band_range) if self.bands else None
        return InputSpec((self.image_size, self.image_size), self.fit, bands)

    def changed(self, **values: Any) -> TrainConfig:
        """A validated copy; a wrong name or value is the user's error."""
        merged = self.model_dump()
        for name, value in values.items():
            group, dot, part = name.partition(".")  # augment.mosaic is a part of augment
            place, key = (merged.get(group), EARLIER.get(part, part)) if dot else (merged, name)
            if not isinstance(place, dict) or key not in place:
                raise unknown_name("setting", name, [*merged, *(f"augment.{part}" for part in merged["augment"])])
            # A copy: parts that follow are set in it, and it may be the recipe of a model.
            place[key] = deepcopy(value)
        try:
            return type(self).model_validate(merged)
        except ValidationError as error:
            raise _as_user_error(error) from error


def write_config(config: TrainConfig, path: Path) -> None:
    """Store every setting as TOML; settings that are None are named in comments, as TOML has no null."""
    unset = [name for name, value in config if value is None]
    notes = [f"# {name} is not set: {type(config).model_fields[name].description}\n" for name in unset]
    write_text(path, "".join(notes) + tomli_w.dumps(config.model_dump(exclude_none=True)))


def read_config(path: Path) -> dict[str, Any]:
    """The settings in a TOML file; to be applied with `TrainConfig.changed`. Raises UserError."""
    path = path / "config.toml" if path.is_dir() else path  # of a run
    try:
        return tomllib.loads(read_text(path))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise UserError(f"cannot read the configuration {path}: {error}") from error


def parse_setting(text: str) -> tuple[str, Any]:
    """`key=value` of `--set`, the value in TOML's notation or a bare word: ("lr", 0.01). Raises UserError."""
    name, equals, value = text.partition("=")
    if not equals:
        raise UserError(f"--set takes key=value, not '{text}'")
    try:
        return name.strip(), tomllib.loads(f"value = {value}")["value"]
    except tomllib.TOMLDecodeError:
        return name.strip(), value.strip()


def _as_user_error(error: ValidationError) -> UserError:
    first = error.errors()[0]
    where = ".".join(str(part) for part in first["loc"])
    if not where:  # of several settings together
        return UserError(f"settings: {_said(first)}")
    return UserError(f"setting '{where}': {_said(first)}, not {first['input']!r}")


def _said(error: Any) -> str:
    return str(error["msg"]).removeprefix("Value error, ").lower()
