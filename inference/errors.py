"""What can go wrong for reasons that lie outside the code. The message is the sentence a person reads."""


class GemlensError(Exception):
    """Says what was wrong and what would be right."""


class BadInput(GemlensError):
    """What was given cannot be used."""


class NotFound(GemlensError):
    """What was named does not exist; the sentence names the nearest that do."""


class Unavailable(GemlensError):
    """It exists, and cannot be had now."""
