"""Whether JPEG files are decoded by the CPU or by the CUDA device: as asked for, or by a measurement of both."""

from __future__ import annotations

from typing import Literal, get_args

import torch

from vision_tasks.errors import UserError, unknown_name

Decoder = Literal["auto", "cpu", "cuda"]
Place = Literal["cpu", "cuda"]

_MEASURED = 3  # batches by each; the first also loads libraries, and does not count


class DecodeChoice:
    """Says for each batch where it is decoded; until `auto` has come to a decision, in turn here and there.

    Batches are given out by one thread and measured by another.
    """

    def __init__(self, wanted: Decoder) -> None:
        self.chosen: Place | None = None if wanted == "auto" else wanted
        self._given = self._idle = 0
        self._spent: dict[Place, list[tuple[int, float]]] = {"cpu": [], "cuda": []}
        self._remark = ""

    def settle(self, place: Place, remark: str) -> None:
        """It is `place` from now on, and `remark` says why."""
        self.chosen, self._remark = place, remark

    def of_next_batch(self) -> Place:
        self._given += 1
        return self.chosen or ("cpu" if self._given % 2 else "cuda")

    def measured(self, place: Place, images: int, seconds: float) -> None:
        """`images` of a batch would have kept all of the machine's decoders at `place` busy for so many seconds."""
        if self.chosen:
            return
        if not images:
            self._idle += place == "cuda"
            if self._idle >= _MEASURED <= len(self._spent["cpu"]) and not self._spent["cuda"]:
                self.settle("cpu", "")  # these are no files that the device could decode
            return
        self._spent[place].append((images, seconds))
        if all(len(spent) >= _MEASURED for spent in self._spent.values()):
            cpu, cuda = (self._rate(place) for place in ("cpu", "cuda"))
            said = f"{max(cpu, cuda):,.0f} images/s, {min(cpu, cuda):,.0f}"
            if cuda > cpu:
                self.settle("cuda", f"decoding JPEG on the CUDA device: {said} on the CPU; --decode chooses")
            else:
                self.settle("cpu", f"decoding JPEG on the CPU: {said} on the CUDA device; --decode chooses")

    def remark(self) -> str:
        """What users should know since they were told last; nothing most of the time."""
        told, self._remark = self._remark, ""
        return told

    def _rate(self, place: Literal["cpu", "cuda"]) -> float:
        spent = self._spent[place][1:]
        return sum(images for images, _ in spent) / max(1e-9, sum(seconds for _, seconds in spent))


def require_decoder(wanted: str, device: torch.device) -> Decoder:
    """The decoder that is asked for by name. Raises UserError where it is none, or not there."""
    for name in get_args(Decoder):
        if name == wanted:
            if name == "cuda" and device.type != "cuda":
                raise UserError("--decode cuda needs a CUDA device, and this runs on the CPU; use --decode auto or cpu")
            decoder: Decoder = name
            return decoder
    raise unknown_name("decoder", wanted, get_args(Decoder))
