"""What others wrote is not always as it should be: each fault has its sentence, and is found before anything is
written; what can be read all the same is read."""

import gzip
import hashlib
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from app.db.database import Database
from app.exchange import bringing, files
from app.exchange.given import GivenFeature
from app.exchange.neuronpedia_in import NeuronpediaFolder
from app.exchange.opening import readers
from app.exchange.own import OwnLines
from app.exchange.saedashboard import DashboardFiles
from app.exchange.vocabulary import Vocabulary
from app.store import labels, sources
from app.store.vocabulary import put_vocabulary
from inference.errors import BadInput, GemlensError, NotFound
from tests.app.world import VOCABULARY

MODEL, NAME = "gemma-3-270m", "9-x-res-64"
TEXTS = {text: id_ for id_, text in reversed(VOCABULARY)} | {f"<0x{byte:02X}>": 5000 + byte for byte in range(256)}


def feature(index: Any = 0, **more: Any) -> dict[str, Any]:
    return {"modelId": MODEL, "layer": NAME, "index": index, "maxActApprox": 4.0, "frac_nonzero": 0.01, **more}


def activation(index: Any = 0, **more: Any) -> dict[str, Any]:
    own = {"tokens": ["<bos>", " doctor", " nurse"], "values": [0, 4.0, 1.5]}
    return {"modelId": MODEL, "layer": NAME, "index": index, **own, **more}


def explanation(index: Any = 0, **more: Any) -> dict[str, Any]:
    return {"modelId": MODEL, "layer": NAME, "index": index, "description": "doctors", "typeName": "np_max-act", **more}


def write(folder: Path, **rows: list[dict[str, Any]]) -> Path:
    for name, some in rows.items():
        (folder / name).mkdir(parents=True, exist_ok=True)
        data = b"".join(json.dumps(row).encode() + b"\n" for row in some)
        (folder / name / "batch-0.jsonl.gz").write_bytes(gzip.compress(data))
    return folder


def read(folder: Path) -> tuple[list[GivenFeature], Counter[str]]:
    reader, noted = NeuronpediaFolder(folder), Counter[str]()
    reader.look()
    return [one for _, part in reader.features(Vocabulary(1, TEXTS), noted) for one in part], noted


def test_indexes_as_text_unknown_keys_and_missing_embeddings_are_read(tmp_path: Path) -> None:
    write(
        tmp_path,
        features=[feature("0", strange={"a": [1]}), feature(1)],
        activations=[activation("1", zIndices=[[1], [2]])],
        explanations=[explanation("1", embedding="[0.1,0.2]"), explanation(0)],
    )
    found, _ = read(tmp_path)
    assert [one.index for one in found] == [0, 1]
    assert [len(one.bands) for one in found] == [0, 1]
    assert [label.index for label in NeuronpediaFolder(tmp_path).labels()] == [1, 0]


def test_nul_characters_become_spaces(tmp_path: Path) -> None:
    write(
        tmp_path,
        features=[feature()],
        activations=[activation(tokens=["<bos>", "\0doctor"], values=[0, 1])],
        explanations=[explanation(description="a\0 b\0")],
    )
    found, noted = read(tmp_path)
    assert found[0].bands[0].examples[0].ids.tolist() == [2, 1000]
    assert sum(noted.values()) == 0
    assert [label.text for label in NeuronpediaFolder(tmp_path).labels()] == ["a b"]


def test_more_than_a_thousand_batches_are_all_read_in_order(tmp_path: Path) -> None:
    for name in ("features", "activations"):
        (tmp_path / name).mkdir()
    for number in range(1_100):
        data = json.dumps(feature(number)).encode()
        (tmp_path / "features" / f"batch-{number}.jsonl").write_bytes(data)
    (tmp_path / "activations" / "old").mkdir()
    found, _ = read(tmp_path)
    assert [one.index for one in found] == list(range(1_100))


@pytest.mark.parametrize("keep", [0.3, 0.7, 0.99])
def test_a_batch_that_was_cut_is_named(tmp_path: Path, keep: float) -> None:
    rows = [activation(number, values=np.random.default_rng(number).random(3).tolist()) for number in range(300)]
    write(tmp_path, features=[feature()], activations=rows)
    path = tmp_path / "activations" / "batch-0.jsonl.gz"
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * keep)])
    with pytest.raises(BadInput, match=r"activations/batch-0.jsonl.gz ends in the middle, after line \d+"):
        NeuronpediaFolder(tmp_path).look()


