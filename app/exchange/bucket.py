"""Files of a public bucket, fetched into a home: listed page by page, each once, whole or not at all.

What was fetched stays in the home, so stopping and looking beforehand cost nothing twice. Names are checked before they
become paths.
"""

import hashlib
import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote, urlsplit
from xml.etree import ElementTree

import httpx2

from inference.errors import BadInput, NotFound, Unavailable

NEURONPEDIA = "https://neuronpedia-datasets.s3.us-east-1.amazonaws.com"
ROOT = "v1"
SHORT = "neuronpedia:"
LARGEST_PAGE = 16 << 20
WANTED = re.compile(
    r"(?:(?:features|activations|explanations|explanation_scores)/[\w.-]+\.jsonl(?:\.gz)?|[\w.-]+\.jsonl?)", re.ASCII
)
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Stored:
    key: str
    bytes: int
    tag: str


def is_address(where: str) -> bool:
    return where.startswith(("http://", "https://", SHORT))


def parse(where: str, *, model: str | None, source: str | None) -> tuple[str, str]:
    """The bucket's address and the prefix of a source's files."""
    if where.startswith(SHORT):
        base, path = NEURONPEDIA, f"{ROOT}/{where.removeprefix(SHORT).strip('/')}"
    else:
        parts = urlsplit(where)
        base, path = f"{parts.scheme}://{parts.netloc}", parts.path.strip("/")
    if len([part for part in path.split("/") if part]) < 3 and model and source:
        path = f"{ROOT}/{model}/{source}"
    pieces = path.split("/")
    if len(pieces) < 3 or not all(re.fullmatch(r"\w[\w.-]{0,119}", piece) for piece in pieces):
        raise BadInput(
            f"{where!r} does not name a source's folder in a bucket: {base}/{ROOT}/gemma-3-1b/13-gemmascope-2-res-16k "
            "would, or the bucket's address with --model and --source."
        )
    return base, path + "/"


def fetch(base: str, prefix: str, home: Path, *, client: httpx2.Client | None = None, tell: Tell) -> Path:
    """The folder in this home with all files under a prefix."""
    folder = home / "imports" / hashlib.sha256(base.encode()).hexdigest()[:12] / prefix.strip("/")
    with client or httpx2.Client(timeout=60.0, follow_redirects=True) as http:
        try:
            found = [one for one in listed(http, base, prefix) if WANTED.fullmatch(one.key.removeprefix(prefix))]
            if not found:
                raise NotFound(f"{base} has no files under {prefix}. Model and source are spelled as Neuronpedia does.")
            whole = sum(one.bytes for one in found)
            done = 0
            for number, one in enumerate(found, 1):
                _get(http, base, one, folder / one.key.removeprefix(prefix))
                done += one.bytes
                tell(f"Fetched {number:,} of {len(found):,} files, {done >> 20:,} of {whole >> 20:,} MiB.")
        except httpx2.HTTPError as error:
            raise Unavailable(f"{base} cannot be reached, or stopped answering: {error}.") from error
    return folder


def listed(http: httpx2.Client, base: str, prefix: str) -> Iterator[Stored]:
    """All files under a prefix, however many pages that takes."""
    token: str | None = None
    while True:
        asked = {"list-type": "2", "prefix": prefix} | ({"continuation-token": token} if token else {})
        answer = http.get(f"{base}/", params=asked)
        if answer.status_code != 200 or len(answer.content) > LARGEST_PAGE:
            raise Unavailable(f"{base} does not list its files: it answered {answer.status_code}.")
        if b"<!DOCTYPE" in answer.content[:1000] or b"<!ENTITY" in answer.content:
            raise Unavailable(f"{base} answers with a page instead of a list of files.")
        try:
            page = ElementTree.fromstring(answer.content)
        except ElementTree.ParseError as error:
            raise Unavailable(f"{base} does not list its files as a bucket does: {error}.") from None
        for item in page.iterfind("{*}Contents"):
            key = item.findtext("{*}Key") or ""
            yield Stored(key, int(item.findtext("{*}Size") or 0), item.findtext("{*}ETag") or "")
        token = page.findtext("{*}NextContinuationToken")
        if page.findtext("{*}IsTruncated") != "true" or not token:
            return


def _get(http: httpx2.Client, base: str, one: Stored, path: Path) -> None:
    note = path.with_name(path.name + ".tag")
    tag = f"{one.bytes} {one.tag}"
    if path.is_file() and note.is_file() and note.read_text(encoding="utf-8") == tag:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    with http.stream("GET", f"{base}/{quote(one.key)}") as answer:
        if answer.status_code != 200:
            raise Unavailable(f"{base}/{one.key} answered {answer.status_code}.")
        with part.open("wb") as file:
            for data in answer.iter_raw():
                file.write(data)
    if part.stat().st_size != one.bytes:
        raise Unavailable(f"{base}/{one.key} came with {part.stat().st_size:,} of {one.bytes:,} bytes. Try again.")
    part.replace(path)
    note.write_text(tag, encoding="utf-8")
