"""Named strengths of augmentation: none, light (flips only), default, strong; each around a recipe's own policy."""

from __future__ import annotations

from vision_tasks.config import Policy
from vision_tasks.errors import unknown_name

NONE = Policy()
STRENGTHS = ("none", "light", "default", "strong")


def strength(name: str, default: Policy) -> Policy:
    """A policy by its name on the command line, around a recipe's own default."""
    if name not in STRENGTHS:
        raise unknown_name("augmentation", name, STRENGTHS)
    light = default.model_copy(
        update={"crop_area": None, "rotate": 0.0, "shear": 0.0, "zoom": (1.0, 1.0), "shift": 0.0, "mosaic": 0.0}
        | {"brightness": 0.0, "contrast": 0.0, "saturation": 0.0, "hue": 0.0}
    )
    return {"none": NONE, "light": light, "default": default, "strong": _stronger(default)}[name]


def _stronger(policy: Policy) -> Policy:
    """More of everything that costs no meaning; flips stay what the recipe says of them."""
    low, high = policy.zoom
    area = policy.crop_area and (policy.crop_area[0] / 2, policy.crop_area[1])
    return policy.model_copy(
        update={
            "crop_area": area,
            "rotate": min(180.0, policy.rotate + 10.0),
            "shear": min(45.0, policy.shear + 5.0),
            "zoom": (low * 0.8, high * 1.2),
            "shift": min(1.0, policy.shift + 0.05),
            "brightness": min(1.0, policy.brightness + 0.2),
            "contrast": min(1.0, policy.contrast + 0.2),
            "saturation": min(1.0, policy.saturation + 0.2),
            "hue": min(0.5, policy.hue + 0.02),
        }
    )
