"""Laws of the likelihood of completions, against torch's losses, loops over tokens, and leaving rows out."""

from math import exp, log

import pytest
import torch
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel, LlamaConfig, LlamaForCausalLM

from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.datasets.labels import members, strata, texts
from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.likelihoods import canonical, likelihood
from repair_pipeline.likelihoods.reading import with_logits
from repair_pipeline.named_tensors import NamedTensors
from repair_pipeline.problem.fitting import require_fitting
from repair_pipeline.training.fit import accuracy, measured, of_rows, predictions, right
from repair_pipeline.types import PADDING
from repair_pipeline_tests.likelihoods.leaving_out import assert_influence_is_that_of_leaving_rows_out
from repair_pipeline_tests.likelihoods.places import (
    Table,
    assert_divergence_is_torchs,
    assert_fisher_is_a_loops,
    longer,
    of_ids,
)
from repair_pipeline_tests.problems import examples, seeded

TASK = likelihood("causal_lm")
TOKENS, PLACES = 7, 6


def bigram():
    """The logits of the next token depend on the present one alone."""
    return Table(TOKENS, TOKENS)


def rows(count=9, seed=0, places=PLACES):
    """Prompts of 1 to 3 tokens with completions of 1 to 3, and padding behind them."""
    generator = torch.Generator().manual_seed(seed)
    ids, mask = torch.zeros(count, places, dtype=torch.int64), torch.zeros(count, places, dtype=torch.int64)
    labels = torch.full((count, places), PADDING)
    for row in range(count):
        prompt, said = (1 + int(torch.randint(3, (), generator=generator)) for _ in range(2))
        ids[row, : prompt + said] = torch.randint(TOKENS, (prompt + said,), generator=generator)
        mask[row, : prompt + said] = 1
        labels[row, prompt - 1 : prompt + said - 1] = ids[row, prompt : prompt + said]
    return examples(NamedTensors({"input_ids": ids, "attention_mask": mask}), labels)


SMALL = {"use_cache": False, "attn_implementation": "eager", "vocab_size": TOKENS}
MODELS = {
    "gpt2": lambda: GPT2LMHeadModel(
        GPT2Config(
            n_embd=8, n_layer=1, n_head=2, n_positions=16, bos_token_id=0, eos_token_id=0, pad_token_id=0, **SMALL
        )
    ),
    "llama": lambda: LlamaForCausalLM(
        LlamaConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, **SMALL)
    ),
}


def classifier_of(model, data):
    return Classifier(with_logits(seeded(model), data.inputs[:3], TOKENS, TASK))


@pytest.fixture(params=MODELS)
def made(request):
    data = rows()
    return classifier_of(MODELS[request.param](), data), data


def by_hand(outputs, labels):
    """−log p of each row, one token after the other."""
    values = []
    for row in range(len(labels)):
        chosen = [-outputs[row, at].log_softmax(0)[labels[row, at]] for at in range(PLACES) if labels[row, at] >= 0]
        values.append(sum(chosen))
    return torch.stack(values)


def test_log_p_is_transformers_own_loss_times_the_tokens_and_gradients_are_a_loops(made):
    classifier, data = made
    theta = classifier.theta_hat
    own = classifier.module(theta)
    own._forward_hooks.clear(), own._forward_pre_hooks.clear()
    for at, gradient in enumerate(classifier.gradients(theta, data)):
        row = data[at : at + 1]
        # transformers' labels stand where the inputs do, and it shifts them itself.
        shifted = nn.functional.pad(row.labels, (1, 0), value=PADDING)[:, :PLACES]
        returned = own(**row.inputs.parts, labels=shifted)
        # transformers computes its loss in float32.
        torch.testing.assert_close(
            classifier(theta, row), -(returned.loss * (shifted >= 0).sum())[None].double(), rtol=1e-5, atol=1e-5
        )
        value = by_hand(returned.logits, row.labels)
        torch.testing.assert_close(classifier(theta, row), -value, rtol=1e-9, atol=1e-9)
        expected = torch.autograd.grad(value.sum(), list(own.parameters()))
        torch.testing.assert_close(gradient, -torch.cat([part.flatten() for part in expected]), rtol=1e-8, atol=1e-10)


def test_padding_and_the_rows_beside_change_nothing(made):
    classifier, data = made
    theta = classifier.theta_hat
    padded = longer(data)
    whole = log_likelihoods(classifier, theta, data)
    close = {"rtol": 1e-6, "atol": 1e-6}  # a Llama computes its angles in float32
    torch.testing.assert_close(log_likelihoods(classifier, theta, padded), whole, **close)
    torch.testing.assert_close(log_likelihoods(classifier, theta, data, 1), whole, **close)
    torch.testing.assert_close(classifier.gradients(theta, padded), classifier.gradients(theta, data), **close)


