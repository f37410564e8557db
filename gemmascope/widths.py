"""How widths are written: powers of two from 1024 on by their thousands (16384 is 16k, 262144 is 262k, 1048576 is 1m),
every other number in digits."""

from gemmascope.errors import UnknownName

_NAMES = {
    1 << bits: f"{(1 << bits) // 1000}k" if bits < 20 else f"{(1 << bits) // 1_000_000}m" for bits in range(10, 30)
}
_NUMBERS = {name: number for number, name in _NAMES.items()}


def width_name(width: int) -> str:
    """16384 -> "16k"."""
    if width < 1:
        raise UnknownName(f"A dictionary has at least one feature; its width cannot be {width}.")
    return _NAMES.get(width) or str(width)


def width_of(name: str) -> int:
    """ "16k" -> 16384."""
    if name in _NUMBERS:
        return _NUMBERS[name]
    if name.isascii() and name.isdecimal() and len(name) < 10 and name[0] != "0" and int(name) not in _NAMES:
        return int(name)
    raise UnknownName(f"{name[:40]!r} is no width; widths are written like 512, 4k, 16k, 65k, 262k or 1m.")
