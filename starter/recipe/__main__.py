"""The starter suite again, from nothing: `make starter`, or step by step with `--only`.

    gather      text of Debian packages (packages.txt), never committed
    sample      text that the model writes by itself
    pack        both as one table of token ids
    train       the banks of cpu.json or gpu.json; stopped at any moment it goes on at the same step
    evaluate    quality cards on the held-out text, of a kind that was not trained on
    dashboards  numbers, labels and examples of every feature on the text that the model wrote

Each step leaves its result in the work folder, and one whose result is there is not done again. `--into FOLDER` copies
dictionaries, cards and dashboards to where the suite is committed.
"""

import argparse
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import torch

HERE = Path(__file__).parent
ROOT = HERE.parents[1]


@dataclass(frozen=True)
class Recipe:
    work: Path
    settings: dict[str, Any]
    home: Path
    model_path: str | None
    evaluated_tokens: int

    @property
    def model(self) -> str:
        return str(self.settings["model"])

    @property
    def sizes(self) -> dict[str, Any]:
        sizes: dict[str, Any] = self.settings["recipe"]
        return sizes

    @property
    def text(self) -> Path:
        return self.work / "text" / "train.parquet"

    @property
    def held_out(self) -> Path:
        return self.work / "text" / "heldout.parquet"

    @property
    def sampled(self) -> Path:
        return self.work / "sampled.npy"

    @property
    def tokens(self) -> Path:
        return self.work / "tokens.npy"

    @property
    def out(self) -> Path:
        return self.work / "suite"

    @property
    def cards(self) -> Path:
        return self.out / "quality.json"

    @property
    def dashboards(self) -> Path:
        return self.out / "dashboards"

    def folders(self) -> list[Path]:
        """Of the dictionaries that were trained, by name."""
        return sorted(path.parent for path in self.out.glob("*/layer_*/params.safetensors"))


def gather(recipe: Recipe) -> None:
    if not recipe.held_out.exists():
        python(str(HERE / "gather.py"), "--out", str(recipe.text.parent))


def sample(recipe: Recipe) -> None:
    if not recipe.sampled.exists():
        place = ["--model-path", recipe.model_path] if recipe.model_path else []
        rows, length = recipe.sizes["sampled_rows"], recipe.sizes["row_tokens"]
        gemlens(
            "sample", recipe.model, "--out", str(recipe.sampled), "--passages", str(rows), "--passage-tokens",
            str(length), "--home", str(recipe.home), *place,
        )  # fmt: skip


def pack(recipe: Recipe) -> None:
    if not recipe.tokens.exists():
        partial = recipe.tokens.with_name("packing.npy")
        python(
            str(HERE / "tokens.py"), "--model", str(checkpoint(recipe)), "--text", str(recipe.text), "--sampled",
            str(recipe.sampled), "--out", str(partial), "--length", str(recipe.sizes["row_tokens"]), "--share",
            str(recipe.sizes["text_share"]),
        )  # fmt: skip
        partial.rename(recipe.tokens)


def train(recipe: Recipe) -> None:
    if not (recipe.out / "report.json").exists():
        path = recipe.work / "config.json"
        path.write_text(json.dumps(training_config(recipe, checkpoint(recipe)), indent=1) + "\n")
        gemlens("train", str(path), "--home", str(recipe.home))


