"""scikit-learn's digits as they are, and an own model that is well fitted to them."""

import numpy as np
import torch
from my_model import net
from safetensors.torch import save_file
from sklearn.datasets import load_digits

rows = load_digits(as_frame=True).frame.sample(frac=1, random_state=0).rename(columns={"target": "label"})
rows.insert(0, "digit", [f"d{number:04d}" for number in range(len(rows))])
pixels = [name for name in rows if name.startswith("pixel")]
rows[pixels] /= 16
train, test = rows[:600], rows[600:]
train.to_parquet("train.parquet", index=False)
test.to_parquet("test.parquet", index=False)

torch.manual_seed(0)
model, x, y = net(), torch.tensor(train[pixels].to_numpy()).float(), torch.tensor(train["label"].to_numpy())
optimiser = torch.optim.Adam(model.parameters())
for _ in range(30):
    for batch in torch.randperm(len(x)).split(64):
        optimiser.zero_grad()
        torch.nn.functional.cross_entropy(model(x[batch]), y[batch]).backward()
        optimiser.step()
model.eval()
save_file(model.state_dict(), "model.safetensors")

with torch.no_grad():
    said = model(torch.tensor(test[pixels].to_numpy()).float()).argmax(dim=1).numpy()
print(f"wrong on {np.sum(said != test['label'])} of {len(test)} test rows")
