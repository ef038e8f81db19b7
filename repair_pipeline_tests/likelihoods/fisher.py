"""The Fisher of a likelihood, held against one that a test has summed by itself."""

import torch
from torch import Tensor

from repair_pipeline.continual.curvature import ggn
from repair_pipeline.continual.fisher import fisher_diagonal, labels_of
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.types import Examples


def assert_fisher_is(full: Tensor, classifier: Classifier, data: Examples) -> Tensor:
    """Compare the expected Fisher's diagonal and the GGN with a whole matrix (p, p); returns the diagonal (p,)."""
    theta, labels = classifier.theta_hat, labels_of("expected", classifier, torch.Generator())
    diagonal = fisher_diagonal(classifier, theta, data, labels=labels)
    torch.testing.assert_close(diagonal, full.diagonal(), rtol=1e-9, atol=1e-12)
    curvature = ggn(classifier, theta, data)
    products = torch.stack([curvature.product(unit) for unit in torch.eye(len(theta), dtype=torch.float64)])
    torch.testing.assert_close(products, full, rtol=1e-9, atol=1e-12)
    return diagonal
