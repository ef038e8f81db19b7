"""Texts as the tensors of a tokenizer of the transformers library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int32, Int64
from torch import Tensor

from repair_pipeline.datasets.label_columns import padded
from repair_pipeline.errors import InputError, one_line
from repair_pipeline.extras import package
from repair_pipeline.types import PADDING


def _tokenizer_in(folder: Path, **options: Any) -> Any:
    """The tokenizer of a folder, as ``save_pretrained`` writes it. Nothing is downloaded, and no code in it is run.

    Raises:
        InputError: transformers is not installed, or the folder holds no tokenizer.
    """
    transformers = package("transformers", "transformers", "dataset.tokenizer")
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give dataset.tokenizer the folder of a saved tokenizer")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False, **options
        )
    except Exception as error:  # transformers raises whatever its readers raise
        raise InputError(f"dataset.tokenizer: {folder} holds no tokenizer ({one_line(error)})") from error
    if tokenizer.pad_token is None:
        # Models of text generation often have none; the attention mask hides the padding.
        tokenizer.pad_token = tokenizer.eos_token
    return tokenizer


class Tokenizer:
    """Token ids, attention mask and whatever else the tokenizer gives for a text, padded to one length.

    Args:
        folder: of the tokenizer.
        max_length: tokens that are kept of a text; None: as many as the longest of ``texts`` has, if the tokenizer's
            own limit allows.
        texts: the training texts.

    Raises:
        InputError: transformers is not installed, or the folder holds no tokenizer.
    """

    def __init__(self, folder: Path, max_length: int | None, texts: Sequence[str]) -> None:
        self._tokenizer = _tokenizer_in(folder)
        longest = max(len(ids) for ids in self._tokenizer(list(texts), verbose=False)["input_ids"])
        self._length = max_length or min(longest, self._tokenizer.model_max_length)

    def __call__(self, text: str) -> Mapping[str, Tensor]:
        """The tensors of one text, by the names of the model's arguments."""
        encoded = self._tokenizer(
            text, padding="max_length", truncation=True, max_length=self._length, return_tensors="pt"
        )
        return {name: tensor[0] for name, tensor in encoded.items()}


Pair = tuple[str, str]
"""A prompt with its completion."""


class Completions:
    """Prompts with their completions, as the tokens that a causal language model reads and those that it should say.

    The tokens of prompt and completion are those of each by itself, followed by the tokenizer's end of a text, if it
    has one, which belongs to the completion. Padding is on the right, where it changes nothing before it.

    Args:
        folder: of the tokenizer.
        max_length: tokens that are kept of a row: a prompt is cut at its beginning, and if that is not enough the
            completion at its end. None: as many as the longest row has, if the tokenizer's own limit allows.
        pairs: the training and the test rows.

    Raises:
        InputError: transformers is not installed, the folder holds no tokenizer, or a row has nothing to say.
    """

    def __init__(self, folder: Path, max_length: int | None, pairs: Sequence[Pair]) -> None:
        self._tokenizer = _tokenizer_in(folder)
        longest = max(sum(map(len, self._encoded(pair))) for pair in pairs)
        self._length = max_length or min(longest, self._tokenizer.model_max_length)

    def __call__(self, pair: Pair) -> Mapping[str, Tensor]:
        """Token ids and attention mask of one row."""
        prompt, completion = self._cut(pair)
        ids = prompt + completion
        padding = [self._tokenizer.pad_token_id or 0] * (self._length - len(ids))
        mask = [1] * len(ids) + [0] * len(padding)
        return {"input_ids": torch.tensor(ids + padding), "attention_mask": torch.tensor(mask)}

    def labels(self, pairs: Sequence[Pair], where: str) -> Int64[Tensor, "n t"]:
        """At each place the token that follows, if it is the completion's, or else ``PADDING``.

        Args:
            pairs: n rows.
            where: ``training`` or ``test``, for messages.

        Raises:
            InputError: a row has no token of the completion after another.
        """
        labels = torch.full((len(pairs), self._length), PADDING)
        for row, pair in enumerate(pairs):
            prompt, completion = self._cut(pair)
            first = max(len(prompt), 1)  # nothing comes before the first token, so it is not predicted
            said = (prompt + completion)[first:]
            if not said:
                raise InputError(
                    f"{where} row {row}: of the completion {pair[1]!r} no token follows another, so there is nothing "
                    "to predict: give the row a prompt, or drop it"
                )
            labels[row, first - 1 : first - 1 + len(said)] = torch.tensor(said)
        return labels

    @property
    def vocabulary(self) -> tuple[str, ...]:
        """The text of each token within a text, with the blank before it; of special tokens none."""
        tokenizer = self._tokenizer
        anchor = (tokenizer("a", add_special_tokens=False)["input_ids"] or [0])[:1]
        options = {"skip_special_tokens": False, "clean_up_tokenization_spaces": False}
        before, size = tokenizer.decode(anchor, **options), len(tokenizer)
        pieces = tokenizer.batch_decode([[*anchor, token] for token in range(size)], **options)
        silent = set(tokenizer.all_special_ids) - {tokenizer.unk_token_id}
        return tuple("" if token in silent else piece.removeprefix(before) for token, piece in enumerate(pieces))

    def _encoded(self, pair: Pair) -> tuple[list[int], list[int]]:
        prompt, end = list(self._tokenizer(pair[0], verbose=False)["input_ids"]), self._tokenizer.eos_token_id
        if end is not None and prompt[-1:] == [end]:  # some tokenizers end every text
            prompt.pop()
        completion = list(self._tokenizer(pair[1], add_special_tokens=False, verbose=False)["input_ids"])
        return prompt, completion if end is None else [*completion, end]

    def _cut(self, pair: Pair) -> tuple[list[int], list[int]]:
        prompt, completion = self._encoded(pair)
        completion = completion[: self._length]
        kept = self._length - len(completion)
        return prompt[len(prompt) - kept :] if len(prompt) > kept else prompt, completion


