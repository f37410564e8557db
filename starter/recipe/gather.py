"""Gather the text that the starter suite is trained on, from Debian packages, as Parquet of (kind, package, text).

Nothing of it is committed: this file and `packages.txt` say how to get it again. Packages are downloaded with apt-get
and unpacked beside each other, never installed. Markup is stripped; documents are split at about 8,000 characters,
repeated ones dropped, each package is held to `--most-mib`, and the order is shuffled by a hash of the text.

    python starter/recipe/gather.py --out FOLDER
"""

import argparse
import gettext
import gzip
import hashlib
import html
import re
import subprocess
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

HERE = Path(__file__).parent
# Files are told apart by their endings; what has none is taken only from documentation folders.
PROSE = {".txt", ".text", ".rst", ".md", ".adoc", ".tex", ".info", ".sty", ".dict", ".page", ".xml", ".docbook"}
CODE = {".py", ".c", ".h", ".hpp", ".js", ".ts", ".go", ".rs", ".pl", ".pm", ".rb", ".java", ".m", ".sh", ".el", ".R"}
TAGS = re.compile(r"<(script|style)\b.*?</\1>|<!--.*?-->|<[^>]{1,2000}>", re.DOTALL | re.IGNORECASE)
ROFF_ESCAPES = re.compile(r"\\f(?:\[[^\]]*\]|\(..|.)|\\s[+-]?\d|\\[&%/,|^!:]|\\\*\(..|\\\*.")
ROFF_CHARACTERS = {
    r"\-": "-",
    r"\(aq": "'",
    r"\(dq": '"',
    r"\(bu": "•",
    r"\(em": "—",
    r"\(en": "–",
    r"\e": "\\",
    r"\ ": " ",
}
MARKUP = {".html", ".htm", ".xhtml", ".page", ".xml", ".docbook"}


def packages() -> list[tuple[str, str]]:
    """(kind, package) as listed."""
    lines = (HERE / "packages.txt").read_text(encoding="utf-8").splitlines()
    return [(kind, name) for kind, name in (line.split() for line in lines if line and not line.startswith("#"))]


def from_markup(text: str) -> str:
    text = html.unescape(TAGS.sub(" ", text))
    lines = (re.sub(r"[ \t\u00a0]+", " ", line).strip() for line in text.splitlines())
    return re.sub(r"\n{3,}", "\n\n", "\n".join(lines))


def from_roff(text: str) -> str:
    for escape, character in ROFF_CHARACTERS.items():
        text = text.replace(escape, character)
    kept = []
    for line in text.splitlines():
        if line.startswith((".", "'")):
            words = line[1:].split(None, 1)
            macro = words[0] if words else ""
            if macro in {"SH", "SS", "B", "I", "BR", "IR", "BI", "RB", "RI", "TP", "Nm", "Sh", "Fl", "Ar", "Nd"}:
                kept.append(words[1].replace('"', "") if len(words) > 1 else "")
            elif macro in {"PP", "P", "LP", "Pp", "sp"}:
                kept.append("")
        else:
            kept.append(line)
    return ROFF_ESCAPES.sub("", "\n".join(kept))


def from_catalogue(path: Path) -> str:
    """The translated sentences of a message catalogue."""
    with path.open("rb") as file:
        messages = gettext.GNUTranslations(file)._catalog  # type: ignore[attr-defined]
    return "\n".join(m for m in messages.values() if len(m) > 20)


def text_of(path: Path) -> str:
    """A file as plain text, or nothing when it is none."""
    name = path.name
    suffixes = [s for s in path.suffixes if s not in {".gz", ".dz"}]
    last = suffixes[-1] if suffixes else ""
    if last == ".mo":
        return from_catalogue(path)
    raw = gzip.decompress(path.read_bytes()) if name.endswith((".gz", ".dz")) else path.read_bytes()
    if b"\0" in raw[:4096]:
        return ""
    try:
        text = raw.decode("utf-8")
    except UnicodeDecodeError:
        return ""
    if "/man/" in str(path) and re.fullmatch(r"\.\d\w*", last):
        return from_roff(text)
    if last in MARKUP:
        return from_markup(text)
    if last in PROSE or last in CODE or "/fortunes/" in str(path) or "/games/fortunes" in str(path):
        return text
    return text if last == "" and "/doc/" in str(path) and name not in {"copyright", "changelog"} else ""


def documents(text: str, *, size: int = 8000) -> Iterator[str]:
    """Pieces of about `size` characters that end at a line's end."""
    piece: list[str] = []
    length = 0
    for line in text.splitlines(keepends=True):
        piece.append(line[:4000])
        length += len(piece[-1])
        if length >= size:
            yield "".join(piece)
            piece, length = [], 0
    if length > 200:
        yield "".join(piece)


def unpack(package: str, work: Path) -> Path | None:
    debs = work / "debs"
    debs.mkdir(parents=True, exist_ok=True)
    found = sorted(debs.glob(f"{package}_*.deb"))
    if not found:
        subprocess.run(["apt-get", "download", "-qq", package], cwd=debs, check=False, capture_output=True)
        found = sorted(debs.glob(f"{package}_*.deb"))
    if not found:
        return None
    folder = work / "files" / package
    if not folder.exists():
        folder.parent.mkdir(exist_ok=True)
        subprocess.run(["dpkg-deb", "-x", str(found[0]), str(folder)], check=True)
    return folder


def gather(kind: str, package: str, work: Path, most_bytes: int) -> tuple[str, str, list[str]]:
    folder = unpack(package, work)
    found: dict[bytes, str] = {}
    total = 0
    if folder is not None:
        files = [p for p in folder.rglob("*") if p.is_file() and not p.is_symlink() and p.stat().st_size < 30 << 20]
        files.sort(key=lambda p: hashlib.sha256(str(p.relative_to(folder)).encode()).digest())
        for path in files:
            try:
                text = text_of(path)
            except (OSError, EOFError, UnicodeError, ValueError):
                continue
            for document in documents(text):
                letters = sum(c.isalpha() for c in document[:2000])
                if letters > 0.5 * min(len(document), 2000):
                    key = hashlib.sha256(document.encode()).digest()
                    if key not in found:
                        found[key] = document
                        total += len(document.encode())
            if total > most_bytes:
                break
    return kind, package, list(found.values())


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--most-mib", type=int, default=8)
    options = parser.parse_args()
    options.out.mkdir(parents=True, exist_ok=True)
    jobs = packages()
    rows: list[tuple[bytes, str, str, str]] = []
    with ProcessPoolExecutor(2) as pool:
        futures = [pool.submit(gather, kind, name, options.out, options.most_mib << 20) for kind, name in jobs]
        for future in futures:
            kind, package, texts = future.result()
            size = sum(len(t.encode()) for t in texts) / 2**20
            print(f"{kind:14} {package:32} {len(texts):6} documents {size:7.1f} MiB", flush=True)
            rows += [(hashlib.sha256(t.encode()).digest(), kind, package, t) for t in texts]
    seen: set[bytes] = set()
    rows = [row for row in sorted(rows) if not (row[0] in seen or seen.add(row[0]))]  # type: ignore[func-returns-value]
    for part, chosen in (
        ("train", [r for r in rows if r[1] != "heldout"]),
        ("heldout", [r for r in rows if r[1] == "heldout"]),
    ):
        table = pa.table(
            {"kind": [r[1] for r in chosen], "package": [r[2] for r in chosen], "text": [r[3] for r in chosen]}
        )
        pq.write_table(table, options.out / f"{part}.parquet", compression="zstd", compression_level=19)


if __name__ == "__main__":
    main()
