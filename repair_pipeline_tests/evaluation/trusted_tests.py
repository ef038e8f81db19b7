"""How many planted near duplicates and flipped test labels are found.

python -m repair_pipeline_tests.evaluation.trusted_tests reads CIFAR-10 from REPAIR_DATA_DIR; it takes some minutes.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float
from PIL import Image
from sklearn.datasets import load_breast_cancer, load_wine
from sklearn.linear_model import LogisticRegression
from sklearn.neural_network import MLPClassifier
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch import Tensor

from repair_pipeline.datasets.cifar10 import cifar10
from repair_pipeline.datasets.digits import digits
from repair_pipeline.evaluation.doubtful_labels import SURE, doubtful_labels
from repair_pipeline.evaluation.near_duplicates import near_duplicates
from repair_pipeline.storage.layout import data_dir
from repair_pipeline.types import Examples

PLANTED = 0.1
"""Share of the test rows that repeat a training row."""
Change = Callable[[Tensor, torch.Generator], Tensor]


def _jpeg(images: Float[Tensor, "n c h w"], generator: torch.Generator) -> Float[Tensor, "n c h w"]:
    low, high = images.amin(), images.amax()

    def encoded(image: Tensor) -> Tensor:
        pixels, file = (255 * (image - low) / (high - low)).byte().permute(1, 2, 0).numpy(), io.BytesIO()
        Image.fromarray(pixels.squeeze()).save(file, format="JPEG", quality=50)
        again = np.asarray(Image.open(file)).reshape(pixels.shape)
        return torch.from_numpy(again.copy()).permute(2, 0, 1) / 255 * (high - low) + low

    return torch.stack([encoded(image) for image in images])


def _noise(share: float) -> Change:
    def add(rows: Tensor, generator: torch.Generator) -> Tensor:
        return rows + share * rows.std(dim=0) * torch.randn(rows.shape, generator=generator)

    return add


def _rounded(rows: Tensor, generator: torch.Generator) -> Tensor:
    """To a twentieth of each feature's standard deviation."""
    step = (rows.std(dim=0) / 20).clamp_min(1e-12)
    return (rows / step).round() * step


IMAGES: Mapping[str, Change] = {
    "shifted by one pixel": lambda images, generator: torch.roll(images, 1, dims=-1),
    "JPEG, quality 50": _jpeg,
    "brightness and contrast": lambda images, generator: 0.8 * images + 0.1,
    "noise of 10 %": lambda images, generator: (
        images + 0.1 * images.std() * torch.randn(images.shape, generator=generator)
    ),
}
TABLES: Mapping[str, Change] = {"noise of 2 %": _noise(0.02), "noise of 10 %": _noise(0.1), "rounded": _rounded}


def duplicates(name: str, train: Examples, test: Examples, changes: Mapping[str, Change]) -> None:
    """Print what is found of the test rows that are replaced by changed training rows, and of the others."""
    kept = len(near_duplicates(train, test))
    print(f"| {name} | nothing planted | 0 of 0 | {kept} of {len(test)} |")
    for kind, change in changes.items():
        generator = torch.Generator().manual_seed(0)
        count = round(PLANTED * len(test))
        at, of = (torch.randperm(len(rows), generator=generator)[:count] for rows in (test, train))
        inputs = test.inputs.clone()
        inputs[at] = change(train[of].inputs, generator).to(inputs)
        planted = dict(zip(test.ids[at].tolist(), train.ids[of].tolist(), strict=True))
        found = {
            each.test_id: each.train_id for each in near_duplicates(train, Examples(test.ids, inputs, test.labels))
        }
        right = sum(found.get(test_id) == train_id for test_id, train_id in planted.items())
        print(f"| {name} | {kind} | {right} of {count} | {len(found.keys() - planted.keys())} of {len(test) - count} |")


def labels(name: str, train: Examples, test: Examples) -> None:
    """Print what is found of flipped test labels, by a network and a logistic regression trained on D."""
    x, y = train.inputs.flatten(1).numpy(), train.labels.numpy()
    for noise in (0.0, 0.2):
        rng = np.random.default_rng(0)
        classes = int(y.max()) + 1
        wrong = rng.random(len(y)) < noise
        given = np.where(wrong, (y + 1) % classes, y)
        models = [MLPClassifier(64, alpha=1, max_iter=500, random_state=0), LogisticRegression(C=0.1)]
        fitted = [make_pipeline(StandardScaler(), model).fit(x, given) for model in models]
        predicted = [model.predict_proba(test.inputs.flatten(1).numpy()) for model in fitted]
        panel = [torch.from_numpy(p).double().clamp_min(1e-20).log() for p in predicted]
        right = np.mean([(log_p.argmax(dim=1) == test.labels).double().mean().item() for log_p in panel])
        for rate in (0.0, 0.02, 0.1):
            flipped = rng.permutation(len(test))[: round(rate * len(test))]
            labels = test.labels.clone()
            labels[flipped] = (labels[flipped] + torch.from_numpy(rng.integers(1, classes, len(flipped)))) % classes
            found = (doubtful_labels(panel, labels)[0] >= SURE).numpy()
            of_flipped = int(found[flipped].sum())
            others = f"{found.sum() - of_flipped} of {len(test) - len(flipped)}"
            print(f"| {name} | {noise:.0%} | {right:.3f} | {of_flipped} of {len(flipped)} | {others} |")


def _table(inputs: np.ndarray, targets: np.ndarray) -> tuple[Examples, Examples]:
    order = np.random.default_rng(0).permutation(len(inputs))
    ids = np.array([f"row-{at}" for at in order], dtype=np.str_)
    rows = Examples(ids, torch.from_numpy(inputs[order]), torch.from_numpy(targets[order].astype(np.int64)))
    return rows[: 2 * len(rows) // 3], rows[2 * len(rows) // 3 :]


def main() -> None:
    """Print the tables of docs/results/test-set.md."""
    small = digits(1000, np.random.default_rng(0), Path())
    tables = {
        name: _table(*load(return_X_y=True))
        for name, load in (("breast cancer", load_breast_cancer), ("wine", load_wine))
    }
    print("| data | planted | found | others listed |\n| --- | --- | --- | --- |")
    large = cifar10(20_000, np.random.default_rng(0), data_dir())
    duplicates("CIFAR-10 (JPEG copy)", large.train, large.test[:2000], IMAGES)
    duplicates("digits, 8 × 8 pixels", small.train, small.test, IMAGES)
    for name, (train, test) in tables.items():
        duplicates(name, train, test, TABLES)
    print("\n| data | wrong in D | accuracy | flipped found | others listed |\n| --- | --- | --- | --- | --- |")
    labels("digits", small.train, small.test)
    for name, (train, test) in tables.items():
        labels(name, train, test)


if __name__ == "__main__":
    main()
