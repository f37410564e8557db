"""Where on the hub a dictionary is, from its location."""


def place(location: str | None) -> tuple[str, str] | None:
    """Repository and folder of `hf:owner/repo/folder@revision`; None for what is not from the hub."""
    kind, _, rest = (location or "").partition(":")
    parts = rest.partition("@")[0].split("/", 2)
    return ("/".join(parts[:2]), parts[2]) if kind == "hf" and len(parts) == 3 else None
