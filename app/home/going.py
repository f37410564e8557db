"""Where the one box leads: an unmistakable text to the live page, everything else to the search, which tells the rest
apart (names, links, tokens, words, short texts)."""

import re

TEXT_WORDS = 12
SENTENCE_WORDS = 4
"""A full stop behind so many words makes a sentence; a question mark does not, since people ask searches."""
_STOPPED = re.compile(r"[.!…。！][\"'”’)\]]?$", re.UNICODE)
_ENDED = re.compile(r"[.!?…。！？][\"'”’)\]]?\s", re.UNICODE)


def is_text(written: str, *, longest: int) -> bool:
    """Whether this is a text for the model and nothing that one would look for: it has lines, or many words, or
    is a sentence or several, or is longer than a search may be."""
    stripped = written.strip()
    if len(stripped) > longest - 10:
        return True
    if stripped.startswith(("text:", "token:", "http://", "https://", '"')):
        return "\n" in stripped and not stripped.startswith(("text:", "token:"))
    words = len(stripped.split())
    sentence = words >= SENTENCE_WORDS and bool(_STOPPED.search(stripped))
    return "\n" in stripped or words >= TEXT_WORDS or sentence or bool(_ENDED.search(stripped))
