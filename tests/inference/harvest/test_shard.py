"""A shard against plain loops over dense features."""

from pathlib import Path

import pyarrow.parquet as parquet
import pytest
import torch

from inference.dictionaries.dictionary import Dictionary
from inference.errors import BadInput
from inference.gemma.model import Gemma
from inference.harvest.corpus import Corpus
from inference.harvest.folder import verified
from inference.harvest.plan import Plan, plan_for
from inference.harvest.shard import Source, run_shard
from tests.inference.harvest.made import PLAN, Expected, expected, make_corpus, rows_of
from tests.tiny_dictionaries import tiny_tensors, write_single

Run = tuple[Path, dict[str, tuple[list[Expected], dict[int, int], int]]]


@pytest.fixture(scope="module")
def run(tiny_gemma: Gemma, sources: dict[str, Source], corpus: Corpus, tmp_path_factory: pytest.TempPathFactory) -> Run:
    folder = tmp_path_factory.mktemp("shard") / "shard"
    run_shard(tiny_gemma, sources, corpus, range(PLAN.batches(corpus.passages)), plan=PLAN, folder=folder)
    return folder, {name: expected(tiny_gemma, source, corpus, PLAN) for name, source in sources.items()}


def test_counts_sums_and_histograms_are_those_of_plain_loops(run: Run) -> None:
    folder, by_hand = run
    for name, (features, _, _) in by_hand.items():
        rows = rows_of(parquet.read_table(folder / f"{name}.features.parquet"))
        assert len(rows) == len(features)
        assert any(one.count for one in features)
        for row, one in zip(rows, features, strict=True):
            assert (row["count"], row["sum"], row["histogram"]) == (one.count, one.units, one.histogram)


def test_tokens_that_a_feature_fires_on_are_counted_exactly(run: Run) -> None:
    folder, by_hand = run
    for name, (features, _, _) in by_hand.items():
        rows = rows_of(parquet.read_table(folder / f"{name}.tokens.parquet"))
        wanted = [
            {"index": index, "token": token, "sum": total}
            for index, one in enumerate(features)
            for token, total in sorted(one.tokens.items())
        ]
        assert rows == wanted


def test_features_that_fire_together_are_counted_on_the_chosen_tokens(run: Run) -> None:
    folder, by_hand = run
    for name, (features, _, _) in by_hand.items():
        rows = rows_of(parquet.read_table(folder / f"{name}.co_firing.parquet"))
        wanted = [
            {"index": index, "other": other, "count": count}
            for index, one in enumerate(features)
            for other, count in sorted(one.together.items())
        ]
        assert rows == wanted


def test_the_kept_examples_are_the_greatest_and_the_chosen_with_all_their_values(run: Run) -> None:
    folder, by_hand = run
    for name, (features, _, _) in by_hand.items():
        rows = rows_of(parquet.read_table(folder / f"{name}.examples.parquet"))
        wanted = []
        for index, one in enumerate(features):
            for passage in sorted(one.kept(index, PLAN)):
                peak, position = one.peak(passage)
                values = one.passages[passage]
                example = {"index": index, "passage": passage, "position": position, "peak": peak}
                wanted.append({**example, "positions": sorted(values), "values": [values[p] for p in sorted(values)]})
        assert rows == wanted


def test_the_manifest_tells_tokens_and_how_many_features_fire_on_each(run: Run) -> None:
    folder, by_hand = run
    manifest = verified(folder)
    for name, (_, l0, counted) in by_hand.items():
        assert manifest["tokens"] == counted
        assert {n: count for n, count in enumerate(manifest["l0"][name]) if count} == dict(l0)


def test_bos_and_the_header_of_a_chat_are_left_out(
    tiny_gemma: Gemma, sources: dict[str, Source], place: Path, tmp_path: Path
) -> None:
    header = tiny_gemma.tokenizer.encode("<start_of_turn>user\n")
    corpus = make_corpus(tmp_path / "corpus", [[*header, 120, 121, 2, 122, 123], [2, 130, 131, 132]])
    manifest = run_shard(tiny_gemma, sources, corpus, range(1), plan=PLAN, folder=place)
    left_out = tiny_gemma.tokenizer.untrained(header)
    assert manifest["tokens"] == len(header) - left_out + 4 + 3


