"""Slices: what is planted is found, what is not is not, and a predicate selects the rows that are counted."""

import numpy as np
import pyarrow as pa
import pytest

from repair_pipeline.reporting.slices import LEVEL, slices
from repair_pipeline.storage.asking import ask_rows


def table(seed, rows=600):
    draw = np.random.default_rng(seed)
    return pa.table(
        {
            "label": draw.choice(["cat", "dog"], rows),
            "Scanner's": draw.choice(["A", "B'", "C"], rows),
            "age": draw.integers(18, 90, rows),
            "dose": draw.normal(size=rows),
            "night": draw.random(rows) < 0.5,
            "comment": [f"text {at}" for at in range(rows)],
            "ward": pa.array(np.where(draw.random(rows) < 0.3, None, "east"), pa.string()),
        }
    )


def marked(values, inside, seed, often=0.6, seldom=0.05):
    draw = np.random.default_rng(seed + 100).random(len(values))
    return draw < np.where(inside, often, seldom)


def counted(values, found, mask):
    """The marked and all rows for which DuckDB says that the predicate holds."""
    held = np.array(ask_rows(values, found.predicate, "predicate"))
    return int(mask[held].sum()), int(held.sum())


@pytest.mark.parametrize("seed", range(5))
def test_a_planted_slice_is_found_and_its_predicate_selects_what_is_counted(seed):
    values = table(seed)
    inside = (np.array(values["Scanner's"]) == "B'") & (np.array(values["age"]) > 50)
    mask = marked(values, inside, seed)
    [first, *_] = slices(values, mask)
    assert "\"Scanner's\" = 'B'''" in first.predicate
    assert '"age" > ' in first.predicate
    assert (first.marked, first.rows) == counted(values, first, mask)
    assert first.marked >= 0.7 * mask[inside].sum()
    assert first.p < 1e-4


def test_slices_do_not_overlap():
    values = table(9)
    ages = np.array(values["age"])
    mask = marked(values, (ages > 75) | (np.array(values["night"]) & (ages < 35)), 9, often=0.8)
    found = slices(values, mask)
    held = [np.array(ask_rows(values, each.predicate, "predicate")) for each in found]
    assert len(found) == 2
    assert all(not (one & other).any() for at, one in enumerate(held) for other in held[:at])


def test_nothing_is_found_more_often_than_the_level_says():
    values = table(3)
    false = sum(bool(slices(table(seed), marked(values, np.zeros(600, bool), seed, seldom=0.2))) for seed in range(200))
    # At the level of 0.05, 20 or more of 200 have a probability of 0.003.
    assert false < 200 * LEVEL * 2


def test_few_marked_rows_and_columns_without_values_in_common_give_none():
    values = table(1)
    few = np.zeros(600, dtype=bool)
    few[:19] = True
    assert slices(values, few) == []
    assert slices(values.select(["comment"]), marked(values, np.zeros(600, bool), 1, seldom=0.3)) == []
    assert slices(values, np.ones(600, dtype=bool)) == []
