"""What `predict --source` names, image by image: files, folders, globs, archives, videos, lists of paths."""

from vision_tasks.engine.sources.item import Item as Item
from vision_tasks.engine.sources.walk import Walk as Walk
from vision_tasks.engine.sources.walk import find_images as find_images