def test_a_batch_that_is_no_gzip_file_is_named(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "batch-0.jsonl.gz").write_bytes(b"<html>not found</html>")
    with pytest.raises(BadInput, match="is damaged, or no gzip file"):
        NeuronpediaFolder(tmp_path).look()


def test_a_line_without_end_is_refused_while_it_is_read(tmp_path: Path) -> None:
    path = tmp_path / "batch-0.jsonl.gz"
    with gzip.open(path, "wb", compresslevel=1) as file:
        file.write(b'{"index": 0, "description": "' + b"a" * (3 << 20))
    assert path.stat().st_size < 1 << 18
    with pytest.raises(BadInput, match="line 1 is longer than 1 MiB"):
        list(files.lines(path, longest=1 << 20))


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"features": [feature("third")]}, "line 1: 'third' is no feature's number"),
        ({"features": [feature(-1)]}, "'-1' is no feature's number"),
        ({"features": [feature(), feature(1, modelId="gpt2-small")]}, "is of model gpt2-small, and rows before it"),
        ({"features": [feature(), feature(1, layer="9-other")]}, "is of source 9-other, and rows before it"),
        ({"activations": [activation(values=[1.0])]}, "3 tokens and 1 values"),
        ({"activations": [{"index": 0, "tokens": "abc", "values": []}]}, r"expected array, got str, in tokens"),
        ({"features": [{"modelId": MODEL}]}, "missing required field index"),
    ],
)
def test_rows_that_cannot_be_are_named_with_their_line(tmp_path: Path, rows: Any, says: str) -> None:
    write(tmp_path, **rows)
    with pytest.raises(BadInput, match=says):
        NeuronpediaFolder(tmp_path).look()


def test_half_a_line_is_no_json(tmp_path: Path) -> None:
    (tmp_path / "features").mkdir()
    (tmp_path / "features" / "batch-0.jsonl").write_text(json.dumps(feature())[:-10])
    with pytest.raises(BadInput, match="line 1 is no JSON"):
        NeuronpediaFolder(tmp_path).look()


def test_numbers_that_json_does_not_have_are_left_empty(tmp_path: Path) -> None:
    write(tmp_path, features=[feature(pos_str=[" doctor", " nurse"], pos_values=[float("nan"), 2.0])])
    found, _ = read(tmp_path)
    assert found[0].facts["top_logits"] == [1001]


def test_strings_that_are_no_tokens_keep_their_text_and_are_counted(tmp_path: Path) -> None:
    strings = ["<bos>", " doctor nurse", "é", "☃", " nurse"]
    write(tmp_path, features=[feature()], activations=[activation(tokens=strings, values=[0, 1, 2, 3, 4])])
    found, noted = read(tmp_path)
    (example,) = found[0].bands[0].examples
    snow = [5000 + byte for byte in "☃".encode()]
    assert example.ids.tolist() == [2, 1000, 1001, TEXTS["é"], *snow, 1001]
    assert dict(zip(example.positions.tolist(), example.values.tolist(), strict=True)) == {1: 1, 3: 2, 4: 3, 7: 4}
    assert [sentence.format(n=count) for sentence, count in noted.items() if count] == [
        "2 token strings are no tokens of this vocabulary; their text was kept, written with other tokens"
    ]


def test_rows_that_come_twice_or_belong_to_nobody_are_counted(tmp_path: Path) -> None:
    write(
        tmp_path,
        features=[feature(), feature(maxActApprox=9.0)],
        activations=[activation(), activation(7), activation(values=[0, 0, 0])],
    )
    found, noted = read(tmp_path)
    assert found[0].facts["peak"] == 4.0
    assert sorted(sentence.format(n=count).split(" ")[0] for sentence, count in noted.items() if count) == ["1"] * 3


def test_places_with_nothing_in_them(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="There is nothing at"):
        readers(tmp_path / "none")
    (tmp_path / "empty").mkdir()
    with pytest.raises(BadInput, match=r"is empty\. What can be imported is"):
        readers(tmp_path / "empty")
    (tmp_path / "empty" / "a.txt").write_text("hello")
    with pytest.raises(BadInput, match="nothing in it that can be imported"):
        readers(tmp_path / "empty")
    with pytest.raises(BadInput, match="none of the files"):
        readers(tmp_path / "empty" / "a.txt")
    (tmp_path / "hollow" / "features").mkdir(parents=True)
    with pytest.raises(BadInput, match="has no batches"):
        readers(tmp_path / "hollow")[0].look()


