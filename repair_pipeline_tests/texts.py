"""Texts in three topics, and a tiny BERT with its tokenizer, as files."""

from pathlib import Path

import pyarrow as pa
import pyarrow.csv
import torch
from transformers import BertConfig, BertForSequenceClassification, BertTokenizerFast

TOPICS = {"card": ("visa", "chip"), "cash": ("atm", "notes"), "loan": ("credit", "rate")}
FILL = ("please", "i", "my", "the", "when", "can", "help", "with")
VOCABULARY = [
    "[PAD]",
    "[UNK]",
    "[CLS]",
    "[SEP]",
    "[MASK]",
    *FILL,
    *(word for words in TOPICS.values() for word in words),
]


def sentences(count: int, seed: int) -> tuple[list[str], list[str]]:
    """Texts of 3 to 6 words, one of which tells the topic, and their topics."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(options):
        return options[int(torch.randint(len(options), (), generator=generator))]

    texts, topics = [], []
    for at in range(count):
        topic = list(TOPICS)[at % 3]
        words = [drawn(FILL) for _ in range(2 + int(torch.randint(4, (), generator=generator)))]
        words.insert(int(torch.randint(len(words) + 1, (), generator=generator)), drawn(TOPICS[topic]))
        texts.append(" ".join(words))
        topics.append(topic)
    return texts, topics


def write_texts(folder: Path, train: int = 60, test: int = 30) -> None:
    """``train.csv`` and ``test.csv``."""
    for name, count, seed in (("train", train, 0), ("test", test, 1)):
        texts, topics = sentences(count, seed)
        pyarrow.csv.write_csv(pa.table({"text": texts, "topic": topics}), folder / f"{name}.csv")


def write_bert(folder: Path, labels: int = 3) -> None:
    """A model and its tokenizer, with weights that depend on nothing else."""
    folder.mkdir(parents=True)
    (folder / "vocab.txt").write_text("\n".join(VOCABULARY))
    BertTokenizerFast(str(folder / "vocab.txt")).save_pretrained(folder)
    sizes = {"hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2, "intermediate_size": 16}
    with torch.random.fork_rng():
        torch.manual_seed(0)
        config = BertConfig(vocab_size=len(VOCABULARY), max_position_embeddings=16, num_labels=labels, **sizes)
        BertForSequenceClassification(config).save_pretrained(folder)
