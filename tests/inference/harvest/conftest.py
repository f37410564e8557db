from pathlib import Path

import pytest

from inference.harvest.corpus import Corpus
from inference.harvest.shard import Source
from tests.inference.harvest.made import make_corpus, make_sources, random_passages


@pytest.fixture(scope="session")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    return make_corpus(tmp_path_factory.mktemp("corpus") / "corpus", random_passages(38))


@pytest.fixture(scope="session")
def sources(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Source]:
    return make_sources(tmp_path_factory.mktemp("dictionaries"))


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "harvest"
