"""Named strengths of augmentation, each around a recipe's own policy.

- none: the picture as it is.
- light: the recipe's flips and nothing else.
- default: what the recipe says.
- strong: more of everything, see `_stronger`.
"""

from __future__ import annotations

from vision_tasks.config import Policy
from vision_tasks.errors import unknown_name

NONE = Policy()
STRENGTHS = ("none", "light", "default", "strong")


def strength(name: str, default: Policy) -> Policy:
    """A policy by its name on the command line, around a recipe's own default. Raises UserError."""
    if name not in STRENGTHS:
        raise unknown_name("augmentation", name, STRENGTHS)
    light = Policy(flip_x=default.flip_x, flip_y=default.flip_y)
    return {"none": NONE, "light": light, "default": default, "strong": _stronger(default)}[name]


def _stronger(policy: Policy) -> Policy:
    """More of everything that costs no meaning; flips stay what the recipe says of them.

    What a recipe leaves alone altogether may carry meaning: only a policy that changes saturation gets grey pictures,
    and only one that crops, whose truth thus holds for a part of the picture, gets erased rectangles.
    """
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
            "grey": max(policy.grey, 0.1) if policy.saturation else policy.grey,
            "erase": max(policy.erase, 0.25) if policy.crop_area else policy.erase,
        }
    )
