"""How many of something there are, in words: in the terminal, on pages and in Slack alike."""


def counted(number: int, noun: str, several: str | None = None) -> str:
    """Return `1 record`, `2,000 records`, `2 aliases`; `several` where the plural is another word."""
    plural = several or noun + ("es" if noun.endswith("s") else "s")
    return f"{number:,} {noun if number == 1 else plural}"
