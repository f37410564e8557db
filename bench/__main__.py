"""`python -m bench [NAME…]`: run the benchmarks of these modules, or all."""

import importlib
import os
import sys

MODULES = (
    "foundation", "training", "harvest", "precision", "loading", "harvest_to_search", "search", "api",
    "pages", "browser", "live",
)  # fmt: skip


def main() -> None:
    # What the engine's process sets for itself holds for the bare passes beside it too.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    os.environ.setdefault("KMP_BLOCKTIME", "0")
    chosen = sys.argv[1:] or MODULES
    if unknown := set(chosen) - set(MODULES):
        sys.exit(f"There is no benchmark {', '.join(sorted(unknown))}. There are {', '.join(MODULES)}.")
    for name in chosen:
        for figure in importlib.import_module(f"bench.{name}").figures():
            sys.stdout.write(figure.line() + "\n")
            sys.stdout.flush()


if __name__ == "__main__":
    main()
