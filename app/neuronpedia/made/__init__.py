"""Neuronpedia's web API, `/api/…`: what people make (vectors, lists, stars) and what is installed."""
