"""What people write: titles, descriptions, notes. Kept as written, as long as it is text that can be kept."""

from inference.errors import BadInput


def plain(text: str, *, what: str, most: int, least: int = 0) -> str:
    """The text without blanks around it, or what is wrong with it."""
    if "\x00" in text:
        raise BadInput(f"{what} holds a NUL character, which is no text. Leave it out.")
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{what} holds one half of a surrogate pair, which is no text. Leave it out.") from None
    kept = text.replace("\r\n", "\n").strip()
    if len(kept) > most:
        raise BadInput(f"{what} is {len(kept):,} characters long, and {most:,} is the most.")
    if len(kept) < least:
        raise BadInput(f"{what} is missing: write at least {least} character{'s' if least > 1 else ''}.")
    return kept
