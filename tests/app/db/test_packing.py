import contextlib

import hypothesis.extra.numpy as hnp
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from app.db.packing import ONE, Band


@st.composite
def bands(draw: st.DrawFn) -> Band:
    n = draw(st.integers(0, 8))
    counts = draw(hnp.arrays(np.int64, n, elements=st.integers(0, 6)))
    total = int(counts.sum())
    fractions = draw(hnp.arrays(np.float64, total, elements=st.floats(-1, 1).filter(lambda x: abs(x) > 1e-12)))
    peaks = draw(hnp.arrays(np.float32, n, elements=st.floats(2.0**-64, 2.0**90, width=32)))
    return Band(
        passages=draw(hnp.arrays(np.int64, n, elements=st.integers(0, 2**31 - 1))),
        peaks=peaks,
        positions=draw(hnp.arrays(np.int64, n, elements=st.integers(0, 2**16 - 1))),
        counts=counts,
        value_positions=draw(hnp.arrays(np.int64, total, elements=st.integers(0, 2**16 - 1))),
        values=fractions * np.repeat(peaks.astype(np.float64), counts),
    )


@given(bands())
def test_what_is_packed_comes_back_within_its_stated_error(band: Band) -> None:
    found = Band.unpack(band.pack())
    for name in ("passages", "peaks", "positions", "counts", "value_positions"):
        np.testing.assert_array_equal(getattr(found, name), getattr(band, name))
    scale = np.repeat(np.abs(band.peaks.astype(np.float64)), band.counts)
    # A value too small for a fraction becomes the smallest fraction rather than zero.
    error = np.abs(found.values.astype(np.float64) - band.values)
    assert (error <= scale / ONE * (1 + 1e-3)).all()
    assert (error <= scale / (2 * ONE) * (1 + 1e-2))[np.abs(band.values) >= scale / ONE].all()
    assert (np.sign(found.values) == np.sign(band.values)).all()


@given(bands())
def test_packing_again_gives_the_same_bytes(band: Band) -> None:
    packed = band.pack()
    assert Band.unpack(packed).pack() == packed


def test_the_peak_comes_back_exactly_however_great() -> None:
    peak = np.float32(123_456.789)
    band = Band(
        passages=np.array([7]),
        peaks=np.array([peak]),
        positions=np.array([3]),
        counts=np.array([2]),
        value_positions=np.array([3, 9]),
        values=np.array([peak, 0.001]),
    )
    (only,) = Band.unpack(band.pack())
    assert (only.passage, only.peak, only.position) == (7, float(peak), 3)
    assert only.positions.tolist() == [3, 9]
    assert only.values[0] == peak
    assert only.values[1] > 0


def test_examples_keep_to_their_own_values() -> None:
    band = Band(
        passages=np.array([1, 2, 3]),
        peaks=np.array([4.0, 2.0, 1.0]),
        positions=np.array([0, 5, 1]),
        counts=np.array([1, 0, 2]),
        value_positions=np.array([0, 1, 2]),
        values=np.array([4.0, 1.0, 0.5]),
    )
    assert [item.values.round(3).tolist() for item in Band.unpack(band.pack())] == [[4.0], [], [1.0, 0.5]]


def test_a_typical_band_is_small() -> None:
    n, fires = 20, 6
    band = Band(
        passages=np.arange(n),
        peaks=np.full(n, 9.0),
        positions=np.arange(n),
        counts=np.full(n, fires),
        value_positions=np.tile(np.arange(fires), n),
        values=np.full(n * fires, 4.5),
    )
    assert len(band.pack()) == 4 + n * 12 + n * fires * 4


def one(**changes: object) -> Band:
    columns = {
        "passages": np.array([1]),
        "peaks": np.array([2.0]),
        "positions": np.array([0]),
        "counts": np.array([1]),
        "value_positions": np.array([0]),
        "values": np.array([2.0]),
    }
    return Band(**(columns | changes))  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"peaks": np.array([1.0])}, "none is greater"),
        ({"values": np.array([0.0])}, "not zero"),
        ({"values": np.array([np.nan])}, "finite"),
        ({"peaks": np.array([np.inf])}, "finite"),
        ({"counts": np.array([2])}, "the counts say 2 values, and 1 are given"),
        ({"positions": np.array([0, 1])}, "every example has one"),
        ({"positions": np.array([70_000])}, "does not fit"),
        ({"passages": np.array([-1])}, "does not fit"),
    ],
)
def test_what_cannot_be_kept_is_refused(changes: dict[str, object], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        one(**changes).pack()


@given(st.binary(max_size=64))
def test_strange_bytes_are_refused_or_read_but_never_worse(data: bytes) -> None:
    with contextlib.suppress(ValueError):
        list(Band.unpack(data))
