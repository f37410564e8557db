"""python -m inference.evaluation: figures of dictionary folders as JSON, on a machine without anything else."""

import argparse
import json
import sys
from pathlib import Path

from inference.errors import GemlensError
from inference.evaluation.command import TOKENS, Asked, Wanted, run
from inference.evaluation.text import PASSAGE_TOKENS


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m inference.evaluation", description=__doc__)
    parser.add_argument("folders", nargs="+", type=Path, help="folders of dictionaries, all their layers")
    parser.add_argument("--model", default="gemma-3-270m")
    parser.add_argument("--model-path", help="a folder of safetensors, a GGUF file, or hf:owner/name")
    parser.add_argument("--home", type=Path, default=Path("~/.gemlens").expanduser())
    parser.add_argument("--text", type=Path)
    parser.add_argument("--sampled", type=int)
    parser.add_argument("--tokens", type=int, default=TOKENS)
    parser.add_argument("--spliced-tokens", type=int, help="losses on the first so many tokens alone")
    parser.add_argument("--passage-tokens", type=int, default=PASSAGE_TOKENS)
    parser.add_argument("--all-at-once", action="store_true")
    given = vars(parser.parse_args())
    folders: list[Path] = given.pop("folders")
    wanted = [Wanted("/".join(one.absolute().parts[-2:]), f"dir:{one.absolute()}", None) for one in folders]
    try:
        cards = run(Asked(**given), wanted)
    except GemlensError as error:
        sys.exit(str(error))
    json.dump(cards, sys.stdout, ensure_ascii=False)
    sys.stdout.write("\n")


if __name__ == "__main__":
    main()
