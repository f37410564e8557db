"""`gemlens sources` and `gemlens add`, from the call to the database and back."""

from pathlib import Path

import pytest

from app.catalogue.commands import add_source, list_sources
from app.settings import Settings
from inference.errors import NotFound
from tests.app.catalogue.facts import Facts, probing
from tests.app.catalogue.test_starter import write


def test_sources_are_listed_without_making_a_database(tmp_path: Path) -> None:
    rows = list_sources(Settings(home=tmp_path), "google/gemma-3-270m-pt", root=tmp_path)
    assert len(rows) == 732
    assert not any(row["installed"] for row in rows)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(NotFound, match="gemma-3-270m-it"):
        list_sources(Settings(home=tmp_path), "gpt2")


def test_the_starter_suite_is_listed_before_a_server_ran(tmp_path: Path) -> None:
    write(tmp_path / "starter" / "gemma-3-270m" / "transcoder_all" / "layer_3_width_64_l0_small_affine")
    rows = list_sources(Settings(home=tmp_path / "home"), "gemma-3-270m", root=tmp_path)
    (row,) = [row for row in rows if row["installed"]]
    assert (row["source"], row["site"], row["kind"], row["width"], row["declared_l0"]) == (
        "3-starter-transcoder-64", "mlp_in", "transcoder", 64, 20,
    )  # fmt: skip
    assert not [
        row for row in list_sources(Settings(home=tmp_path / "home"), "gemma-3-1b", root=tmp_path) if row["installed"]
    ]


def test_what_is_added_is_listed_as_installed(tmp_path: Path, database_url: str) -> None:
    settings = Settings(home=tmp_path, database_url=database_url)
    added = add_source(settings, "gemma-3-1b/13-gemmascope-2-res-16k", probe=probing(Facts()))
    assert added.sources == ("13-gemmascope-2-res-16k",)
    rows = list_sources(settings, "gemma-3-1b")
    assert [row["source"] for row in rows if row["installed"]] == ["13-gemmascope-2-res-16k"]


def test_many_folders_are_added_together_or_not_at_all(tmp_path: Path, database_url: str) -> None:
    settings = Settings(home=tmp_path, database_url=database_url)
    for name in ("a", "b"):
        (tmp_path / "run" / name).mkdir(parents=True)
        (tmp_path / "run" / name / "params.safetensors").touch()
    odd = Facts(findings=("Odd.",))
    added = add_source(settings, str(tmp_path / "run"), model="gemma-3-1b", probe=probing(odd))
    assert added.sources == ("13-a", "13-b")
    assert added.findings == ("13-a: Odd.", "13-b: Odd.")

    def fails_at_b(location: str, *, home: Path | None, offline: bool) -> Facts:
        if location.endswith("/b"):
            raise NotFound("gone")
        return Facts(sha256="ef" * 32)

    with pytest.raises(NotFound, match="gone"):
        add_source(settings, str(tmp_path / "run"), model="gemma-3-1b", probe=fails_at_b)
    assert [row["source"] for row in list_sources(settings, "gemma-3-1b") if row["installed"]] == ["13-a", "13-b"]
