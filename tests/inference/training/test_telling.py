"""The lines that a training prints as it goes."""

import pytest

from inference.training.__main__ import show
from inference.training.metrics import Row


@pytest.mark.parametrize(
    ("tokens_per_s", "told"), [(339.7, "340 tok/s"), (999.2, "999 tok/s"), (1000, "1k tok/s"), (61_500, "62k tok/s")]
)
def test_slow_processors_read_hundreds_and_not_zero_thousands(
    tokens_per_s: float, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    show(
        Row(
            step=60,
            steps=900,
            tokens=2_500_000,
            seconds=10.0,
            tokens_per_s=tokens_per_s,
            seconds_left=140.0,
            rate_factor=1.0,
            dictionaries=(),
        )
    )
    assert capsys.readouterr().out == f"step 60/900  2.5M tokens  {told}  140 s left\n"
