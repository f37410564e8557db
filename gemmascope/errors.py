"""The one error of this package."""


class UnknownName(ValueError):
    """A name that leads nowhere. The message is a sentence for whoever gave it; `nearest` are names that exist."""

    def __init__(self, sentence: str, *, nearest: tuple[str, ...] = ()) -> None:
        self.nearest = nearest
        self.sentence = sentence
        super().__init__(f"{sentence} Nearest: {', '.join(nearest)}." if nearest else sentence)
