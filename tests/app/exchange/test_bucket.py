"""Files of a bucket: every page of the list, every file once, nothing that is cut."""

from pathlib import Path

import pytest

from app.exchange import bucket
from inference.errors import BadInput, NotFound, Unavailable
from tests.app.exchange.bucket_standin import serving

PREFIX = "v1/gemma-3-270m/9-x-res-64/"


def silent(_: str) -> None:
    pass


def filled(folder: Path, files: int = 8) -> dict[str, bytes]:
    given = {f"features/batch-{number}.jsonl.gz": bytes([number]) * 50 for number in range(files)}
    given |= {"source.jsonl": b"{}\n", "activations/batch-0.jsonl.gz": b"a", "activations/old/batch-0.jsonl.gz": b"b"}
    for name, data in given.items():
        path = folder / PREFIX / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return given


@pytest.fixture
def home(tmp_path: Path) -> Path:
    return tmp_path / "home"


def test_every_page_of_the_list_is_read_and_sub_folders_are_left(tmp_path: Path, home: Path) -> None:
    given = filled(tmp_path / "s3")
    with serving(tmp_path / "s3") as (base, seen):
        folder = bucket.fetch(base, PREFIX, home, tell=silent)
        for name, data in given.items():
            if "old" not in name:
                assert (folder / name).read_bytes() == data
        assert not (folder / "activations" / "old").exists()
        assert len([path for path in seen.asked if "list-type" in path]) == 4
        seen.asked.clear()
        bucket.fetch(base, PREFIX, home, tell=silent)
        assert all("list-type" in path for path in seen.asked), "what was fetched is not fetched again"
        (tmp_path / "s3" / PREFIX / "source.jsonl").write_bytes(b"{} \n")
        bucket.fetch(base, PREFIX, home, tell=silent)
        assert (folder / "source.jsonl").read_bytes() == b"{} \n"


def test_where_nothing_is_or_nobody_answers_a_sentence_says_so(tmp_path: Path, home: Path) -> None:
    filled(tmp_path / "s3")
    with serving(tmp_path / "s3") as (base, _), pytest.raises(NotFound, match="no files under v1/gemma-3-270m/1-none/"):
        bucket.fetch(base, "v1/gemma-3-270m/1-none/", home, tell=silent)
    with pytest.raises(Unavailable, match="cannot be reached"):
        bucket.fetch(base, PREFIX, home, tell=silent)


@pytest.mark.parametrize(
    ("where", "model", "source"),
    [
        ("http://host/v1/gemma-3-270m/9-x-res-64", None, None),
        ("http://host/v1/gemma-3-270m/9-x-res-64/", None, None),
        ("http://host", "gemma-3-270m", "9-x-res-64"),
    ],
)
def test_an_address_names_a_source_s_folder(where: str, model: str | None, source: str | None) -> None:
    assert bucket.parse(where, model=model, source=source) == ("http://host", PREFIX)


def test_the_public_bucket_has_a_short_name() -> None:
    assert bucket.parse("neuronpedia:gemma-3-270m/9-x-res-64", model=None, source=None)[1] == PREFIX


@pytest.mark.parametrize("where", ["http://host", "http://host/v1/gemma", "http://host/v1/../9-x", "neuronpedia:"])
def test_an_address_that_names_none_is_refused(where: str) -> None:
    with pytest.raises(BadInput, match="does not name a source's folder"):
        bucket.parse(where, model=None, source=None)
