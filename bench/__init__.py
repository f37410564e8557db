"""The numbers in the README, each by a command: `make bench`, or `python -m bench NAME…` for some of them.

Every figure is printed as one line of JSON with its bound, whether it holds, and the machine. Speed is a ratio of two
things measured in one run, or a time that a person waits; it is never asserted in a test.
"""
