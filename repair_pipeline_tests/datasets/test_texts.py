"""Columns of text, tokenizers, and transforms that return several tensors."""

import pyarrow as pa
import pyarrow.csv
import pytest
import torch

from repair_pipeline.cases.spec import parse_spec
from repair_pipeline.datasets.user_data import UserData, read
from repair_pipeline.errors import InputError
from repair_pipeline_tests.texts import VOCABULARY, sentences, write_bert, write_texts

TEXTS = {"train": "train.csv", "test": "test.csv", "label": "topic", "text": "text"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    made = tmp_path_factory.mktemp("texts")
    write_texts(made)
    write_bert(made / "bert")
    return made


def with_code(tmp_path, monkeypatch, code):
    """A folder of texts with a module of the owner's."""
    write_texts(tmp_path)
    (tmp_path / "encoding.py").write_text(f"import torch\n\n\ndef encode(row):\n    {code}\n")
    monkeypatch.delitem(__import__("sys").modules, "encoding", raising=False)
    return tmp_path


def test_a_text_becomes_the_tokenizers_tensors_padded_to_the_longest_training_text(folder):
    data = read(UserData(**TEXTS, tokenizer="bert"), folder)
    texts, _ = sentences(60, 0)
    parts = data.train.inputs.parts
    assert list(parts) == ["input_ids", "token_type_ids", "attention_mask"]
    for at, text in enumerate(texts):
        ids = [VOCABULARY.index(word) for word in ("[CLS]", *text.split(), "[SEP]")]
        row = parts["input_ids"][at].tolist()
        assert row == ids + [0] * (len(row) - len(ids))
        assert parts["attention_mask"][at].sum() == len(ids)
    assert parts["input_ids"].shape[1] == max(len(text.split()) for text in texts) + 2
    assert data.metadata["text"].to_pylist()[:60] == texts


def test_longer_texts_are_cut(folder):
    data = read(UserData(**TEXTS, tokenizer="bert", max_length=4), folder)
    assert data.test.inputs.parts["input_ids"].shape == (30, 4)


def test_the_id_of_a_text_does_not_depend_on_the_tokenizer(folder):
    one, other = (read(UserData(**TEXTS, tokenizer="bert", max_length=cut), folder) for cut in (4, None))
    assert one.train.ids.tolist() == other.train.ids.tolist()


def test_a_transform_gets_the_text_and_may_return_a_dict(tmp_path, monkeypatch):
    code = 'return {"letters": torch.tensor([len(row)]), "share": [len(row) / 100]}'
    data = read(UserData(**TEXTS, transform="encoding:encode"), with_code(tmp_path, monkeypatch, code))
    parts = data.test.inputs.parts
    lengths = [len(text) for text in sentences(30, 1)[0]]
    assert parts["letters"][:, 0].tolist() == lengths
    assert torch.allclose(parts["share"][:, 0], torch.tensor(lengths) / 100)
    assert (parts["letters"].dtype, parts["share"].dtype) == (torch.int64, torch.float32)


def test_a_transform_gets_several_columns_as_a_dict(tmp_path, monkeypatch):
    folder = with_code(tmp_path, monkeypatch, "return torch.tensor([row['age']]), torch.tensor([len(row['text'])])")
    for name in ("train", "test"):
        table = pyarrow.csv.read_csv(folder / f"{name}.csv")
        pyarrow.csv.write_csv(table.append_column("age", pa.array(range(len(table)))), folder / f"{name}.csv")
    spec = UserData("train.csv", "test.csv", "topic", inputs=("text", "age"), transform="encoding:encode")
    parts = read(spec, folder).train.inputs.parts
    assert parts["0"][:, 0].tolist() == list(range(60))
    assert parts["1"][:, 0].tolist() == [len(text) for text in sentences(60, 0)[0]]


@pytest.mark.parametrize(
    ("code", "message"),
    [
        ('return {"a b": [1.0]}', "a tensor named 'a b' on training row 0: use the names of the model's arguments"),
        ("return {}", "returns nothing on training row 0: return a tensor, or several"),
        ('return {"n": [0.0] * (2 if "visa" in row else 3)}', "inputs of mixed size: training row"),
        ('return {"n": [len(row) if len(row) % 2 else 0.5]}', "return numbers of one type"),
        (
            'return {"n": [1.0], "m": [2.0]} if "visa" in row else {"n": [1.0]}',
            "returns n float32 and m float32 on training row",
        ),
    ],
)
def test_a_transform_that_returns_something_else_is_refused(tmp_path, monkeypatch, code, message):
    folder = with_code(tmp_path, monkeypatch, code)
    with pytest.raises(InputError, match="(?s)" + message.replace("(", r"\(")):
        _ = read(UserData(**TEXTS, transform="encoding:encode"), folder).train.inputs


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"text": "text"}, "text is given, but nothing to read it: give tokenizer or transform"),
        ({"inputs": ["a", "b"]}, "inputs are given, but nothing to read them: give transform"),
        ({"tokenizer": "bert"}, "tokenizer reads the column of text: give text, and no transform"),
        ({"text": "t", "tokenizer": "bert", "transform": "m:f"}, "tokenizer reads the column of text"),
        ({"text": "t", "transform": "m:f", "max_length": 4}, "max_length cuts what the tokenizer returns"),
        ({"text": "t", "image": "i", "transform": "m:f"}, "image and text are both given: give one of them"),
        ({"text": "label", "tokenizer": "bert"}, "text names the label 'label': give another column"),
    ],
)
def test_roles_that_do_not_fit_are_refused(fields, message):
    with pytest.raises(InputError, match=message):
        parse_spec({"name": "a", "dataset": {"train": "a.csv", "test": "b.csv", **fields}, "model": {"factory": "m:f"}})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"tokenizer": "nowhere"}, "nowhere is not a folder: give dataset.tokenizer the folder of a saved tokenizer"),
        ({"tokenizer": "empty"}, "empty holds no tokenizer"),
        ({"text": "topics", "tokenizer": "bert"}, "has no column 'topics': it has text, topic; set dataset.text"),
    ],
)
def test_a_text_that_cannot_be_read_is_one_line(folder, change, message):
    (folder / "empty").mkdir(exist_ok=True)
    with pytest.raises(InputError, match=message) as refused:
        read(UserData(**{**TEXTS, **change}), folder)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([None, "a", "b", "c"], "the text 'text' of row 0 is missing"),
        ([1, 2, 3, 4], "holds int64: give a column of text"),
    ],
)
def test_a_text_that_is_none_is_refused(tmp_path, values, message):
    for name in ("train", "test"):
        pa.parquet.write_table(pa.table({"text": values, "topic": ["x", "y"] * 2}), tmp_path / f"{name}.parquet")
    with pytest.raises(InputError, match=message):
        read(UserData("train.parquet", "test.parquet", "topic", text="text", tokenizer="bert"), tmp_path)


def test_keys_that_a_case_does_not_have_leave_its_id_alone():
    spec = parse_spec({"name": "a", "dataset": {"train": "a.csv", "test": "b.csv"}, "model": {"factory": "m:f"}})
    assert not {"text", "tokenizer", "max_length", "inputs"} & spec.resolved["dataset"].keys()
    assert not {"transformers", "lora"} & spec.resolved["model"].keys()
