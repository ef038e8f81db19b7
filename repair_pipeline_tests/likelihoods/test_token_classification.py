"""Laws of the likelihood of a class for each token, against torch's losses, loops over tokens, and all sequences."""

from itertools import product

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from transformers import BertConfig, BertForTokenClassification

from repair_pipeline.continual.fisher import fisher_diagonal
from repair_pipeline.continual.likelihood import Classifier, log_likelihoods
from repair_pipeline.datasets.labels import members, strata, texts
from repair_pipeline.datasets.patching import apply_patch, patched, revert_patch
from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.likelihoods import canonical, likelihood
from repair_pipeline.likelihoods.reading import with_logits
from repair_pipeline.named_tensors import NamedTensors
from repair_pipeline.problem.fitting import require_fitting
from repair_pipeline.problem.suggestions import harm, suggestions
from repair_pipeline.training.fit import accuracy, measured, of_rows, predictions, right
from repair_pipeline.types import PADDING, LabelForm, OutOfFold
from repair_pipeline_tests.likelihoods.leaving_out import assert_influence_is_that_of_leaving_rows_out
from repair_pipeline_tests.likelihoods.places import (
    Table,
    assert_divergence_is_torchs,
    assert_fisher_is_a_loops,
    longer,
    of_ids,
)
from repair_pipeline_tests.problems import examples, seeded
from repair_pipeline_tests.texts import write_bert

TASK = likelihood("token_classification")
WORDS, PLACES, CLASSES = 7, 6, 3


def table():
    return Table(WORDS, CLASSES)


def rows(count=9, seed=0):
    """Rows of 2 to 5 tokens with padding behind them, the first of which has no class."""
    generator = torch.Generator().manual_seed(seed)
    ids, mask = torch.zeros(count, PLACES, dtype=torch.int64), torch.zeros(count, PLACES, dtype=torch.int64)
    labels = torch.full((count, PLACES), PADDING, dtype=torch.int32)
    for row in range(count):
        length = 2 + int(torch.randint(4, (), generator=generator))
        ids[row, :length] = torch.randint(WORDS, (length,), generator=generator)
        mask[row, :length] = 1
        labels[row, 1:length] = torch.randint(CLASSES, (length - 1,), generator=generator).int()
    return examples(NamedTensors({"input_ids": ids, "attention_mask": mask}), labels)


def bert():
    sizes = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 8}
    config = BertConfig(vocab_size=WORDS, num_labels=CLASSES, max_position_embeddings=16, **sizes)
    config._attn_implementation = "eager"
    return BertForTokenClassification(config)


@pytest.fixture
def made():
    data = rows()
    return Classifier(with_logits(seeded(bert()), data.inputs[:3], CLASSES, TASK)), data


def test_log_p_is_transformers_own_loss_times_the_tokens_and_gradients_are_a_loops(made):
    classifier, data = made
    theta = classifier.theta_hat
    own = classifier.module(theta)
    own._forward_hooks.clear(), own._forward_pre_hooks.clear()
    for at, gradient in enumerate(classifier.gradients(theta, data)):
        row = data[at : at + 1]
        returned = own(**row.inputs.parts, labels=row.labels.long())
        value = returned.loss * (row.labels >= 0).sum()
        torch.testing.assert_close(classifier(theta, row), -value[None])
        expected = torch.autograd.grad(value, list(own.parameters()))
        torch.testing.assert_close(gradient, -torch.cat([part.flatten() for part in expected]), rtol=1e-8, atol=1e-10)


def test_padding_and_the_rows_beside_change_nothing(made):
    classifier, data = made
    theta = classifier.theta_hat
    padded = longer(data)
    whole = log_likelihoods(classifier, theta, data)
    torch.testing.assert_close(log_likelihoods(classifier, theta, padded), whole)
    torch.testing.assert_close(log_likelihoods(classifier, theta, data, 1), whole)
    gradients = classifier.gradients(theta, data)
    torch.testing.assert_close(classifier.gradients(theta, padded), gradients, rtol=1e-9, atol=1e-12)
    fishers = [fisher_diagonal(classifier, theta, data, size) for size in (1, 4)]
    torch.testing.assert_close(*fishers, rtol=1e-9, atol=1e-12)