async def bring(database: Database, reader: Any, **asked: Any) -> bringing.Done:
    found = reader.look()
    planned = await bringing.plan(database, found, **({"model": None, "source": None} | asked))
    return await bringing.bring(database, reader, found, planned)


async def test_another_model_or_width_is_refused_before_anything_is_written(database: Database, tmp_path: Path) -> None:
    write(tmp_path / "a", features=[feature(63)])
    with pytest.raises(GemlensError, match="No vocabulary of gemma-3-270m is known here yet"):
        await bring(database, NeuronpediaFolder(tmp_path / "a"))
    await put_vocabulary(database, VOCABULARY)
    with pytest.raises(BadInput, match="is of gemma-3-270m, and --model says gemma-3-1b"):
        await bring(database, NeuronpediaFolder(tmp_path / "a"), model="gemma-3-1b")
    write(tmp_path / "gpt", features=[feature(modelId="gpt2-small")])
    with pytest.raises(BadInput, match="model that Gemlens does not know"):
        await bring(database, NeuronpediaFolder(tmp_path / "gpt"))
    write(tmp_path / "deep", features=[feature(layer="99-x")])
    with pytest.raises(BadInput, match="begins with its layer, 0 to 17"):
        await bring(database, NeuronpediaFolder(tmp_path / "deep"))
    async with database.session() as session:
        assert await session.scalar(text("select count(*) from source")) == 0
    await bring(database, NeuronpediaFolder(tmp_path / "a"))
    write(tmp_path / "b", features=[feature(64)])
    with pytest.raises(BadInput, match=r"has 64 features, and .* has one numbered 64"):
        await bring(database, NeuronpediaFolder(tmp_path / "b"))


async def test_labels_alone_are_added_and_those_that_are_there_are_kept(database: Database, tmp_path: Path) -> None:
    write(tmp_path, explanations=[explanation(3), explanation(3, description="nurses", explanationModelName="a model")])
    done = await bring(database, NeuronpediaFolder(tmp_path))
    assert (done.labels, done.labels_kept, done.harvest_id) == (2, 0, None)
    done = await bring(database, NeuronpediaFolder(tmp_path))
    assert (done.labels, done.labels_kept) == (0, 2)
    async with database.session() as session:
        source = await sources.find(session, MODEL, NAME)
        found = await labels.of_feature(session, source.id, 3)
    assert {(label.text, label.method, label.author) for label in found} == {
        ("doctors", "np_max-act", None), ("nurses", "np_max-act", "a model")
    }  # fmt: skip


EXAMPLE = {"ids": [2, 1000], "positions": [1], "values": [4.0], "peak": 4.0, "position": 1}


def own(index: Any = 0, example: dict[str, Any] | None = None, **more: Any) -> dict[str, Any]:
    band = {"low": 4.0, "high": 4.0, "share": None, "examples": [EXAMPLE | (example or {})]}
    return {"index": index, "density": 0.1, "peak": 4.0, "mean": 1.0, "bands": [band], **more}


