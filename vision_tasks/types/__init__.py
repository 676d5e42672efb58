"""The values that every part of the house exchanges: samples, plans, images, targets, batches.

Conventions, fixed here and nowhere else:
- sizes are `(height, width)`; points and boxes are `(x, y)`, in pixel-edge coordinates (x in [0, width]);
- a matrix is 3x3 and maps points of the older space to points of the newer one;
- a target is a batch: its first dimension is B, also where B = 1.
"""

from vision_tasks.types.boxes import MIN_VISIBLE, Boxes
from vision_tasks.types.images import Bands, ImageInfo, InputSpec, RaggedImages
from vision_tasks.types.labels import Labels
from vision_tasks.types.masks import IGNORE, Masks
from vision_tasks.types.plan import Canvas, Change, Choice, Edit, Overlay, Patch, Patches, Placement, Plan
from vision_tasks.types.sample import Batch, Extent, Failure, Sample
from vision_tasks.types.targets import Annotations, Matrix, Region, Size, T, T_co, Targets

__all__ = [
    "Annotations",
    "Bands",
    "Batch",
    "Boxes",
    "Canvas",
    "Change",
    "Choice",
    "Edit",
    "Extent",
    "Failure",
    "IGNORE",
    "ImageInfo",
    "InputSpec",
    "Labels",
    "MIN_VISIBLE",
    "Masks",
    "Matrix",
    "Overlay",
    "Patch",
    "Patches",
    "Placement",
    "Plan",
    "RaggedImages",
    "Region",
    "Sample",
    "Size",
    "T",
    "T_co",
    "Targets",
]
