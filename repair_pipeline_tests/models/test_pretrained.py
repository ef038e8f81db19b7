"""Models of the transformers library from a folder, and their adapters."""

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import AutoModelForSequenceClassification, GPT2Config, LlamaConfig

from repair_pipeline.continual.likelihood import Classifier
from repair_pipeline.errors import InputError
from repair_pipeline.likelihoods.likelihoods import likelihood
from repair_pipeline.likelihoods.reading import with_logits
from repair_pipeline.likelihoods.softmax import SOFTMAX
from repair_pipeline.models.pretrained import Lora, pretrained_model
from repair_pipeline.models.user_model import load_weights
from repair_pipeline.named_tensors import NamedTensors
from repair_pipeline.types import LabelForm
from repair_pipeline_tests.problems import examples
from repair_pipeline_tests.texts import write_bert

LORA = Lora(rank=2, targets=("query", "value"))
INPUTS = NamedTensors(
    {
        "input_ids": torch.tensor([[2, 5, 6, 3, 0], [2, 9, 3, 0, 0], [2, 14, 7, 8, 3]]),
        "attention_mask": torch.tensor([[1, 1, 1, 1, 0], [1, 1, 1, 0, 0], [1, 1, 1, 1, 1]]),
    }
)


@pytest.fixture(scope="module")
def bert(tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "bert"
    write_bert(folder)
    return folder


def built(folder, classes=3, lora=None):
    with torch.random.fork_rng():
        torch.manual_seed(1)
        return pretrained_model(folder, classes, {}, lora)


def test_the_weights_are_the_folders_and_a_new_head_has_as_many_outputs_as_classes(bert):
    stored = load_file(bert / "model.safetensors")
    same, other = built(bert, 3).state_dict(), built(bert, 5).state_dict()
    assert all(torch.equal(same[name], tensor) for name, tensor in stored.items())
    assert other["classifier.weight"].shape == (5, 16)
    assert all(torch.equal(other[name], stored[name]) for name in stored if not name.startswith("classifier"))


def test_gradients_of_its_rows_come_from_its_layers_and_are_autograds(bert):
    model = with_logits(built(bert).double(), INPUTS, 3, SOFTMAX)
    classifier, rows = Classifier(model), examples(INPUTS, torch.tensor([0, 2, 1]))
    assert classifier.way(INPUTS) == "layers"
    reference = AutoModelForSequenceClassification.from_pretrained(bert).double().eval()
    actual = classifier.gradients(classifier.theta_hat, rows)
    for at in range(3):
        logits = reference(**INPUTS[at : at + 1].parts).logits
        value = logits.log_softmax(dim=1)[0, rows.labels[at]]
        gradients = torch.autograd.grad(value, list(reference.parameters()))
        assert (actual[at] - torch.cat([part.flatten() for part in gradients])).abs().max() < 1e-12


def test_only_the_adapters_and_the_head_are_adapted(bert):
    model = built(bert, lora=LORA)
    adapted = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    assert {name for name in adapted if "lora_" not in name} == {
        "base_model.model.classifier.modules_to_save.default.weight",
        "base_model.model.classifier.modules_to_save.default.bias",
    }
    assert sum("lora_" in name for name in adapted) == 4


def test_an_adapter_file_of_peft_is_read_beside_the_folders_weights(bert, tmp_path):
    trained = built(bert, lora=LORA)
    with torch.no_grad():
        for parameter in trained.parameters():
            if parameter.requires_grad:
                parameter.normal_()
    trained.save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "adapter_model.safetensors")
    assert len(tensors) < len(trained.state_dict()), "it has the adapters alone"
    model = built(bert, lora=LORA)
    load_weights(model, tensors, "adapter")
    expected = trained.state_dict()
    assert all(torch.equal(tensor, expected[name]) for name, tensor in model.state_dict().items())


def test_an_adapter_of_another_rank_is_refused(bert, tmp_path):
    built(bert, lora=Lora(rank=3, targets=("query", "value"))).save_pretrained(tmp_path)
    with pytest.raises(InputError, match=r"lora_A.* of shape \(3, 16\), the model's is \(2, 16\)"):
        load_weights(built(bert, lora=LORA), load_file(tmp_path / "adapter_model.safetensors"), "adapter")