def test_fisher_and_curvature_are_loops_over_tokens_and_classes():
    assert_fisher_is_a_loops(Classifier(TASK.on(seeded(table()))), of_ids(rows(4)))


def test_first_order_influence_is_that_of_leaving_rows_out_of_a_linear_model():
    classifier = Classifier(TASK.on(seeded(table())))
    assert_influence_is_that_of_leaving_rows_out(classifier, of_ids(rows(60, seed=1)), of_ids(rows(5, seed=2)))


def test_a_row_is_right_if_every_token_is_or_up_to_a_share():
    model = table()
    with torch.no_grad():
        model.table.weight.copy_(3 * torch.eye(CLASSES)[torch.arange(WORDS) % CLASSES])  # token 4 has the class 1
    ids = torch.tensor([[0, 1, 2, 3], [0, 1, 2, 3], [0, 4, 4, 0]])
    labels = torch.tensor([[PADDING, 1, 2, 0], [0, 0, 2, 0], [1, PADDING, PADDING, 0]]).int()
    data = examples(ids, labels)
    exact = TASK.on(model)
    assert right(exact, data).tolist() == [True, False, False]
    assert accuracy(exact, data) == pytest.approx(1 / 3)
    assert predictions(exact, data).tolist() == [[PADDING, 1, 2, 0], [0, 1, 2, 0], [0, PADDING, PADDING, 0]]
    assert measured(exact, [(1, data)]) == pytest.approx(7 / 9)
    assert measured(exact, [(0.25, data[:1]), (0.75, data[2:])]) == pytest.approx((0.75 + 0.75) / (0.75 + 1.5))
    assert of_rows(exact, data, TASK.lost_by).tolist() == pytest.approx([-3, 3, 3])
    for tolerance, due in ((0.25, [True, True, False]), (0.5, [True, True, True]), (0.24, [True, False, False])):
        task = likelihood({"token_classification": {"tolerance": tolerance}})
        loose = task.on(table())
        loose.load_state_dict(model.state_dict())
        assert right(loose, data).tolist() == due
        assert (of_rows(loose, data, task.lost_by) <= 0).tolist() == due
    hundred = torch.zeros(1, 100, dtype=torch.int32)
    assert likelihood({"token_classification": {"tolerance": 0.29}}).bearable(hundred).tolist() == [29]


def test_the_loss_is_the_mean_cross_entropy_of_the_tokens_of_soft_labels_too():
    generator = torch.Generator().manual_seed(0)
    outputs, labels = torch.randn(9, PLACES, CLASSES, dtype=torch.float64, generator=generator), rows().labels
    chosen = [
        -outputs[row, at].log_softmax(0)[labels[row, at]]
        for row, at in product(range(9), range(PLACES))
        if labels[row, at] >= 0
    ]
    soft = TASK.soft(labels, outputs)
    for smoothing in (0.0, 0.3):
        torch.testing.assert_close(TASK.loss(outputs, soft, smoothing), TASK.loss(outputs, labels, smoothing))
    torch.testing.assert_close(TASK.loss(outputs, labels), torch.stack(chosen).mean())
    torch.testing.assert_close(-TASK.log_p(outputs, labels).sum(), torch.stack(chosen).sum())
    means = -TASK.log_p(outputs, labels) / (labels >= 0).sum(dim=1)
    torch.testing.assert_close(TASK.probability(outputs, labels), (-means).exp())


