"""Truth of pictures that are told apart by their number: one of three classes, one or two boxes, a patch of a class."""

import torch

from vision_tasks.types import Boxes, Labels, Masks


def label_truth(index, size):
    return Labels.one_hot(index % 3, 3)


def box_truth(index, size):
    height, width = size
    corners = torch.tensor([[0.1, 0.2, 0.6, 0.9], [0.5, 0.1, 0.9, 0.5]])[: 1 + index % 2]
    return Boxes.single(corners * torch.tensor([width, height, width, height]), torch.arange(len(corners)))


def mask_truth(index, size):
    rows = torch.zeros(1, *size, dtype=torch.uint8)
    rows[:, size[0] // 4 : size[0] // 2, : size[1] // 2] = 1 + index % 2
    return Masks(rows, 3)
