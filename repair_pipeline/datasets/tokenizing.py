"""Texts as the tensors of a tokenizer of the transformers library."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from torch import Tensor

from repair_pipeline.errors import InputError, one_line
from repair_pipeline.extras import package


class Tokenizer:
    """Token ids, attention mask and whatever else the tokenizer gives for a text, padded to one length.

    Args:
        folder: of the tokenizer, as ``save_pretrained`` writes it. Nothing is downloaded, and no code in it is run.
        max_length: tokens that are kept of a text; None: as many as the longest of ``texts`` has, if the tokenizer's
            own limit allows.
        texts: the training texts.

    Raises:
        InputError: transformers is not installed, or the folder holds no tokenizer.
    """

    def __init__(self, folder: Path, max_length: int | None, texts: Sequence[str]) -> None:
        transformers = package("transformers", "transformers", "dataset.tokenizer")
        if not folder.is_dir():
            raise InputError(f"{folder} is not a folder: give dataset.tokenizer the folder of a saved tokenizer")
        try:
            self._tokenizer = transformers.AutoTokenizer.from_pretrained(
                str(folder), local_files_only=True, trust_remote_code=False
            )
        except Exception as error:  # transformers raises whatever its readers raise
            raise InputError(f"dataset.tokenizer: {folder} holds no tokenizer ({one_line(error)})") from error
        if self._tokenizer.pad_token is None:
            # Models of text generation often have none; the attention mask hides the padding.
            self._tokenizer.pad_token = self._tokenizer.eos_token
        longest = max(len(ids) for ids in self._tokenizer(list(texts), verbose=False)["input_ids"])
        self._length = max_length or min(longest, self._tokenizer.model_max_length)

    def __call__(self, text: str) -> Mapping[str, Tensor]:
        """The tensors of one text, by the names of the model's arguments."""
        encoded = self._tokenizer(
            text, padding="max_length", truncation=True, max_length=self._length, return_tensors="pt"
        )
        return {name: tensor[0] for name, tensor in encoded.items()}