def test_what_the_classes_are_if_the_given_ones_are_wrong_is_the_mean_over_all_other_sequences():
    generator = torch.Generator().manual_seed(0)
    outputs = 3 * torch.randn(5, 4, CLASSES, dtype=torch.float64, generator=generator)
    given = torch.tensor([[0, 1, 2, 0], [2, PADDING, 1, PADDING], [1, 1, PADDING, PADDING], [0] * 4, [2] * 4]).int()
    predicted = TASK.predicted(outputs, given)
    others, shares = TASK.others(predicted, given), outputs.softmax(dim=2)
    for row in range(5):
        at = torch.nonzero(given[row] >= 0).flatten().tolist()
        due, total = torch.zeros(4, CLASSES, dtype=torch.float64), 0.0
        for classes in product(range(CLASSES), repeat=len(at)):
            if list(classes) != given[row, at].tolist():
                p = torch.stack([shares[row, place, each] for place, each in zip(at, classes, strict=True)]).prod()
                total += p
                due[at, list(classes)] += p
        torch.testing.assert_close(others[row], due / total)
    confidence, likeliest = TASK.likeliest(predicted)
    torch.testing.assert_close(likeliest, TASK.said(outputs, given).int())
    best = shares.amax(dim=2).where(given >= 0, 1.0).prod(dim=1)
    torch.testing.assert_close(confidence, best)
    torch.testing.assert_close(TASK.unlikelihood(predicted, given), -TASK.log_p(outputs, given))
    sure = torch.zeros(1, 2, CLASSES, dtype=torch.float64)
    sure[..., 0] = 1
    assert TASK.others(sure, torch.zeros(1, 2).int()).isfinite().all()


def test_divergence_is_torchs_at_the_tokens_that_have_a_class():
    assert_divergence_is_torchs(TASK, rows().labels, CLASSES)


def test_a_suggestion_is_the_classes_that_models_say_that_did_not_see_the_row():
    generator = torch.Generator().manual_seed(0)
    true = torch.randint(CLASSES, (200, 4), generator=generator).int()
    given = true.clone()
    given[::10, 2] = (true[::10, 2] + 1) % CLASSES
    said = TASK.soft(true, torch.zeros(1, 4, CLASSES, dtype=torch.float64)) * 0.94 + 0.02
    predicted = OutOfFold(said, said[:100], true[:100], failures=20)
    _, harmful = harm(TASK, predicted, given, 0.2)
    wrong = (given != true).any(dim=1)
    assert harmful[wrong].min() > 0.9 > 0.1 > harmful[~wrong].max()
    made = suggestions(TASK, predicted, given, harmful, 0.2)
    assert torch.equal(made.labels[wrong], true[wrong])
    assert made.probability[wrong].min() > 0.9
    soft = made.soft_labels(given, harmful)
    torch.testing.assert_close(soft.sum(dim=2), torch.ones(200, 4, dtype=torch.float64))
    assert torch.equal(soft.argmax(dim=2), true.long())


# Tables.

NAMES = '{"info": {"features": {"tags": {"feature": {"names": ["O", "PER", "LOC"], "_type": "ClassLabel"}}}}}'


def write_tables(folder, tags, kind, words):
    table = pa.table({"words": words, "tags": pa.array(tags, kind), "name": list("abcd")[: len(tags)]})
    pq.write_table(table.replace_schema_metadata({"huggingface": NAMES}), folder / "train.parquet")
    (folder / "test.csv").write_text("words,tags,name\nplease help card,O O LOC,t\nvisa can,PER O,u\n")


SPEC = UserData("train.parquet", "test.csv", label="tags", text="words", id="name", tokenizer="bert")


