"""The residual networks."""

import pytest
import torch

from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.models.resnet import resnet
from repair_pipeline_tests.problems import examples


@pytest.mark.parametrize(("depth", "parameters"), [(18, 11_173_962), (50, 23_520_842)])
def test_it_is_the_one_for_small_images(depth, parameters):
    # The counts of the CIFAR variants of He et al.'s networks, as commonly published.
    assert sum(value.numel() for value in resnet(depth, 3, 10).parameters()) == parameters


def test_the_stem_keeps_the_resolution():
    model, seen = resnet(18, 3, 4), []
    model.layer1.register_forward_hook(lambda layer, inputs, output: seen.append(output.shape))
    assert model(torch.rand(2, 3, 32, 32, dtype=torch.float32)).shape == (2, 4)
    assert seen == [(2, 64, 32, 32)]


def test_as_a_likelihood_an_example_does_not_depend_on_its_batch():
    model = resnet(18, 3, 4)
    model.train()(torch.rand(8, 3, 16, 16, dtype=torch.float32))
    rows = examples(torch.rand(5, 3, 16, 16, dtype=torch.float32), torch.arange(5) % 4)
    classifier = Classifier(model)
    whole, single = (log_likelihoods(classifier, classifier.theta_hat, rows, size) for size in (5, 1))
    torch.testing.assert_close(whole, single, rtol=1e-4, atol=1e-5)
