"""Which numbers can be kept: what columns and packed examples have room for. Rows are decoded into these, so a number
that has no room is refused with its file and line, before anything is written."""

from typing import Annotated

from msgspec import Meta

LARGEST = 1e38
"""Single precision reaches three times as far, so two of these can be added."""
SMALLEST = 2.0**-126
"""What is nearer to zero may become zero."""

Single = Annotated[float, Meta(ge=-LARGEST, le=LARGEST)]
Share = Annotated[float, Meta(ge=0, le=1)]
Height = Annotated[float, Meta(ge=0, le=2**53)]
"""A bar of a histogram of counts."""
Whole = Annotated[int, Meta(ge=0, le=2**31 - 1)]
Marked = Annotated[int, Meta(ge=-(2**31), le=2**31 - 1)]
"""A whole number, or a negative mark for having none."""
Flags = Annotated[int, Meta(ge=0, le=2**15 - 1)]
Total = Annotated[int, Meta(ge=0, le=2**62)]
