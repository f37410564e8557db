"""Dictionaries: reading, checking and writing them, and computing with them."""

from inference.dictionaries.dictionary import Dictionary, Part
from inference.dictionaries.location import open_dictionary
from inference.dictionaries.spec import DictionarySpec

__all__ = ["Dictionary", "DictionarySpec", "Part", "open_dictionary"]
