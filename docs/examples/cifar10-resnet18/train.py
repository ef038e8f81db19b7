"""The owner's training of her network on train.parquet: model.safetensors. About half an hour of one core."""

import io
import sys

import pandas as pd
import torch
from my_code import net, prepare
from PIL import Image
from safetensors.torch import save_file
from torch.nn.functional import cross_entropy
from torch.utils.data import DataLoader
from torchvision.transforms import v2

EPOCHS = 16
augment = v2.Compose([v2.RandomCrop(32, padding=4), v2.RandomHorizontalFlip(), prepare])
rows = pd.read_parquet("train.parquet")
names = sorted(set(rows["label"]))  # the order of the model's outputs
images = [Image.open(io.BytesIO(image["bytes"])) for image in rows["image"]]
examples = list(zip(images, [names.index(name) for name in rows["label"]], strict=True))


def batch(chosen: list) -> tuple[torch.Tensor, torch.Tensor]:
    """n × 3 × 32 × 32 and n."""
    return torch.stack([augment(image) for image, _ in chosen]), torch.tensor([label for _, label in chosen])


torch.manual_seed(0)
batches = DataLoader(examples, batch_size=64, shuffle=True, drop_last=True, collate_fn=batch)
model = net().to(memory_format=torch.channels_last)
optimiser = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9, weight_decay=5e-4, nesterov=True)
schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, max_lr=0.05, total_steps=EPOCHS * len(batches))
for epoch in range(EPOCHS):
    losses = []
    for x, y in batches:
        optimiser.zero_grad()
        loss = cross_entropy(model(x.contiguous(memory_format=torch.channels_last)), y)
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    print(f"epoch {epoch + 1} of {EPOCHS}: loss {sum(losses) / len(losses):.3f}", file=sys.stderr, flush=True)
save_file({name: value.contiguous() for name, value in model.state_dict().items()}, "model.safetensors")