def words_of(row: str | Sequence[str]) -> list[str]:
    """The words of a row that has a label for each: a list, or text with blanks between them."""
    return row.split() if isinstance(row, str) else list(row)


class Words:
    """Words that have a class each, as tokens. The first token of a word has its class, the others have none.

    A word that the tokenizer makes nothing of, such as an invisible character, becomes its unknown token.

    Args:
        folder: of the tokenizer, which must be a fast one, as these know which word a token is of.
        max_length: tokens that are kept of a row. None: as many as the longest row has, if the tokenizer's own limit
            allows.
        rows: the training and the test rows.

    Raises:
        InputError: transformers is not installed, or the folder holds no fast tokenizer.
    """

    def __init__(self, folder: Path, max_length: int | None, rows: Sequence[Sequence[str]]) -> None:
        # Tokenizers that read the blank before a word as part of it must see one before each word.
        self._tokenizer = _tokenizer_in(folder, add_prefix_space=True)
        if not self._tokenizer.is_fast:
            raise InputError(
                f"dataset.tokenizer: that of {folder} cannot say which word a token is of: give a fast tokenizer"
            )
        longest = max(len(self._encoded(row)["input_ids"]) for row in rows)
        self._length = max_length or min(longest, self._tokenizer.model_max_length)

    def __call__(self, row: Sequence[str]) -> Mapping[str, Tensor]:
        """The tensors of one row, by the names of the model's arguments."""
        return {name: torch.tensor(values) for name, values in self._fitted(row).items()}

    def labels(self, rows: Sequence[Sequence[str]], tags: Sequence[Sequence[int]], where: str) -> Int32[Tensor, "n t"]:
        """At each place the class of the word that begins there, or ``PADDING``.

        Args:
            rows: n rows.
            tags: the classes of their words.
            where: ``training`` or ``test``, for messages.

        Raises:
            InputError: a row has not as many classes as words, or none of its words that are kept has one.
        """
        placed = []
        for at, (row, classes) in enumerate(zip(rows, tags, strict=True)):
            if len(row) != len(classes):
                raise InputError(
                    f"{where} row {at} has {len(row)} words and {len(classes)} classes: give one for each word, "
                    f"{PADDING} where there is none"
                )
            words = self._fitted(row).word_ids()
            begins = [word not in (None, before) for before, word in pairwise([None, *words])]
            placed.append([classes[word] if first else PADDING for word, first in zip(words, begins, strict=True)])
            if set(placed[-1]) == {PADDING}:
                raise InputError(
                    f"{where} row {at}: none of the words that dataset.max_length keeps has a class: raise it, or drop "
                    "the row"
                )
        return padded(placed)

    def _fitted(self, row: Sequence[str]) -> Any:
        return self._encoded(row, padding="max_length", truncation=True, max_length=self._length)

    def _encoded(self, row: Sequence[str], **options: Any) -> Any:
        encoded = self._tokenizer(list(row), is_split_into_words=True, verbose=False, **options)
        last = max((word for word in encoded.word_ids() if word is not None), default=len(row) - 1)
        silent = set(range(last + 1)) - set(encoded.word_ids())
        if not silent:
            return encoded
        unknown = self._tokenizer.unk_token or "?"
        return self._encoded([unknown if at in silent else word for at, word in enumerate(row)], **options)
