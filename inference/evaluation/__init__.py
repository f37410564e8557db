"""How good a dictionary is, measured on a stated text: what fires, what is explained, what splicing it in costs.

`text` gives passages, `sums` and `density` are what figures are made of and merge, `measure` and `splice` work on one
batch, `run` goes over the text, `card` is the result.
"""
