"""Words of the command line, quoted as Hydra quotes them."""

from __future__ import annotations

from hydra.core.override_parser.types import Quote, QuotedString
from hypothesis import given
from hypothesis import strategies as st

from aeframe.config.override_words import quote


@given(st.text(alphabet=st.sampled_from("ab'\"\\ ${}\n=,"), max_size=12))
def test_a_text_is_quoted_as_hydra_quotes_it(text: str) -> None:
    assert quote(text) == QuotedString(text, Quote.single).with_quotes()