def evaluate(recipe: Recipe) -> None:
    """The transcoders once more with all of them in their places at once: what that costs stands on their cards."""
    if recipe.cards.exists():
        return
    cards = {}
    for kind in sorted({path.parent.name for path in recipe.folders()}):
        partial = recipe.cards.with_name(f".{kind}.json.partial")
        command = [
            sys.executable, "-m", "inference.evaluation",
            *(str(path) for path in recipe.folders() if path.parent.name == kind),
            "--model", recipe.model, "--model-path", str(checkpoint(recipe)), "--home", str(recipe.home),
            "--text", str(recipe.held_out), "--tokens", str(recipe.evaluated_tokens),
            "--passage-tokens", str(recipe.sizes["row_tokens"]),
            "--spliced-tokens", str(recipe.sizes["spliced_tokens"]),
            *(["--all-at-once"] if kind == "transcoder_all" else []),
        ]  # fmt: skip
        with partial.open("w") as file:
            subprocess.run(command, check=True, cwd=ROOT, stdout=file)
        measured = datetime.now(UTC).isoformat(timespec="seconds")
        found = json.loads(partial.read_text())
        cards |= {card["source"]: {"measured": measured, "figures": card} for card in found}
        partial.unlink()
    recipe.cards.write_text(json.dumps(cards, ensure_ascii=False) + "\n")


def dashboards(recipe: Recipe) -> None:
    if not recipe.dashboards.exists():
        python(
            str(HERE / "dashboards.py"), "--suite", str(recipe.out), "--model", str(checkpoint(recipe)),
            "--model-name", recipe.model, "--sampled", str(recipe.sampled), "--work", str(recipe.work / "harvest"),
            "--out", str(recipe.dashboards),
        )  # fmt: skip


STEPS: dict[str, Callable[[Recipe], None]] = {
    "gather": gather, "sample": sample, "pack": pack, "train": train, "evaluate": evaluate,
    "dashboards": dashboards,
}  # fmt: skip


def training_config(recipe: Recipe, model_folder: Path) -> dict[str, Any]:
    """What `gemlens train` is given: the recipe's settings with the places of this machine."""
    settings = {name: value for name, value in recipe.settings.items() if name != "recipe"}
    return {
        **settings,
        "checkpoint": str(model_folder),
        "source": {"kind": "tokens", "path": str(recipe.tokens)},
        "out": str(recipe.out),
    }


def copy_into(recipe: Recipe, folder: Path) -> None:
    for path in recipe.folders():
        target = folder / path.relative_to(recipe.out)
        shutil.rmtree(target, ignore_errors=True)
        shutil.copytree(path, target)
    shutil.copy(recipe.cards, folder / recipe.cards.name)
    shutil.rmtree(folder / recipe.dashboards.name, ignore_errors=True)
    shutil.copytree(recipe.dashboards, folder / recipe.dashboards.name)


def checkpoint(recipe: Recipe) -> Path:
    from inference.gemma.origin import find

    return find(recipe.model, home=recipe.home, model_path=recipe.model_path).folder


def python(*words: str) -> None:
    subprocess.run([sys.executable, *words], check=True, cwd=ROOT)


def gemlens(*words: str) -> None:
    python("-m", "app.cli", *words)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m starter.recipe", description=__doc__.split("\n")[0])
    parser.add_argument("--work", type=Path, default=Path("~/.cache/gemlens-starter").expanduser())
    parser.add_argument(
        "--config", type=Path, help="cpu.json or gpu.json beside this file; by the machine if not given"
    )
    parser.add_argument("--home", type=Path, default=Path("~/.gemlens").expanduser())
    parser.add_argument("--model-path", help="a folder of safetensors, a GGUF file, or hf:owner/name")
    parser.add_argument("--evaluated-tokens", type=int, default=65_536)
    parser.add_argument("--only", choices=STEPS, action="append", help="this step alone; repeatable")
    parser.add_argument("--into", type=Path, help="copy dictionaries, cards and dashboards to this folder at the end")
    given = parser.parse_args()
    config = given.config or HERE / ("gpu.json" if torch.cuda.is_available() else "cpu.json")
    given.work.mkdir(parents=True, exist_ok=True)
    recipe = Recipe(
        given.work.absolute(), json.loads(config.read_text()), given.home.absolute(), given.model_path,
        given.evaluated_tokens,
    )  # fmt: skip
    for name in given.only or STEPS:
        print(f"{name}: {recipe.work}", flush=True)
        STEPS[name](recipe)
    if given.into:
        copy_into(recipe, given.into)


if __name__ == "__main__":
    try:
        main()
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
