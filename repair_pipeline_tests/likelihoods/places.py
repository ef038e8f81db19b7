"""Laws of the likelihoods of one label at each place of a row, and a model whose log p is concave."""

import torch
from torch import Tensor, nn

from repair_pipeline.continual.fisher import fisher_diagonal, labels_of
from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.likelihoods.protocol import Likelihood
from repair_pipeline.named_tensors import NamedTensors
from repair_pipeline.types import PADDING, Examples
from repair_pipeline_tests.likelihoods.fisher import assert_fisher_is
from repair_pipeline_tests.problems import examples


class Table(nn.Module):
    """The logits at a place depend on its token alone, linearly."""

    def __init__(self, tokens: int, labels: int) -> None:
        super().__init__()
        self.table = nn.Embedding(tokens, labels)

    def forward(self, input_ids: Tensor) -> Tensor:
        return self.table(input_ids)


def of_ids(data: Examples) -> Examples:
    """The rows without their masks."""
    return examples(data.inputs.parts["input_ids"], data.labels)


def longer(data: Examples) -> Examples:
    """The rows with three more places of padding."""
    inputs = {name: nn.functional.pad(part, (0, 3)) for name, part in data.inputs.parts.items()}
    return examples(NamedTensors(inputs), nn.functional.pad(data.labels, (0, 3), value=PADDING))


def assert_fisher_is_a_loops(classifier: Classifier, data: Examples) -> None:
    """The expected Fisher, its Monte Carlo estimate and the GGN are sums over rows, places and labels."""
    theta = classifier.theta_hat
    full = torch.zeros(len(theta), len(theta), dtype=theta.dtype)
    for row in range(len(data)):
        inputs, labels = data.inputs[row : row + 1], data.labels[row]
        for place in torch.nonzero(labels >= 0).flatten():

            def log_p(at, place=place, inputs=inputs):
                return classifier.logits(at, inputs)[0, place].log_softmax(0)

            slopes = torch.autograd.functional.jacobian(log_p, theta)
            full += slopes.T @ (log_p(theta).exp()[:, None] * slopes) / len(data)
    diagonal = assert_fisher_is(full, classifier, data)
    many = examples(data.inputs.repeat(3000, 1), data.labels.repeat(3000, 1))
    drawn = labels_of("monte_carlo", classifier, torch.Generator().manual_seed(0))
    torch.testing.assert_close(fisher_diagonal(classifier, theta, many, labels=drawn), diagonal, rtol=0.2, atol=2e-3)


def assert_divergence_is_torchs(task: Likelihood, given: Tensor, labels: int) -> None:
    """KL(before ‖ after) is summed over the places that have a label."""
    generator = torch.Generator().manual_seed(0)
    before, after = (torch.randn(*given.shape, labels, dtype=torch.float64, generator=generator) for _ in range(2))
    one = torch.distributions.Categorical(logits=before)
    due = torch.distributions.kl_divergence(one, torch.distributions.Categorical(logits=after))
    torch.testing.assert_close(task.divergence(before, after, given), (due * (given >= 0)).sum(dim=1))
