"""BANKING77 (Casanueva et al., 2020): questions of bank customers, in 77 intents, as features of sentences."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from repair_pipeline.datasets.ids import digest, numbered
from repair_pipeline.datasets.label_columns import label_column
from repair_pipeline.datasets.table_files import read_table
from repair_pipeline.errors import InputError
from repair_pipeline.types import Dataset, Examples

_FEATURES = 300


def banking77(train_size: int, rng: np.random.Generator, folder: Path) -> Dataset:
    """``train_size`` random training rows; all test rows. The texts are the metadata column ``text``.

    Args:
        train_size: number of training rows, 2 to 10,003.
        rng: draws the training rows.
        folder: holds ``banking77/{train,test}.csv`` with the columns ``text`` and ``category``.

    Raises:
        InputError: ``folder`` has no such files, they lack a column, or ``train_size`` is out of range.
    """
    files = banking77_files(folder)
    if len(files) < 2:
        raise InputError(
            f"BANKING77 is not in {folder}: set REPAIR_DATA_DIR to a folder that has banking77/train.csv and test.csv"
        )
    train, test = (read_table(file) for file in files)
    for file, table in zip(files, (train, test), strict=True):
        if missing := [name for name in ("text", "category") if name not in table.column_names]:
            raise InputError(f"{file} has no column {missing[0]!r}: give the columns text and category")
    if not 2 <= train_size <= len(train):
        raise InputError(f"dataset.train_size is {train_size}: BANKING77 allows 2 to {len(train)} training rows")
    columns = [label_column(file, table, "category", None) for file, table in zip(files, (train, test), strict=True)]
    classes = columns[0].sorted_names
    labels = [column.numbers(classes, where) for column, where in zip(columns, ("training", "test"), strict=True)]
    # The encoder is fitted on all training texts, so inputs do not depend on the seed.
    inputs = encoded(train["text"].to_pylist(), test["text"].to_pylist())
    drawn = np.sort(rng.choice(len(train), train_size, replace=False))
    texts = [*train["text"].take(drawn).to_pylist(), *test["text"].to_pylist()]
    digests = [digest(text.encode()) for text in texts]
    ids, seen = numbered(digests), set(digests[:train_size])
    return Dataset(
        train=Examples(ids[:train_size], inputs[0][drawn], labels[0][drawn]),
        test=Examples(ids[train_size:], inputs[1], labels[1]),
        classes=classes,
        mean=torch.zeros(inputs[0].shape[1]),
        metadata=pa.table({"example_id": ids.tolist(), "text": texts}),
        also_in_training=frozenset(
            name for name, key in zip(ids[train_size:].tolist(), digests[train_size:], strict=True) if key in seen
        ),
    )


def banking77_files(folder: Path) -> list[Path]:
    """The files in ``folder`` that the rows are read from: of training, then of test."""
    return [file for split in ("train", "test") if (file := folder / "banking77" / f"{split}.csv").is_file()]


def encoded(train: list[str], test: list[str]) -> tuple[Float[Tensor, "n d"], Float[Tensor, "m d"]]:
    """Latent semantic analysis of word 1- and 2-grams and character 3- to 5-grams (TF-IDF, truncated SVD).

    Args:
        train: the texts that the encoder is fitted on.
        test: further texts.

    Returns:
        For each text 300 features (fewer for a few texts) whose mean square is 1; zeros for a text of unknown words.
    """
    # Imported here: it takes seconds, and most commands do not need it.
    from sklearn.decomposition import TruncatedSVD
    from sklearn.feature_extraction.text import TfidfVectorizer
    from sklearn.pipeline import make_union
    from sklearn.preprocessing import normalize

    grams = make_union(
        TfidfVectorizer(ngram_range=(1, 2), sublinear_tf=True, min_df=2),
        TfidfVectorizer(analyzer="char_wb", ngram_range=(3, 5), sublinear_tf=True, min_df=2),
    )
    counts = grams.fit_transform(train)
    # A fixed seed: the encoder is the same in every case.
    svd = TruncatedSVD(min(_FEATURES, *counts.shape), n_iter=2, random_state=0).fit(counts)
    both = [normalize(svd.transform(part)) for part in (counts, grams.transform(test))]
    vectors = [torch.from_numpy(part * np.sqrt(part.shape[1])).float() for part in both]
    return vectors[0], vectors[1]
