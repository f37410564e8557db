"""Dictionaries of every kind on disk, written once per session."""

from pathlib import Path

import pytest

from tests.tiny_dictionaries import write_multi, write_single

KINDS = ("resid_post", "attn_out", "mlp_out", "transcoder", "skip transcoder", "clt", "skip clt", "crosscoder")


def write_kind(root: Path, kind: str, *, dtype: str = "float32") -> Path:
    if kind in ("clt", "crosscoder"):
        return write_multi(root, kind, seed=3, dtype=dtype)  # type: ignore[arg-type]
    if kind == "skip clt":
        return write_multi(root, "clt", seed=4, affine=True, dtype=dtype)
    if kind == "skip transcoder":
        return write_single(root, "transcoder_all", 2, affine=True, seed=5, dtype=dtype)
    return write_single(root, kind, 1, seed=6, dtype=dtype)


@pytest.fixture(scope="session")
def folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    root = tmp_path_factory.mktemp("dictionaries")
    return {kind: write_kind(root, kind) for kind in KINDS}


@pytest.fixture(scope="session")
def narrow_folders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The same in bfloat16."""
    root = tmp_path_factory.mktemp("narrow")
    return {kind: write_kind(root, kind, dtype="bfloat16") for kind in KINDS}
