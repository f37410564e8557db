"""Texts to start with, for those who have none at hand."""

from typing import NamedTuple


class Example(NamedTuple):
    name: str
    text: str


EXAMPLES = (
    Example("two capitals", "The capital of France is Paris, and the capital of Japan is"),
    Example("a little code", "def fibonacci(n):\n    return n if n < 2 else fibonacci(n - 1) +"),
    Example("four scripts", "Die Katze saß auf der Matte. القطة جلست على الحصيرة. 猫坐在垫子上。🐈"),
)
