"""Pages that are data too: with `.json` behind their address they give the object that they are drawn from.

They are what programs use for all that a page can do and Neuronpedia's APIs cannot; so no second set of routes is kept
beside them.
"""

from dataclasses import dataclass

from app.api.examples import Here


@dataclass(frozen=True)
class Twin:
    address: str
    about: str
    example: str | None
    """Below the server's address; None where one has to make something first."""
    forms: str = "JSON"


def twins(here: Here) -> tuple[Twin, ...]:
    model, source = here.model, here.source
    return (
        Twin(
            "/{model}/{source}/{index}.json",
            "A feature as its page shows it: labels with who or what wrote them, examples in bands of activation with "
            "the share of firings in each, statistics, logits, neighbours, and on which weights all that was counted.",
            f"/{model}/{source}/5.json",
        ),
        Twin(
            "/{model}/{source}/{index}/vector.json",
            "A feature's decoder direction, of unit length, and the length it has in the dictionary.",
            f"/{model}/{source}/5/vector.json",
            "JSON, .npy",
        ),
        Twin(
            "/{model}/{source}.json",
            "A source with its features, filtered and sorted as the page is (its query says how).",
            f"/{model}/{source}.json",
            "JSON, CSV, Parquet",
        ),
        Twin(
            "/{model}/live.json?text=…&source=…",
            "The strongest features at each token of a text, with L0 and the share left unexplained.",
            f"/{model}/live.json?text=The+capital+of+France+is+Paris.&source={source}",
        ),
        Twin(
            "/{model}/contrast.json",
            'Which features tell two sets of prompts apart: POST {"a": ["a prompt", …], "b": ["another", …]}. GET says '
            "what can be asked. Large sets are answered by 202 with the address of the result.",
            f"/{model}/contrast.json",
            "JSON; a result also CSV and Parquet",
        ),
        Twin(
            "/search.json?q=…",
            "Features by meaning, by words and by what they promote, with the way in which each was found.",
            "/search.json?q=European+capitals",
        ),
        Twin("/lists.json", "Lists of features; each list also by itself, and as a file to bring elsewhere.",
             "/lists.json", "JSON; a list also CSV"),
        Twin("/{model}/vectors.json", "Vectors of one's own; each also by itself.", f"/{model}/vectors.json",
             "JSON; a vector also .npy"),
        Twin("/s/{view}.json", "A saved view: what somebody looked at, computed again where it was live.", None),
        Twin("/jobs.json", "Long work, the newest first: how far it is and what it said.", "/jobs.json"),
        Twin("/training.json", "Trainings that were made here, with their curves.", "/training.json"),
        Twin("/{model}.json", "A model with its sources and how good each is.", f"/{model}.json"),
        Twin("/api/export/{model}/{source}/manifest.json",
             "A whole source as files: features with labels and examples, and what they were counted on.",
             f"/api/export/{model}/{source}/manifest.json", "JSON, JSON lines, CSV, Parquet"),
    )  # fmt: skip
