"""A text for the tiny model, long enough for one outlying token, and everything read from it."""

from pathlib import Path

import numpy as np
import pytest

from inference.evaluation.text import Text, read_text
from inference.gemma.model import Gemma
from tests.inference.evaluation.direct import Direct

WORDS = ["the", "in", "ing", "user", "model", "and", "of", "Ä", "x=1", "cat", "doctor", "\n", "their", "9", "🐈"]


@pytest.fixture(scope="session")
def text(tiny_gemma: Gemma, tmp_path_factory: pytest.TempPathFactory) -> Text:
    """Two documents, the second a chat: BOS and marks of turns stand in the middle of passages."""
    folder = tmp_path_factory.mktemp("text")
    draw = np.random.default_rng(0)
    words = [" ".join(draw.choice(WORDS, size=260)) for _ in range(2)]
    (folder / "a.txt").write_text(words[0])
    (folder / "b.txt").write_text(f"<start_of_turn>user\n{words[1][:300]}<end_of_turn>\n{words[1][300:]}")
    return read_text(folder, tokens=1_500, tokenizer=tiny_gemma.tokenizer, passage_tokens=60)


@pytest.fixture(scope="session")
def direct(tiny_folder: Path, text: Text) -> Direct:
    return Direct(tiny_folder, [row[row != 0].tolist() for row in text.passages])
