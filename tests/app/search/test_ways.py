"""Every way finds what a look through all rows finds, in the same order."""

import re

import numpy as np
import pytest

from app.store import labels, sources
from inference.engine.protocol import Embed, EngineError, TopFeatures
from tests.app.search.conftest import Searched, features, letters, narrow, reasons
from tests.app.world import DEAD, MODEL, SOURCES, VOCABULARY

EVERY = {"dead": 1}


async def test_words_find_every_label_that_has_them(searched: Searched) -> None:
    wanted = {(row.source, row.index) for row in await searched.labels() if re.search(r"\bdoctors?\b", row.text, re.I)}
    answer = await searched.json(q="doctor", by="words")
    assert wanted
    assert set(reasons(answer, "words")) == wanted
    for reason in reasons(answer, "words").values():
        marked = [piece["text"].lower() for piece in reason["marked"] if piece["marked"]]
        assert marked
        assert set(marked) <= {"doctor", "doctors"}
        assert "".join(piece["text"] for piece in reason["marked"]) == reason["label"]


async def test_sentences_stand_above_counted_labels_at_an_equal_match(searched: Searched) -> None:
    answer = await searched.json(q="doctor", by="words")
    first = [hit for hit in answer["hits"] if hit["reasons"][0]["label"].startswith("medical")]
    assert first == answer["hits"][: len(first)]
    assert first


async def test_phrases_and_exclusions_are_understood(searched: Searched) -> None:
    labels = await searched.labels()
    phrase = await searched.json(q='"European countries"', by="words")
    assert set(features(phrase)) == {(row.source, row.index) for row in labels if "European countries" in row.text}
    without = await searched.json(q="bridges -rivers", by="words")
    left = {(row.source, row.index) for row in labels if "bridge" in row.text and "river" not in row.text}
    assert left
    assert set(features(without)) == left


async def test_a_typing_error_still_finds_and_marks_the_word(searched: Searched) -> None:
    answer = await searched.json(q="instrumets", by="words")
    found = reasons(answer, "spelling")
    assert found
    for reason in found.values():
        assert reason["label"] == "musical instruments"
        assert [piece["text"] for piece in reason["marked"] if piece["marked"]] == ["instruments"]


async def test_a_token_is_found_in_every_spelling_and_ranked_by_share(searched: Searched) -> None:
    ids = {id_ for id_, text in VOCABULARY if text.strip(" ").lower() == "doctor"}
    assert len(ids) == 2
    shares = {}
    for source, rows in searched.world.given.items():
        for row in rows:
            share = sum(
                float(value) for id_, value in zip(row.top_tokens, row.top_token_values, strict=True) if id_ in ids
            )
            if share:
                shares[source, row.index] = share
    answer = await searched.json(q="token: DOCTOR")
    found = reasons(answer, "fires")
    assert set(found) == set(shares)
    ranked = sorted(found, key=lambda key: found[key]["rank"])
    assert [shares[key] for key in ranked] == sorted(shares.values(), reverse=True)
    for key, reason in found.items():
        row = searched.world.given[key[0]][key[1]]
        assert row.top_tokens[reason["place"] - 1] == reason["token_id"]
        assert reason["share"] == pytest.approx(float(row.top_token_values[reason["place"] - 1]))


async def test_a_token_finds_what_promotes_and_what_suppresses_it(searched: Searched) -> None:
    for kind, ids, values in (
        ("promotes", "top_logits", "top_logit_values"),
        ("suppresses", "bottom_logits", "bottom_logit_values"),
    ):
        wanted = {}
        for source, rows in searched.world.given.items():
            for row in rows:
                for id_, value in zip(getattr(row, ids), getattr(row, values), strict=True):
                    if id_ == 3007:
                        wanted[source, row.index] = float(value)
        found = reasons(await searched.whole(q="t7", by="token"), kind)
        assert {key: reason["logit"] for key, reason in found.items()} == pytest.approx(wanted)


async def test_meaning_ranks_labels_by_cosine(searched: Searched) -> None:
    query = letters("musical instrument")
    best: dict[tuple[str, int], float] = {}
    for row in await searched.labels():
        cosine = float(np.array(row.embedding.strip("[]").split(","), dtype=float) @ query)
        best[row.source, row.index] = max(cosine, best.get((row.source, row.index), -1))
    answer = await searched.whole(q="musical instrument", by="meaning")
    found = reasons(answer, "meaning")
    nearest = sorted(best, key=lambda key: -best[key])[:12]
    for key in nearest:
        assert found[key]["cosine"] == pytest.approx(best[key], abs=2e-3)
    assert {answer["hits"][place]["label"] for place in range(3)} == {"musical instruments"}


async def test_hits_that_are_near_in_meaning_alone_and_not_close_are_called_so(searched: Searched) -> None:
    said = "Nothing is close in meaning; these are the nearest."
    for query, by, close in (("musical instruments", "meaning", True), ("qqxqqz", "meaning,words,token", False)):
        found = reasons(await searched.json(q=query, by=by), "meaning")
        assert (max(reason["cosine"] for reason in found.values()) > 0.45) is close
        assert (said in (await searched.page(q=query, by=by)).text) is not close
    cosines = reasons(await searched.whole(q="doctor zzqqxx", by="meaning"), "meaning")
    assert max(reason["cosine"] for reason in cosines.values()) < 0.45
    assert said in (await searched.page(q="doctor zzqqxx", by="meaning")).text
    assert said not in (await searched.page(q="doctor zzqqxx", by="meaning,token")).text


