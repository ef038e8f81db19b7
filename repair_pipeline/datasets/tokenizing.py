"""Texts as the tensors of a tokenizer of the transformers library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from jaxtyping import Int64
from torch import Tensor

from repair_pipeline.errors import InputError, one_line
from repair_pipeline.extras import package
from repair_pipeline.types import PADDING


def _tokenizer_in(folder: Path) -> Any:
    """The tokenizer of a folder, as ``save_pretrained`` writes it. Nothing is downloaded, and no code in it is run.

    Raises:
        InputError: transformers is not installed, or the folder holds no tokenizer.
    """
    transformers = package("transformers", "transformers", "dataset.tokenizer")
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: give dataset.tokenizer the folder of a saved tokenizer")
    try:
        tokenizer = transformers.AutoTokenizer.from_pretrained(
            str(folder), local_files_only=True, trust_remote_code=False
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
