"""Whether the tokenizer keeps its promises: texts come back as they were, with one BOS however a prompt is given."""

from collections.abc import Iterator

from inference.engine.checkup.asked import Told
from inference.engine.checkup.patient import Patient
from inference.engine.checkup.sample import ODD, TEXTS, Said
from inference.gemma.tokens import Tokenizer


def check_tokenizer(patient: Patient) -> Iterator[Told]:
    if patient.checkpoint is None:
        yield Told("ok", "Not looked at, because the model is not here.")
        return
    tokenizer = Tokenizer.from_folder(patient.checkpoint.folder)
    remedy = f"tokenizer.json in {patient.checkpoint.folder} is damaged or not Gemma's; fetch the model again."
    for text in (*TEXTS, ODD):
        back = "".join(tokenizer.pieces(tokenizer.encode(text))).removeprefix("<bos>")
        if back != text:
            yield Told("error", f"{_start(text)} comes back from the tokenizer as {_start(back)}: {remedy}")
            return
    chat = tokenizer.encode_turns([Said(TEXTS[0])])
    for ids in (tokenizer.encode(TEXTS[0]), tokenizer.encode(f"<bos>{TEXTS[0]}"), chat):
        if ids[0] != tokenizer.bos or ids.count(tokenizer.bos) != 1:
            found = ids.count(tokenizer.bos)
            yield Told("error", f"A prompt has {found} BOS tokens where one at the beginning is right: {remedy}")
            return
    yield Told("ok", f"{tokenizer.vocabulary:,} tokens; texts come back as they were, with exactly one BOS.")


def _start(text: str) -> str:
    return repr(text if len(text) <= 40 else f"{text[:40]}…")