@pytest.mark.parametrize(
    ("made", "message"),
    [
        ({}, "holds no classifier that can be used"),
        ({"config.json": "{"}, "holds no classifier that can be used"),
        ({"config.json": '{"model_type": "whisper"}'}, "WhisperConfig has no head that classifies texts or images"),
        ({"config.json": '{"auto_map": {"AutoConfig": "own.Own"}}', "own.py": "1 / 0"}, "holds no classifier"),
        ({"pytorch_model.bin": "x"}, r"pytorch_model.bin is a pickle, which is not read: load the model once"),
    ],
)
def test_a_folder_that_cannot_be_used_is_refused_in_one_line(tmp_path, made, message):
    for name, content in made.items():
        (tmp_path / name).write_text(content)
    with pytest.raises(InputError, match=message) as refused:
        built(tmp_path)
    assert "\n" not in str(refused.value)


def test_a_folder_that_is_not_there_and_a_layer_that_the_model_lacks_are_named(bert):
    with pytest.raises(InputError, match=r"is not a folder: give model\.transformers the folder of a saved model"):
        built(bert / "nowhere")
    with pytest.raises(
        InputError, match=r"no linear layer .* 'nothing': set model\.lora\.targets to some of classifier, dense"
    ):
        built(bert, lora=Lora(targets=("nothing",)))


def test_damaged_weights_are_refused_in_one_line(bert, tmp_path):
    (tmp_path / "config.json").write_text((bert / "config.json").read_text())
    (tmp_path / "model.safetensors").write_bytes((bert / "model.safetensors").read_bytes()[:-50])
    with pytest.raises(InputError, match="holds no classifier that can be used") as refused:
        built(tmp_path)
    assert "\n" not in str(refused.value)


def test_weights_of_another_model_are_refused(bert, tmp_path):
    save_file({"other": torch.zeros(2)}, tmp_path / "w.safetensors")
    with pytest.raises(InputError, match="lacks"):
        load_weights(built(bert), load_file(tmp_path / "w.safetensors"), "w.safetensors")


SIZES = {"vocab_size": 16, "bos_token_id": 0, "eos_token_id": 0}
LARGER = {
    "llama": LlamaConfig(hidden_size=8, intermediate_size=8, num_hidden_layers=1, num_attention_heads=2, **SIZES),
    "gpt2": GPT2Config(n_embd=8, n_layer=1, n_head=2, n_positions=16, **SIZES),
}


@pytest.mark.parametrize(
    ("name", "task", "form", "head"),
    [
        ("llama", "causal_lm", LabelForm.COMPLETION, []),
        ("gpt2", "causal_lm", LabelForm.COMPLETION, []),
        ("gpt2", "token_classification", LabelForm.TAGS, ["weight", "bias"]),
    ],
)
def test_adapters_of_tokens_tasks_have_the_gradients_of_ordinary_autograd(tmp_path, name, task, form, head):
    LARGER[name].save_pretrained(tmp_path)
    with torch.random.fork_rng():
        torch.manual_seed(1)
        model = pretrained_model(tmp_path, 3, {}, Lora(rank=2), form).double()
        for parameter in model.parameters():
            if parameter.requires_grad:
                torch.nn.init.normal_(parameter)  # adapters that are new do nothing
    adapted = [each for each, parameter in model.named_parameters() if parameter.requires_grad]
    assert [each.rpartition(".")[2] for each in adapted if "lora_" not in each] == head
    assert sum("lora_" in each for each in adapted) >= 2
    labels = torch.tensor([[1, 2, -100, -100, -100], [0, -100, -100, -100, -100], [-100, 2, 1, 0, 2]])
    rows = examples(INPUTS, labels.int() if form is LabelForm.TAGS else labels)
    classifier = Classifier(with_logits(model, INPUTS, 3, likelihood(task)))
    actual = classifier.gradients(classifier.theta_hat, rows)
    reference = classifier.module(classifier.theta_hat)
    parameters = [parameter for parameter in reference.parameters() if parameter.requires_grad]
    for at in range(3):
        outputs = reference(INPUTS[at : at + 1])
        loss = torch.nn.functional.cross_entropy(outputs[0], labels[at], reduction="sum")
        gradients = torch.autograd.grad(-loss, parameters)
        torch.testing.assert_close(actual[at], torch.cat([part.flatten() for part in gradients]), rtol=1e-6, atol=1e-8)
