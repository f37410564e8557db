import json
import re
from pathlib import Path

import pytest

from app.web.vendor import FILES, ROOT, VendorError, vendor


@pytest.fixture
def _one_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("app.web.vendor.FILES", {"htmx.org": ("dist/htmx.min.js",)})


def installed(root: Path, *, version: str = "4.0.1", integrity: str = "sha512-abc") -> Path:
    (root / "package-lock.json").write_text(
        json.dumps({"packages": {"node_modules/htmx.org": {"version": "4.0.1", "integrity": "sha512-abc"}}})
    )
    package = root / "node_modules" / "htmx.org"
    (package / "dist").mkdir(parents=True)
    (package / "package.json").write_text(json.dumps({"version": version}))
    (package / "dist" / "htmx.min.js").write_text("var htmx")
    (root / "node_modules" / ".package-lock.json").write_text(
        json.dumps({"packages": {"node_modules/htmx.org": {"version": version, "integrity": integrity}}})
    )
    return root


@pytest.mark.usefixtures("_one_package")
def test_the_file_carries_its_version_and_older_ones_go(tmp_path: Path) -> None:
    vendored = tmp_path / "static" / "vendor"
    vendored.mkdir(parents=True)
    (vendored / "htmx-3.0.0.min.js").write_text("old")
    vendor(root=installed(tmp_path))
    assert [path.name for path in vendored.iterdir()] == ["htmx-4.0.1.min.js"]
    assert (vendored / "htmx-4.0.1.min.js").read_text() == "var htmx"


@pytest.mark.usefixtures("_one_package")
@pytest.mark.parametrize("other", [{"version": "4.0.2"}, {"integrity": "sha512-other"}])
def test_another_package_than_the_locked_one_is_refused(tmp_path: Path, other: dict[str, str]) -> None:
    with pytest.raises(VendorError, match="npm ci"):
        vendor(root=installed(tmp_path, **other))


@pytest.mark.usefixtures("_one_package")
def test_a_missing_package_is_told_with_the_command_that_installs_it(tmp_path: Path) -> None:
    (installed(tmp_path) / "node_modules" / ".package-lock.json").unlink()
    with pytest.raises(VendorError, match="npm ci --ignore-scripts"):
        vendor(root=tmp_path)


def test_the_lock_file_pins_by_hash_and_names_no_address() -> None:
    text = (ROOT / "package-lock.json").read_text(encoding="utf-8")
    assert "resolved" not in text
    assert not re.search(r"https?://", text)
    packages = json.loads(text)["packages"]
    wanted = json.loads((ROOT / "package.json").read_text(encoding="utf-8"))["dependencies"]
    assert set(wanted) == set(FILES)
    for name, version in wanted.items():
        entry = packages[f"node_modules/{name}"]
        assert entry["version"] == version
        assert entry["integrity"].startswith("sha512-")
