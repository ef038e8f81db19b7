"""A few thousand CIFAR-10 images, some of whose animals carry each other's labels: train.parquet and test.parquet."""

import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

source = Path(sys.argv[1])  # the folder that holds CIFAR-10's two Parquet files
rng = np.random.default_rng(1)
names = ["plane", "car", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]
mistaken = {"horse": "frog", "bird": "dog"}  # six of ten horses are called frogs, and so on

for part, rows in (("train", 6000), ("test", 6000)):
    table = pq.read_table(next(source.glob(f"{part}-*.parquet")), columns=["img", "label"])
    table = table.take(np.sort(rng.choice(len(table), rows, replace=False)))
    labels = [names[label] for label in table["label"].to_pylist()]
    if part == "train":
        labels = [mistaken[label] if label in mistaken and rng.random() < 0.6 else label for label in labels]
    camera = rng.choice(["north", "south"], rows)
    pq.write_table(pa.table({"image": table["img"], "label": labels, "camera": camera}), f"{part}.parquet")
