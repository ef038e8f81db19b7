"""The owner's preprocessing."""

import torch
from torchvision.transforms import v2

prepare = v2.Compose(
    [
        v2.ToImage(),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize(mean=[0.49, 0.48, 0.45], std=[0.25, 0.24, 0.26]),
    ]
)
