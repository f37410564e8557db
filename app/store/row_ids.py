"""Ids of rows as Neuronpedia's formats want them: made from what a row is of.

So the same example or label has the same id in a file, in an answer, and on whichever server holds it.
"""

import hashlib

CREATOR = "clkht01d40000jv08hvalcvly"
"""Neuronpedia's own, whom its pages show."""


def row_id(model: str, source: str, index: int, *what: str) -> str:
    """Of something that belongs to a feature."""
    return digest(model, source, str(index), *what)


def digest(*what: str) -> str:
    data = "\0".join(what).encode(errors="replace")
    return "gl" + hashlib.blake2b(data, digest_size=11).hexdigest() + "x"
