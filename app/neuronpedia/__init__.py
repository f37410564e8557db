"""Neuronpedia's wires: what its clients, notebooks and web application speak, mapped onto this house."""
