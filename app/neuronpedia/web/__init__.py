"""The web API for reading: features, activations, searches, tokens. What people make through it is `made`."""
