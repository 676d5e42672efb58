"""Named strengths of augmentation, each around a recipe's own policy.

- none: the picture as it is.
- light: the recipe's flips and nothing else.
- default: what the recipe says.
- strong: more of what the recipe says, see `_stronger`.
- albumentations:FILE: the pipeline in the file, and nothing else.
"""

from __future__ import annotations

from pathlib import Path

from vision_tasks.augment.albumentations_bridge import read_pipeline
from vision_tasks.config import Policy
from vision_tasks.errors import unknown_name

NONE = Policy()
STRENGTHS = ("none", "light", "default", "strong")
_PIPELINE = "albumentations:"


def strength(name: str, default: Policy) -> Policy:
    """A policy by its name on the command line, around a recipe's own default. Raises UserError."""
    if name.startswith(_PIPELINE):
        return Policy(albumentations=read_pipeline(Path(name.removeprefix(_PIPELINE))))
    if name not in STRENGTHS:
        raise unknown_name("augmentation", name, (*STRENGTHS, f"{_PIPELINE}FILE"))
    light = Policy(flip_x=default.flip_x, flip_y=default.flip_y)
    return {"none": NONE, "light": light, "default": default, "strong": _stronger(default)}[name]


def _stronger(policy: Policy) -> Policy:
    """More of everything that the recipe does; flips and mosaics stay what it says of them.

    What a recipe leaves alone may carry meaning (a digit's slant, the colour of a stain) or spoil the truth (a turned
    box is no longer tight), so it stays alone, but for three: a policy that changes saturation gets grey pictures,
    since colour says little to it; one that crops gets erased rectangles, since its truth holds for parts of a picture;
    and one that makes mosaics gets some of them blended, as larger models of the YOLO family do. Pasted objects stay
    out: the edge around one tells where it is.
    """
    low, high = policy.zoom
    return policy.model_copy(
        update={
            "crop_area": policy.crop_area and (policy.crop_area[0] / 2, policy.crop_area[1]),
            "rotate": _more(policy.rotate, 10.0, 180.0),
            "shear": _more(policy.shear, 5.0, 45.0),
            "zoom": policy.zoom if low == high == 1 else (low * 0.8, high * 1.2),
            "shift": _more(policy.shift, 0.05, 1.0),
            "brightness": _more(policy.brightness, 0.2, 1.0),
            "contrast": _more(policy.contrast, 0.2, 1.0),
            "saturation": _more(policy.saturation, 0.2, 1.0),
            "hue": _more(policy.hue, 0.02, 0.5),
            "grey": max(policy.grey, 0.1) if policy.saturation else policy.grey,
            "erase": max(policy.erase, 0.25) if policy.crop_area else policy.erase,
            "copy_paste": _more(policy.copy_paste, 0.1, 1.0),
            "cutmix": _more(policy.cutmix, 0.1, 1.0),
            "mixup": max(policy.mixup, 0.1) if policy.mosaic else _more(policy.mixup, 0.1, 1.0),
        }
    )


def _more(value: float, step: float, most: float) -> float:
    """A step more of what is done at all; what is beyond `most` already stays."""
    return max(value, min(most, value + step)) if value else 0.0