def lines(folder: Path, *rows: dict[str, Any], **manifest: Any) -> OwnLines:
    folder.mkdir(exist_ok=True)
    data = b"".join(json.dumps(row).encode() + b"\n" for row in rows)
    (folder / "features.jsonl.gz").write_bytes(gzip.compress(data))
    if manifest:
        (folder / "manifest.json").write_text(json.dumps({"model": MODEL, "source": NAME, **manifest}))
    return OwnLines(folder / "features.jsonl.gz")


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ([own(3), own(2)], "feature 2 comes after feature 3"),
        ([own(example={"positions": [2]})], "has its values elsewhere"),
        ([own(example={"values": [9.0]})], "greater than its peak"),
        ([own(example={"ids": [2, -5]})], "expected int >= 0, in bands"),
        ([own(example={"positions": [1, 1], "values": [4.0, 4.0]})], "has its values elsewhere"),
        ([own(example={"values": [1e-60]})], "that are zero"),
        ([own(density=1.5)], "expected float <= 1.0, in density"),
        ([own(top_logits=[1, 2], top_logit_values=[0.5])], "top_logits and top_logit_values are not of the same"),
        ([], "has no features in it"),
    ],
)
def test_faulty_lines_of_our_own_are_named(tmp_path: Path, rows: list[dict[str, Any]], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        lines(tmp_path, *rows).look()


async def test_ids_of_another_vocabulary_and_numbers_too_great_are_refused(database: Database, tmp_path: Path) -> None:
    await put_vocabulary(database, VOCABULARY)
    with pytest.raises(BadInput, match="token ids of another vocabulary"):
        await bring(database, lines(tmp_path / "a", own(), tokenizer="ff" * 32))
    with pytest.raises(BadInput, match="has the token id 300,000, and the vocabulary of gemma-3-270m ends at"):
        await bring(database, lines(tmp_path / "c", own(example={"ids": [2, 300_000]}), tokens=5))
    with pytest.raises(BadInput, match="line 1: expected int <= 2147483647, in neighbours"):
        await bring(database, lines(tmp_path / "b", own(neighbours=[2**40], neighbour_cosines=[1.0]), tokens=5))
    assert await known(database) == []


async def test_saedashboard_s_files_come_in(database: Database, tmp_path: Path) -> None:
    tokenizer_id = await put_vocabulary(database, VOCABULARY)
    for number in range(2):
        items = [
            {
                "feature_index": number * 2 + place,
                "frac_nonzero": 0.02,
                "freq_hist_data_bar_heights": [9, 3],
                "freq_hist_data_bar_values": [1.0, 3.0],
                "logits_hist_data_bar_heights": [5, 6],
                "logits_hist_data_bar_values": [-1.0, 1.0],
                "pos_str": [" doctor"], "pos_values": [1.25], "neg_str": [" nurse"], "neg_values": [-1.0],
                "activations": [
                    {"tokens": ["<bos>", " doctor"], "values": [0.0, 4.0], "bin_min": -1, "bin_max": -1,
                     "bin_contains": -1},
                    {"tokens": ["<bos>", " nurse"], "values": [0.0, 1.5], "bin_min": 0, "bin_max": 2,
                     "bin_contains": 0.75},
                ],
            }
            for place in range(2)
        ]  # fmt: skip
        batch = {"model_id": MODEL, "layer": 9, "sae_set": "x-res-64", "sae_id_suffix": None, "features": items}
        (tmp_path / f"batch-{number}.json").write_text(json.dumps(batch))
    done = await bring(database, DashboardFiles(tmp_path))
    assert (done.features, done.examples, done.passages) == (4, 8, 2)
    async with database.session() as session:
        source = await sources.find(session, MODEL, NAME)
        assert source.harvest is not None
        assert source.harvest.tokenizer_id == tokenizer_id
        from app.store import features

        shown = (await features.examples(session, source.harvest, [3]))[3]
        detail = await features.detail(session, source.harvest.id, 3)
    assert [(band.band, band.low, band.high, band.share) for band in shown] == [(0, 4, 4, None), (1, 0, 2, 0.75)]
    assert detail is not None
    assert (detail.histogram.sum(), detail.logit_low, detail.logit_high) == (12, -2.0, 2.0)


async def known(database: Database) -> list[str]:
    async with database.session() as session:
        return list(await session.scalars(text("select name from source union all select name from source_set")))


@pytest.mark.parametrize("strange", ["a\0b", "a\ud800b"])
async def test_no_string_that_the_database_does_not_take_comes_through(
    database: Database, tmp_path: Path, strange: str
) -> None:
    await put_vocabulary(database, VOCABULARY)
    label = explanation(0, description=strange, typeName=strange, explanationModelName=strange, id="1")
    score = {"explanationId": "1", "explanationScoreTypeName": strange, "explanationScoreModelName": strange}
    details = json.dumps({strange: [strange]})
    write(
        tmp_path / "np",
        features=[feature(pos_str=[strange], pos_values=[1.0])],
        activations=[activation(dataSource=strange, tokens=["<bos>", strange, "\ud800"])],
        explanations=[label],
        explanation_scores=[{**score, "value": 0.5, "jsonDetails": details}],
    )
    done = await bring(database, NeuronpediaFolder(tmp_path / "np"))
    assert (done.labels, done.scores, done.examples) == (1, 1, 1)
    given = {"text": strange, "method": strange, "author": strange, "version": strange}
    scores = [{"method": strange, "author": strange, "value": 0.5, "details": {strange: strange}}]
    reader = lines(tmp_path / "own", own(labels=[{**given, "scores": scores}]), source="9-y-res-64", texts=strange)
    done = await bring(database, reader)
    async with database.session() as session:
        source = await sources.find(session, MODEL, "9-y-res-64")
        (stored,) = await labels.of_feature(session, source.id, 0)
    kept = strange.replace("\0", " ").replace("\ud800", "\ufffd")
    assert (stored.text, stored.method, stored.author, stored.version) == (kept, kept, kept, kept)


@pytest.mark.parametrize("name", ["9-np/../x", "9-a b", "9-<b>", "9", "9-é", "٩-x"])
async def test_a_name_that_no_source_can_have_is_refused(database: Database, tmp_path: Path, name: str) -> None:
    await put_vocabulary(database, VOCABULARY)
    with pytest.raises(BadInput, match="is no source of gemma-3-270m"):
        await bring(database, NeuronpediaFolder(write(tmp_path, features=[feature(layer=name)])))
    assert await known(database) == []


@pytest.mark.parametrize(
    ("rows", "says"),
    [
        ({"activations": [activation(values=[0, 1e60, 1])]}, r"line 1: expected float <= 1e\+38, in values"),
        ({"features": [feature(topkCosSimIndices=[10**12], topkCosSimValues=[1])]}, "<= 2147483647, in topkCos"),
        ({"features": [feature(maxActApprox=1e39)]}, "in maxActApprox"),
        ({"features": [feature(frac_nonzero=1.5)]}, r"expected float <= 1.0, in frac_nonzero"),
        ({"activations": [activation(tokens=["a"] * 40_000, values=[1.0] * 40_000)]}, "at most 32,767 make one"),
    ],
)
def test_numbers_without_room_are_found_in_the_look(tmp_path: Path, rows: Any, says: str) -> None:
    with pytest.raises(BadInput, match=says):
        NeuronpediaFolder(write(tmp_path, **rows)).look()


@pytest.mark.filterwarnings("error")
async def test_what_fails_while_it_is_stored_leaves_no_source_behind(database: Database, tmp_path: Path) -> None:
    await put_vocabulary(database, VOCABULARY)
    reader = lines(tmp_path, own(), own(1, labels=[{"text": "doctors", "method": "human"}]), tokens=5)
    found = reader.look()
    planned = await bringing.plan(database, found, model=None, source=None)

    def failing(*_: Any) -> Any:
        raise BadInput("This cannot be kept.")

    reader.labels = failing  # type: ignore[method-assign]
    with pytest.raises(BadInput, match="cannot be kept"):
        await bringing.bring(database, reader, found, planned)
    assert await known(database) == []
    async with database.session() as session:
        assert await session.scalar(text("select count(*) from feature_stat")) == 0


async def test_files_that_are_not_those_of_the_manifest_are_refused(tmp_path: Path) -> None:
    folder = write(tmp_path, features=[feature(), feature(1)], activations=[activation()])
    files_ = {
        path.relative_to(folder).as_posix(): {
            "bytes": path.stat().st_size, "sha256": hashlib.sha256(path.read_bytes()).hexdigest()
        }
        for path in folder.rglob("*.gz")
    }  # fmt: skip
    manifest = {"model": MODEL, "source": NAME, "files": files_}
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert NeuronpediaFolder(folder).look().features == 2
    (folder / "manifest.json").write_text(json.dumps({**manifest, "features": 3}))
    with pytest.raises(BadInput, match=r"has 2 features, and its manifest.json counts 3"):
        NeuronpediaFolder(folder).look()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    write(folder, features=[feature()])
    with pytest.raises(BadInput, match=r"features/batch-0.jsonl.gz in .* is not the file that .*manifest.json lists"):
        NeuronpediaFolder(folder).look()
    write(folder, features=[feature(), feature(1)])
    (folder / "activations" / "batch-0.jsonl.gz").unlink()
    with pytest.raises(BadInput, match=r"manifest.json lists activations/batch-0.jsonl.gz, which is not there"):
        NeuronpediaFolder(folder).look()
    files_own = {"features.jsonl.gz": {"bytes": 5, "sha256": "00"}}
    with pytest.raises(BadInput, match=r"features.jsonl.gz in .* was changed"):
        lines(tmp_path / "own", own(), files=files_own).look()
