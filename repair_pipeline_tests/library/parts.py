"""Rows as the library takes them."""

import repair_pipeline as rp


def pair(rows):
    return rows.inputs, rows.labels


def problem_of(model, given, **settings):
    rows = {part: given[part] for part in ("failures", "guard", "validation") if part in given}
    return rp.RepairProblem(model, given["train"], **{**rows, **settings})


def judged(problem, holdout, remaining, **settings):
    return rp.judge(problem, problem.base, holdout, remaining, **settings)
