"""The frames of a video, from first to last, in its own size and turned as it says."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path

import cv2
import numpy as np

from vision_tasks.data.unreadable import DecodeError
from vision_tasks.engine.sources.item import Item
from vision_tasks.engine.store import Version
from vision_tasks.types import Failure
from vision_tasks.warp import Pixels

_SUFFIXES = (".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".wmv", ".flv", ".ogv", ".3gp")


def is_video(name: str) -> bool:
    return name.lower().endswith(_SUFFIXES)


def video_items(path: Path, name: str) -> Iterator[Item | Failure]:
    """`NAME/frame_000000` and so on, each to be fetched before the next; frames that nobody fetches are cheap."""
    try:
        status = path.stat()
        capture = cv2.VideoCapture(str(path))
    except OSError as error:
        yield Failure(name, path, error.strerror or str(error))
        return
    except UnicodeError:
        yield Failure(name, path, "a video's name must be text for its decoder; rename it")
        return
    number = 0
    try:
        while capture.grab():
            frame = f"frame_{number:06}"
            version = Version.of(status)
            pixels = partial(_retrieved, capture)
            yield Item(f"{name}/{frame}", path / frame, version, pixels=pixels, passing=True)
            number += 1
    finally:
        capture.release()
    if not number:
        yield Failure(name, path, "no frame can be read: not a video, or of a kind that OpenCV can't decode")


def _retrieved(capture: cv2.VideoCapture) -> Pixels:
    """uint8 [h,w,3] RGB of the frame that was grabbed last."""
    there, frame = capture.retrieve()
    if not there:
        raise DecodeError("a damaged frame")
    return np.asarray(cv2.cvtColor(frame, cv2.COLOR_BGR2RGB), np.uint8)
