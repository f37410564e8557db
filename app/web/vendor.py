"""Put the browser code that `package.json` pins into `static/vendor/`, checked, with its version in its name.

`npm ci` has verified the package against the lock file's sha512 when it unpacked it. This step makes sure that what
is unpacked is the locked version, and copies the few files that pages use. Nothing of it is committed.
"""

import json
import shutil
import sys
from pathlib import Path

from inference.errors import GemlensError

ROOT = Path(__file__).parents[2]

FILES = {"htmx.org": ("dist/htmx.min.js",), "plotly.js-basic-dist-min": ("plotly-basic.min.js",)}
"""Package -> the files of it that pages use."""


class VendorError(GemlensError):
    """Third-party browser code is missing or is not what the lock file says."""


def vendor(*, root: Path = ROOT) -> list[Path]:
    """Copy every listed file to `static/vendor/NAME-VERSION.EXT`; other files there are removed."""
    locked = json.loads((root / "package-lock.json").read_text(encoding="utf-8"))["packages"]
    target = root / "static" / "vendor"
    target.mkdir(parents=True, exist_ok=True)
    written = []
    for package, files in FILES.items():
        entry = locked.get(f"node_modules/{package}")
        if entry is None or not entry.get("integrity", "").startswith("sha512-"):
            raise VendorError(
                f"package-lock.json has no sha512 for {package}; run `npm install` and commit the lock file."
            )
        folder = root / "node_modules" / package
        _check_installed(package, entry, folder=folder, modules=root / "node_modules")
        for file in files:
            source = folder / file
            stem, dot, extension = source.name.partition(".")
            copy = target / f"{stem}-{entry['version']}{dot}{extension}"
            shutil.copyfile(source, copy)
            written.append(copy)
    for stale in set(target.iterdir()) - set(written):
        stale.unlink()
    return written


def _check_installed(package: str, entry: dict[str, str], *, folder: Path, modules: Path) -> None:
    manifest = folder / "package.json"
    hidden = modules / ".package-lock.json"
    if not manifest.is_file() or not hidden.is_file():
        raise VendorError(f"{package} is not installed; run `npm ci --ignore-scripts` first.")
    version = json.loads(manifest.read_text(encoding="utf-8"))["version"]
    installed = json.loads(hidden.read_text(encoding="utf-8"))["packages"].get(f"node_modules/{package}", {})
    if version != entry["version"] or installed.get("integrity") != entry["integrity"]:
        raise VendorError(
            f"node_modules holds another {package} ({version}) than package-lock.json ({entry['version']}); "
            "run `npm ci --ignore-scripts`."
        )


def main() -> None:
    try:
        for path in vendor():
            sys.stdout.write(f"{path.relative_to(ROOT)}\n")
    except VendorError as error:
        sys.exit(str(error))


if __name__ == "__main__":
    main()
