"""Cards as pictures: what is drawn, and that nothing that a text may hold does anything there."""

import struct
import unicodedata
from pathlib import Path

import msgspec

from app.share import drawing, fonts
from app.share.kept import KeptCards
from app.web.cards import Card, Heat
from tests.hostile import HOSTILE

JOINERS = frozenset("\u200c\u200d\ufe0e\ufe0f")


def size(png: bytes) -> tuple[int, int]:
    assert png.startswith(b"\x89PNG\r\n\x1a\n")
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def everything_said(card: Card) -> list[str]:
    said = drawing._said(card)
    return [said["title"], *(spot[0] for spot in said["spots"]), *(one for _, some in said["lists"] for one in some)]


def test_a_hundred_hostile_strings_are_drawn_as_what_they_are() -> None:
    """Nothing reaches the drawing but letters that a font has, and nothing that turns, hides or ends a line."""
    for number in range(0, len(HOSTILE), 5):
        some = HOSTILE[number : number + 5]
        card = Card(
            title=" ".join(some),
            place="a place",
            text=tuple(Heat(text, 3 * place) for place, text in enumerate(some)),
            lists=(("A list", some),),
        )
        for said in everything_said(card):
            for character in said:
                if character == drawing.MAY_BREAK:
                    continue
                assert character in JOINERS or unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn")
                assert fonts.unknown(character) == 0
        assert size(drawing.draw(card)) == (1200, 630)


def test_markup_of_the_drawer_is_text() -> None:
    plain = drawing.draw(Card(title="#panic() $x$ *b*", place="p"))
    assert plain == drawing.draw(Card(title="#panic() $x$ *b*", place="p"))
    assert plain != drawing.draw(Card(title="panic() x b", place="p"))


def test_a_letter_that_no_font_has_is_a_box_and_the_card_says_so() -> None:
    card = Card(title="cuneiform \U00012000", place="p", text=(Heat("猫 القطة שלום हिन्दी 🐈 е", 2),))
    said = drawing._said(card)
    assert said["title"] == f"cuneiform {fonts.BOX}"
    assert said["spots"][0][0] == "猫 القطة שלום हिन्दी 🐈 е"
    assert "stands for" in said["missing"]
    assert drawing._said(Card(title="cat", place="p"))["missing"] == ""


def test_a_text_runs_as_its_letters_do() -> None:
    for text, runs in (("في 2018، تم cat", True), ("cat تم", False), ("2018", False)):
        assert drawing._said(Card(title="t", place="p", text=(Heat(text, 2),)))["right_to_left"] is runs


def test_the_key_follows_what_is_shown() -> None:
    card = Card(title="a", place="p", text=(Heat("x", 3),))
    assert drawing.key(card) == drawing.key(Card(title="a", place="p", text=(Heat("x", 3),)))
    for other in ({"title": "b"}, {"text": (Heat("x", 4),)}, {"note": "n"}):
        assert drawing.key(card) != drawing.key(msgspec.structs.replace(card, **other))


def test_heat_has_the_colours_of_the_pages() -> None:
    assert sorted(drawing._colours()) == list(range(1, 16))
    assert drawing._colours()[15] == ("#ba4900", "#ffffff")


def test_kept_cards_are_bounded_and_the_longest_unused_go_first(tmp_path: Path) -> None:
    kept = KeptCards(tmp_path / "cards", most_bytes=1000)
    for number in range(9):
        kept.keep(f"k{number}", bytes(100))
    assert kept.find("k0") is not None  # used now
    for number in range(9, 14):
        kept.keep(f"k{number}", bytes(100))
        assert sum(path.stat().st_size for path in (tmp_path / "cards").iterdir()) <= 1000
    assert kept.find("k0") is not None
    assert kept.find("k1") is None
    assert kept.find("k13") == bytes(100)
    kept.keep("large", bytes(2000))
    assert kept.find("large") is None


def test_a_folder_that_cannot_be_written_only_means_drawing_again(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    kept = KeptCards(tmp_path / "file" / "cards", most_bytes=1000)
    kept.keep("k", b"x")
    assert kept.find("k") is None
