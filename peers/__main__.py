"""`python -m peers [NAME…]`: the comparisons of these modules, or all, one line of JSON each."""

import importlib
import os
import sys

MODULES = ("saelens", "saedashboard")


def main() -> None:
    # threads that wait leave the processor to others
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    chosen = sys.argv[1:] or MODULES
    if unknown := set(chosen) - set(MODULES):
        sys.exit(f"There is no comparison {', '.join(sorted(unknown))}. There are {', '.join(MODULES)}.")
    for name in chosen:
        for figure in importlib.import_module(f"peers.{name}").figures():
            sys.stdout.write(figure.line() + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
