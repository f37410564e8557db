"""Leases: one holder at a time, for a while, in order."""

from inference.engine.lease import LeaseBook, LeaseWish


def wish(holder: str, seconds: float, granted: list[tuple[str, float]]) -> LeaseWish:
    return LeaseWish(
        holder=holder, seconds=seconds, free_memory=False, granted=lambda found: granted.append((holder, found))
    )


def test_a_lease_runs_out() -> None:
    book, granted = LeaseBook(10), []
    one = wish("one", 5, granted)
    book.ask(one)
    book.grant(one, now=100.0)
    assert granted == [("one", 5)]
    assert [book.remaining(now) for now in (100.0, 104.0, 105.0, 200.0)] == [5, 1, 0, 0]
    assert book.holds("one", 104.0)
    assert not book.holds("one", 105.0)
    assert not book.holds("two", 104.0)


def test_others_wait_in_order_and_the_holder_renews_before_them() -> None:
    book, granted = LeaseBook(10), []
    one, two, three, again = (wish(name, 5, granted) for name in ("one", "two", "three", "one"))
    for asked in (one, two, three):
        book.ask(asked)
    assert book.next(0.0) is one
    book.grant(one, now=0.0)
    book.ask(again)
    assert book.next(1.0) is again
    assert book.next(6.0) is two


def test_a_renewal_is_still_limited() -> None:
    book, granted = LeaseBook(10), []
    for now in (0.0, 8.0):
        asked = wish("one", 1000, granted)
        book.ask(asked)
        book.grant(asked, now)
    assert granted == [("one", 10), ("one", 10)]
    assert book.remaining(8.0) == 10


def test_only_the_holder_releases() -> None:
    book, granted = LeaseBook(10), []
    one = wish("one", 5, granted)
    book.ask(one)
    book.grant(one, now=0.0)
    book.release("two")
    assert book.remaining(1.0) == 4
    book.release("one")
    assert book.remaining(1.0) == 0


def test_a_wish_that_is_forgotten_is_never_granted_and_a_granted_one_is_given_back() -> None:
    book, granted = LeaseBook(10), []
    one, two = wish("one", 5, granted), wish("two", 5, granted)
    book.ask(one)
    book.ask(two)
    book.forget(one)
    book.grant(one, now=0.0)
    assert granted == []
    book.grant(two, now=0.0)
    book.forget(two)
    assert book.remaining(0.0) == 0
