"""`/v1/…`, the wire of Neuronpedia's inference server, over the engine's protocol."""
