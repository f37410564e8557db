"""In and out of other people's formats. `gemlens import` and `gemlens export` are in `commands.py`."""