async def test_a_text_finds_what_fires_on_it_relative_to_each_peak(searched: Searched) -> None:
    text = "The doctor asked the nurse"
    answer = await searched.json(q=text, by="prompt", model=MODEL)
    (question,) = [one for one in searched.engine.asked if isinstance(one, TopFeatures)]
    assert {source.id for source in question.sources} == {name for name, _, _ in SOURCES}
    tokens = searched.engine._tokens(question.prompts[0])
    for (source, index), reason in reasons(answer, "prompt").items():
        asked = next(one for one in question.sources if one.id == source)
        values = narrow(tokens, asked)[tokens.untrained :, index]
        row = searched.world.given[source][index]
        assert row.density <= 0.1
        assert reason["value"] == pytest.approx(float(values.max()), rel=1e-5)
        assert reason["relative"] == pytest.approx(float(values.max()) / row.peak, rel=1e-5)
        assert tokens.pieces[reason["position"]] == reason["token"]
    relative = [reason["relative"] for reason in reasons(answer, "prompt").values()]
    assert relative == sorted(relative, reverse=True)


async def test_a_short_query_is_no_text_unless_it_is_quoted_or_said_to_be(searched: Searched) -> None:
    await searched.json(q="the doctor")
    assert not any(isinstance(one, TopFeatures) for one in searched.engine.asked)
    for written in ('"the doctor"', "text: the doctor", "prompt:the doctor"):
        await searched.json(q=written)
    asked = [one for one in searched.engine.asked if isinstance(one, TopFeatures)]
    assert [one.prompts[0].text for one in asked] == ["the doctor"]  # the same text, read once


async def test_filters_leave_full_lists_of_what_they_name(searched: Searched) -> None:
    name = SOURCES[1][0]
    for by in ("meaning", "words", "token"):
        for narrowed in ({"source": name}, {"layer": 12}, {"set": "starter-transcoder-64"}):
            answer = await searched.json(q="green", by=by, **narrowed)
            for hit in answer["hits"]:
                assert narrowed.get("source") in (None, hit["source"])
                assert narrowed.get("layer") in (None, hit["layer"])
                assert hit["source"].endswith(str(narrowed.get("set", "")))
            assert answer["hits"], (by, narrowed)
    whole = await searched.json(q="green", by="meaning", source=name)
    assert len(whole["hits"]) == 20
    sparse = await searched.json(q="green", by="meaning", source=name, density=1)
    rows = searched.world.given[name]
    allowed = {row.index for row in rows if row.density < 0.01 and row.index != DEAD}
    assert {hit["index"] for hit in sparse["hits"]} <= allowed
    assert sparse["found"] == len(allowed)
    people = await searched.json(q="green", by="meaning", method="model")
    assert {hit["method"] for hit in people["hits"]} == {"np_max-act-logits"}


async def test_features_that_never_fire_are_left_out_unless_asked_for(own: Searched) -> None:
    async with own.world.database.session() as session:
        source = await sources.find(session, MODEL, SOURCES[0][0])
    label = labels.NewLabel(index=DEAD, text="zymurgy and ales", method="human", embedding=letters("zymurgy and ales"))
    await labels.put(own.world.database, source, [label])
    for by in ("words", "meaning"):
        assert (SOURCES[0][0], DEAD) not in features(await own.json(q="zymurgy", by=by))
        answer = await own.json(q="zymurgy", by=by, **EVERY)
        assert features(answer)[0] == (SOURCES[0][0], DEAD)
        assert answer["hits"][0]["dead"]


async def test_an_engine_that_is_away_takes_only_its_own_ways_along(searched: Searched) -> None:
    searched.engine.failure = EngineError("unavailable", "The model is being loaded.", retry_after=1)
    answer = await searched.json(q="doctor")
    assert reasons(answer, "words")
    assert reasons(answer, "fires")
    (meaning,) = [way for way in answer["tried"] if way["way"] == "meaning"]
    assert meaning["follows"]
    assert "follow" in meaning["sentence"]
    page = await searched.page(q="doctor")
    assert "Matches by meaning follow" in page.text
    assert 'hx-trigger="load delay:1000ms"' in page.text


async def test_what_follows_is_a_part_of_the_same_page(searched: Searched) -> None:
    whole = await searched.page(q="doctor")
    part = await searched.client.get("/search", params={"q": "doctor", "again": 1}, headers={"HX-Request": "true"})
    assert part.status_code == 200
    assert "<main" not in part.text
    listed = part.text[part.text.index("<ol") : part.text.index("</ol>")]
    assert listed in whole.text


async def test_a_slow_engine_is_not_waited_for_and_what_it_says_is_kept(searched: Searched) -> None:
    searched.engine.seconds = 0.8
    first = await searched.json(q="musical instrument")
    assert not reasons(first, "meaning")
    assert any(way["follows"] for way in first["tried"])
    second = await searched.json(q="musical instrument")
    assert reasons(second, "meaning")
    assert sum(isinstance(one, Embed) for one in searched.engine.asked) == 1


async def test_without_an_engine_words_tokens_and_names_are_searched(searched: Searched) -> None:
    async with searched.world.client() as client:
        answer = (await client.get("/search.json", params={"q": "doctor"})).json()
    assert reasons(answer, "words")
    assert reasons(answer, "fires")
    assert any("no engine" in way["sentence"] for way in answer["tried"])
