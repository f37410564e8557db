"""One box: features found by meaning, by words, by token, by a text that they fire on, and by name."""
