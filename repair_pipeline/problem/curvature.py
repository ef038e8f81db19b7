"""The curvature F̂ of a repair task, shared by EWC-influence, linear influence and Newton update removal."""

from dataclasses import replace
from typing import Literal

import torch

from repair_pipeline.continual.curvature import Quadratic, empirical_fisher, ggn
from repair_pipeline.continual.fisher import FisherKind, fisher_diagonal, labels_of
from repair_pipeline.continual.kfac import kfac
from repair_pipeline.continual.posterior import Diagonal
from repair_pipeline.problem.task import RepairTask

CurvatureName = Literal["diagonal", "kfac", "ekfac", "exact"]
"""What is kept of F̂: its diagonal; Kronecker factors of each layer's block, for ``ekfac`` with the curvature measured
along their eigenvectors; or all of it, as products with vectors."""


def curvature_of(task: RepairTask, name: CurvatureName, fisher: FisherKind) -> Quadratic:
    """F̂ over D at θ̂: the same object for every method.

    Args:
        task: gives the model, D and the random stream for labels.
        name: what is kept of it.
        fisher: the labels. ``expected`` with ``exact`` is the generalised Gauss-Newton matrix.
    """
    classifier, theta, fit = task.classifier, task.theta_hat, task.fit
    labels = labels_of(fisher, classifier, task.generator)
    match name:
        case "diagonal":
            if fisher == "empirical":
                return Diagonal(task.fisher)
            return Diagonal(fisher_diagonal(classifier, theta, fit, progress=task.progress, labels=labels))
        case "kfac" | "ekfac":
            corrected = name == "ekfac"
            return kfac(classifier, theta, fit, progress=task.progress, labels=labels, corrected=corrected)
        case "exact":
            if fisher == "expected":
                return ggn(classifier, theta, fit)
            if fisher == "monte_carlo":
                drawn = [labelled.labels for batch in fit.batches(500) for labelled, _ in labels(theta, batch)]
                fit = replace(fit, labels=torch.cat(drawn))
            return empirical_fisher(classifier, theta, fit)
