"""`python -m peers [NAME…]`: the comparisons of these modules, or all, one line of JSON each."""

import importlib
import sys

MODULES = ("saelens",)


def main() -> None:
    chosen = sys.argv[1:] or MODULES
    if unknown := set(chosen) - set(MODULES):
        sys.exit(f"There is no comparison {', '.join(sorted(unknown))}. There are {', '.join(MODULES)}.")
    for name in chosen:
        for figure in importlib.import_module(f"peers.{name}").figures():
            sys.stdout.write(figure.line() + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