def test_ranges_and_row_groups_change_nothing(
    tiny_gemma: Gemma, sources: dict[str, Source], corpus: Corpus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = {"1-res": sources["1-res"]}
    for name in ("wide", "narrow"):
        run_shard(tiny_gemma, one, corpus, range(3), plan=PLAN, folder=tmp_path / name)
        monkeypatch.setattr("inference.harvest.tables.RANGE", 7)
        monkeypatch.setattr("inference.harvest.pairs.PAIRS_AT_ONCE", 50)
    for kind in ("features", "tokens", "co_firing", "examples"):
        wide, narrow = (parquet.ParquetFile(tmp_path / name / f"1-res.{kind}.parquet") for name in ("wide", "narrow"))
        assert wide.read().equals(narrow.read())
        assert narrow.metadata.num_row_groups > wide.metadata.num_row_groups


def test_a_dictionary_that_never_fires_is_refused(
    tiny_gemma: Gemma, corpus: Corpus, place: Path, tmp_path: Path
) -> None:
    tensors = tiny_tensors()
    tensors["threshold"] = torch.full_like(tensors["threshold"], 1e6)
    silent = Source(Dictionary(write_single(tmp_path, "resid_post", 1, tensors=tensors)))
    with pytest.raises(BadInput, match="No feature of silent fires"):
        run_shard(tiny_gemma, {"silent": silent}, corpus, range(1), plan=PLAN, folder=place)
    assert not place.exists()
    manifest = run_shard(tiny_gemma, {"silent": silent}, corpus, range(1), plan=PLAN, folder=place, any_l0=True)
    assert manifest["l0"]["silent"][0] == manifest["tokens"]
    assert manifest["files"]["silent.examples.parquet"]["rows"] == 0


def test_a_dictionary_that_fires_on_everything_is_refused(
    tiny_gemma: Gemma, corpus: Corpus, place: Path, tmp_path: Path
) -> None:
    tensors = tiny_tensors()
    tensors["b_enc"] = tensors["b_enc"] + 1e4
    loud = Source(Dictionary(write_single(tmp_path, "resid_post", 1, tensors=tensors)))
    with pytest.raises(BadInput, match="fires 96 of its 96 features"):
        run_shard(tiny_gemma, {"loud": loud}, corpus, range(1), plan=PLAN, folder=place)


def test_a_dictionary_of_another_model_is_refused(
    tiny_gemma: Gemma, corpus: Corpus, place: Path, tmp_path: Path
) -> None:
    other = Source(Dictionary(write_single(tmp_path, "resid_post", 1, tensors=tiny_tensors(d_in=40))))
    with pytest.raises(BadInput, match="belongs to another model"):
        run_shard(tiny_gemma, {"other": other}, corpus, range(1), plan=PLAN, folder=place)


def test_no_source_and_no_such_batch_are_refused(
    tiny_gemma: Gemma, sources: dict[str, Source], corpus: Corpus, place: Path
) -> None:
    with pytest.raises(BadInput, match="at least one source"):
        run_shard(tiny_gemma, {}, corpus, range(1), plan=PLAN, folder=place)
    for batches in (range(0), range(9, 11), range(0, 4, 2)):
        with pytest.raises(BadInput, match="no batches of this corpus"):
            run_shard(tiny_gemma, sources, corpus, batches, plan=PLAN, folder=place)


def test_a_plan_covers_the_corpus_in_whole_batches_and_refuses_nonsense() -> None:
    assert PLAN.shards(38, shard_passages=12) == [range(0, 3), range(3, 6), range(6, 9), range(9, 10)]
    assert plan_for(4096 * 7).co_firing_one_in == 7
    assert Plan.from_json(PLAN.as_json()) == PLAN
    with pytest.raises(BadInput, match="top of a harvest is 0"):
        Plan(top=0)
    with pytest.raises(BadInput, match="no setting bottom"):
        Plan.from_json({"bottom": 1})