def test_words_of_several_tokens_have_their_class_at_the_first_one_and_are_corrected_in_the_file(tmp_path):
    write_bert(tmp_path / "bert")
    words = [["please", "visa", "can"], ["the-visa", "\u200b", "help"], ["when", "i", "card", "my", "help"]]
    write_tables(tmp_path, [[0, 1, 0], [-100, 2, 0], [0, 0, 2, 0, 1]], pa.list_(pa.int64()), words)
    spec = UserData(**{**vars(SPEC), "max_length": 6})
    data = read(spec, tmp_path, LabelForm.TAGS)
    assert data.classes == ("O", "PER", "LOC")
    assert data.train.labels.tolist() == [
        [PADDING, 0, 1, 0, PADDING, PADDING],
        [PADDING, PADDING, PADDING, PADDING, 2, PADDING],  # three tokens, of which none has a class
        [PADDING, 0, 0, 2, 0, PADDING],  # the fifth word is cut, as the third of the row above
    ]
    assert LabelForm.of(data.train.labels) is LabelForm.TAGS
    assert data.train.inputs.parts["input_ids"][1, 4] == 1, "an invisible word is an unknown one"
    assert texts(data.train.labels, data.classes) == ["O PER O", "LOC", "O O LOC O"]
    assert texts(data.test.labels, data.classes) == ["O O LOC", "PER O"]
    assert members(data.test.labels, data.classes)["LOC"].tolist() == [True, False]
    assert strata(data.train.labels).tolist() == [0] * 3
    before = (tmp_path / "train.parquet").read_bytes()
    new = {"a": None, "b": "PER", "c": "O PER LOC O"}
    changes = [
        {"example_id": name, "action": "relabel" if label else "drop", "suggested_label": label, "label": None}
        for name, label in new.items()
    ]
    patch = pa.Table.from_pylist(changes)
    assert apply_patch(spec, tmp_path, patch, "p", form=LabelForm.TAGS) == (1, 2)
    assert pq.read_table(tmp_path / "train.parquet")["tags"].to_pylist() == [[-100, 1, 0], [0, 1, 2, 0, 1]]
    again = read(spec, tmp_path, LabelForm.TAGS)
    assert texts(again.train.labels, again.classes) == ["PER", "O PER LOC O"]
    in_memory = patched(data, [patch]).train
    assert torch.equal(in_memory.labels, again.train.labels)
    assert revert_patch(spec, tmp_path, "p").exactly
    assert (tmp_path / "train.parquet").read_bytes() == before
    short = pa.Table.from_pylist([{**changes[1], "suggested_label": "PER O"}])
    with pytest.raises(InputError, match="the label 'PER O', but the row has 1 tokens: give each one of the classes"):
        apply_patch(spec, tmp_path, short, "p", form=LabelForm.TAGS)


def test_ids_of_one_length_are_features_and_text_has_blanks_between_classes(tmp_path):
    ids = pa.array([[1, 2, 3], [4, 5, 6]], pa.list_(pa.int64()))
    for name, tags in (("train", ["B O O", "O"]), ("test", ["O -100 B", "B"])):
        pq.write_table(pa.table({"ids": ids, "tags": tags}), tmp_path / f"{name}.parquet")
    spec = UserData("train.parquet", "test.parquet", label="tags", features=("ids",))
    data = read(spec, tmp_path, LabelForm.TAGS)
    assert data.classes == ("B", "O")
    assert data.train.labels.tolist() == [[0, 1, 1], [1, PADDING, PADDING]]
    assert data.test.labels.tolist() == [[1, PADDING, 0], [0, PADDING, PADDING]]
    model = with_logits(table(), data.train.inputs[:2], CLASSES, TASK)
    with pytest.raises(InputError, match=r"shape \(2, 3, 3\) for 2 rows, expected \(2, 3, 2\), a logit for each of"):
        require_fitting(model, data.train, data.classes)


@pytest.mark.parametrize(
    ("tags", "kind", "says"),
    [
        (
            [["O", "PER"], ["O"]],
            pa.list_(pa.string()),
            "training row 1 has 2 words and 1 classes: give one for each",
        ),
        ([["O", "PER"], ["O", None]], pa.list_(pa.string()), r"'tags' is null in 1 row \(1\)"),
        (
            [["O", "PER"], ["O", "X"]],
            pa.list_(pa.string()),
            "training row 1 has the class 'X', but the classes are O, PE",
        ),
        ([[0, 1], [-100, -100]], pa.list_(pa.int64()), "training row 1 has no class for any of its tokens"),
        ([[0, 1], [0, 7]], pa.list_(pa.int64()), "training row 1 has the class '7', but the classes are O, PER, LOC"),
    ],
)
def test_what_is_no_row_of_tokens_is_refused_in_a_line(tmp_path, tags, kind, says):
    write_bert(tmp_path / "bert")
    write_tables(tmp_path, tags, kind, [["please", "visa"], ["card", "help"]])
    with pytest.raises(InputError, match=says):
        read(SPEC, tmp_path, LabelForm.TAGS)


def test_how_it_is_written():
    assert canonical({"token_classification": {"tolerance": 0}}) == "token_classification"
    with pytest.raises(InputError, match=r"token_classification.tolerance: input should be less than 1"):
        canonical({"token_classification": {"tolerance": 1}})
