"""A network and images so small that a whole pruning takes seconds, as files that the command line can be given."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import safetensors.torch
import torch

NETWORK_FILE = """
import torch
from torch import nn


class Residual(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv1 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(width)
        self.conv2 = nn.Conv2d(width, width, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(width)

    def forward(self, x):
        return torch.relu(x + self.bn2(self.conv2(torch.relu(self.bn1(self.conv1(x))))))


class Small(nn.Module):
    def __init__(self, blocks=5, width=16):
        super().__init__()
        self.stem = nn.Conv2d(3, width, 3, padding=1)
        self.blocks = nn.Sequential(*(Residual(width) for _ in range(blocks)))
        self.head = nn.Linear(width, 3)

    def forward(self, x):
        return self.head(self.blocks(self.stem(x)).mean((2, 3)))


def make():
    return Small()


def plain():
    return nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 3))


make.input_shape = (3, 24, 24)
plain.input_shape = (3, 24, 24)
"""


def write_job(folder: Path, width: int = 16, blocks: int = 5) -> dict[str, str]:
    """Writes network, weights and images.

    Args:
        folder: where.
        width: channels of every layer. Below 16 ONNX Runtime's convolutions are erratic on some processors, so a
            network that is to be quicker for having fewer channels has more than 16 to begin with.
        blocks: how many of two layers each.

    Returns:
        The words that name them: "network", "weights", "images".
    """
    path = folder / "net.py"
    text = NETWORK_FILE.replace("blocks=5, width=16", f"blocks={blocks}, width={width}")
    path.write_text(text)
    scope: dict[str, object] = {}
    exec(text, scope)  # noqa: S102  our own text, above
    torch.manual_seed(0)
    model = scope["make"]()  # type: ignore[operator]
    weights = folder / "weights.safetensors"
    safetensors.torch.save_file(model.state_dict(), weights)
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 3, 120)
    pixels = rng.integers(0, 256, (120, 24, 24, 3)) // 2 + 60 * labels[:, None, None, None]
    images = folder / "images.npz"
    np.savez(images, images=np.clip(pixels, 0, 255).astype(np.uint8), labels=labels.astype(np.int64))
    return {"network": f"{path}:make", "weights": str(weights), "images": f"npz:{images}"}
