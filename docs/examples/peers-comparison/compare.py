"""Runs the job with every library, and prints a table of lines, seconds and precision."""

import ast
import sys
import warnings
from collections.abc import Sequence
from importlib import import_module
from pathlib import Path
from time import process_time

import pandas as pd
import torch
from job import job

LIBRARIES = ("repair_pipeline", "kronfluence", "dattri", "posteriors", "the_loss")
SEEDS = range(5)


def lines(library: str) -> int:
    """Lines of the script that are neither blank, comment nor docstring."""
    text = Path(f"with_{library}.py").read_text()
    said = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Module | ast.FunctionDef | ast.ClassDef) and ast.get_docstring(node):
            said |= set(range(node.body[0].lineno, node.body[0].end_lineno + 1))
    every = enumerate(text.splitlines(), start=1)
    return sum(at not in said and bool(line.strip()) and not line.strip().startswith("#") for at, line in every)


def main(data: str, libraries: Sequence[str]) -> None:
    """Run the libraries on five seeds, and print what came of it."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    rows = []
    for library in libraries:  # what is imported and compiled once is not timed
        import_module(f"with_{library}").harmful(job(data, 99), True)
    for seed in SEEDS:
        for guarded in (False, True):
            for library in libraries:
                given = job(data, seed)
                started = process_time()
                table = import_module(f"with_{library}").harmful(given, guarded)
                seconds = process_time() - started
                first = table["position"].to_numpy()[: int(given.planted.sum())]
                precision = given.planted[torch.tensor(first)].float().mean().item()
                rows.append((seed, guarded, library, seconds, precision, len(given.failures[1]), len(given.guard[1])))
    columns = ["seed", "guarded", "library", "seconds", "precision", "failures", "guard"]
    found = pd.DataFrame(rows, columns=columns)
    ours = found[found.library == "repair_pipeline"].set_index(["seed", "guarded"])["seconds"]
    found["ratio"] = found.seconds.to_numpy() / ours.loc[list(zip(found.seed, found.guarded, strict=True))].to_numpy()
    some = [f"{found[part].min()} to {found[part].max()} {part}" for part in ("failures", "guard")]
    print(f"{data}: {some[0]}, {some[1]} rows")
    grouped = found.groupby(["guarded", "library"])
    table = grouped.agg(
        precision=("precision", "mean"),
        lowest=("precision", "min"),
        highest=("precision", "max"),
        seconds=("seconds", "median"),
        ratio=("ratio", "median"),
    )
    table["lines"] = [lines(library) for _, library in table.index]
    print(table.round(3).to_string())


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2:] or LIBRARIES)
