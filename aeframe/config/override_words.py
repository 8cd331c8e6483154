"""Words of the command line: KEY=VALUE, quoted and taken apart."""

from __future__ import annotations

AUTOMATIC = ("auto", "retry")
"""Values of `resume` that are no folder."""


def key_of(word: str) -> str:
    """The key of a KEY=VALUE word."""
    return word.lstrip("+~").partition("=")[0]


def quoted(text: str) -> str:
    """A text as Hydra takes it for itself, whatever is in it; but OmegaConf would still resolve ${."""
    from hydra.core.override_parser.types import Quote, QuotedString

    return QuotedString(text, Quote.single).with_quotes()


def unquoted(value: str) -> str:
    """What a value says that may have quotes, as Hydra wants them."""
    quote = value[:1]
    if len(value) > 1 and quote in ("'", '"') and value.endswith(quote):
        return value[1:-1].replace(f"\\{quote}", quote)
    return value
