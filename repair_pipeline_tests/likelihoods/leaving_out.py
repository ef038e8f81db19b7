"""First-order influence, held against leaving each row out of a model that is linear in its parameters."""

import torch
from scipy.stats import spearmanr
from torch import Tensor

from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.types import Examples


def _fitted(classifier: Classifier, data: Examples, penalty: float = 1.0) -> tuple[Tensor, Tensor]:
    """The maximum of the penalised log-likelihood, by Newton's method, and its Hessian."""
    theta = torch.zeros_like(classifier.theta_hat)

    def objective(at: Tensor) -> Tensor:
        return classifier(at, data).sum() - 0.5 * penalty * at.square().sum()

    for _ in range(12):
        hessian = torch.autograd.functional.hessian(objective, theta)
        theta = theta - torch.linalg.solve(hessian, torch.autograd.functional.jacobian(objective, theta))
    return theta, hessian


def assert_influence_is_that_of_leaving_rows_out(classifier: Classifier, data: Examples, failures: Examples) -> None:
    """Compare gradients times the inverse Hessian with the change of log p(failures) by fits without each row."""
    theta, hessian = _fitted(classifier, data)
    of_failures = classifier.gradients(theta, failures).sum(dim=0)
    predicted = classifier.gradients(theta, data) @ torch.linalg.solve(hessian, of_failures)
    left = []
    for row in range(len(data)):
        without, _ = _fitted(classifier, data[torch.arange(len(data)) != row])
        left.append((classifier(without, failures).sum() - classifier(theta, failures).sum()).item())
    assert spearmanr(predicted, left).statistic > 0.98
    assert (predicted - torch.tensor(left)).abs().max() < 0.2 * torch.tensor(left).abs().max()
