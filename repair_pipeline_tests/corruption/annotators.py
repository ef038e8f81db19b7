"""How good the annotators of a preset are, and what they mistake: ``python -m …annotators cifar10-instance-s0``."""

import argparse
from collections import Counter
from dataclasses import replace

import torch
from torch import Tensor

from repair_pipeline.cases.build import build_corruption, load_dataset
from repair_pipeline.cases.presets import preset
from repair_pipeline.compute.streams import numpy_stream
from repair_pipeline.corruption.corrupt import corrupt
from repair_pipeline.corruption.instance_noise import InstanceNoise
from repair_pipeline.corruption.planting import stratified_split
from repair_pipeline.storage.layout import data_dir
from repair_pipeline.types import Examples


def report(name: str) -> None:
    """Print the annotators' accuracy, the numbers of wrong rows, and the most frequent mistakes."""
    spec = preset(name)
    data = load_dataset(spec, data_dir(), numpy_stream(spec.seed, "dataset"))
    noise = build_corruption(spec, len(data.classes), torch.device("cpu"))
    assert isinstance(noise, InstanceNoise)
    known: dict[int, Tensor] = {}
    annotate = noise.annotate

    def once(train: Examples, others: Examples, which: int) -> Tensor:
        return known[which] if which in known else known.setdefault(which, annotate(train, others, which))

    noise, rng = replace(noise, annotate=once), numpy_stream(spec.seed, "corruption")
    stratified_split(data.train.labels, spec.validation_fraction, rng)  # as corrupt does, before it draws the parts
    answers = noise.annotated(data.train.in_memory(), rng).argmax(dim=1)
    print(f"annotators right: {(answers == data.train.labels).double().mean():.3f}")
    rows = corrupt(data, noise, spec.validation_fraction, numpy_stream(spec.seed, "corruption")).fit
    of_class = rows.clean_labels.bincount()
    shares = rows.clean_labels[rows.corrupted].bincount(minlength=len(of_class)) / of_class
    print(
        f"wrong: {len(rows.corrupted_ids)} of {len(rows.examples)} fit rows, {shares.min():.3f} to {shares.max():.3f}"
    )
    pairs = zip(rows.clean_labels[rows.corrupted].tolist(), rows.examples.labels[rows.corrupted].tolist(), strict=True)
    for (clean, given), count in Counter(pairs).most_common(6):
        print(f"{count:5}  {data.classes[clean]} as {data.classes[given]}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("preset")
    report(parser.parse_args().preset)