def test_fisher_and_curvature_are_loops_over_places_and_tokens():
    assert_fisher_is_a_loops(Classifier(TASK.on(seeded(bigram()))), of_ids(rows(4)))


def test_divergence_is_torchs_at_the_completions_places():
    assert_divergence_is_torchs(TASK, rows().labels, TOKENS)


def test_first_order_influence_is_that_of_leaving_rows_out_of_a_linear_model():
    classifier = Classifier(TASK.on(seeded(bigram())))
    assert_influence_is_that_of_leaving_rows_out(classifier, of_ids(rows(60, seed=1)), of_ids(rows(5, seed=2)))


def test_a_row_is_right_if_every_token_is_or_up_to_a_perplexity():
    model = bigram()
    with torch.no_grad():
        model.table.weight.copy_(torch.eye(TOKENS).roll(1, dims=1) * 3)  # after each token the next one
    ids = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 4], [0, 2, 0, 0]])
    labels = torch.tensor([[PADDING, 2, 3, PADDING], [PADDING, 2, 4, PADDING], [2, PADDING, PADDING, PADDING]])
    data, good = examples(ids, labels), log(exp(3) + TOKENS - 1) - 3
    exact = TASK.on(bigram())
    exact.load_state_dict(model.state_dict())
    assert right(exact, data).tolist() == [True, False, False]
    assert accuracy(exact, data) == pytest.approx(1 / 3)
    assert predictions(exact, data).tolist() == [[PADDING, 2, 3, PADDING]] * 2 + [[1, PADDING, PADDING, PADDING]]
    assert (of_rows(exact, data, TASK.lost_by) > 0).tolist() == [False, True, True]
    assert measured(exact, [(1, data)]) == pytest.approx(exp((3 * good + 2 * (good + 3)) / 5))
    assert measured(exact, [(0.25, data[:1]), (0.75, data[2:])]) == pytest.approx(
        exp((0.5 * good + 0.75 * (good + 3)) / 1.25)
    )
    limited = likelihood({"causal_lm": {"perplexity": exp(good + 1.6)}})
    loose = limited.on(bigram())
    loose.load_state_dict(model.state_dict())
    assert right(loose, data).tolist() == [True, True, False]
    assert (of_rows(loose, data, limited.lost_by) > 0).tolist() == [False, False, True]


def test_the_loss_is_the_mean_cross_entropy_of_the_tokens():
    generator = torch.Generator().manual_seed(0)
    outputs, labels = torch.randn(9, PLACES, TOKENS, generator=generator), rows().labels
    due = by_hand(outputs, labels).sum() / (labels >= 0).sum()
    torch.testing.assert_close(TASK.loss(outputs, labels), due)
    torch.testing.assert_close(-TASK.log_p(outputs, labels), by_hand(outputs, labels))
    counts = (labels >= 0).sum(dim=1)
    torch.testing.assert_close(TASK.probability(outputs, labels), (-by_hand(outputs, labels) / counts).exp().double())


def test_completions_are_written_as_text_and_have_no_classes():
    labels = torch.tensor([[PADDING, 2, 1], [1, PADDING, 9]])
    assert texts(labels, ("", " a", "b")) == ["b a", "a"]
    assert [*members(labels, ("", " a", "b")), *texts(labels, ())] == ["2 1", "1 9"]
    assert strata(labels).tolist() == [0, 0]


def test_how_it_is_written():
    assert canonical({"causal_lm": {}}) == canonical("causal_lm") == "causal_lm"
    assert canonical({"causal_lm": {"perplexity": 3}}) == {"causal_lm": {"perplexity": 3.0}}
    with pytest.raises(InputError, match=r"causal_lm.perplexity: input should be greater than 1"):
        canonical({"causal_lm": {"perplexity": 1}})


def test_a_model_of_fewer_tokens_than_the_tokenizer_is_refused():
    data = rows()
    model = with_logits(MODELS["gpt2"](), data.inputs[:3], TOKENS, TASK)
    require_fitting(model, data, tuple("abcdefg"))
    require_fitting(model, data, tuple("abc"))
    with pytest.raises(InputError, match=r"shape \(2, 6, 7\) for 2 rows, expected \(2, 6, 8\), a logit for each token"):
        require_fitting(model, data, tuple("abcdefgh"))
