"""Numbers, sizes and lengths of time as text, the same in every format and in messages of progress."""


def grouped(number: int) -> str:
    """Return a number with its digits in groups of three, as ``1,234,567``."""
    return f"{number:,}"


def plural(number: int, noun: str) -> str:
    """Return ``1 booking``, ``2,000 bookings``."""
    return f"{grouped(number)} {noun}" if number == 1 else f"{grouped(number)} {noun}s"


def money(total: str) -> str:
    """Return a decimal sum with grouped digits and at least two decimals; none of its digits is lost."""
    sign, digits = ("-", total[1:]) if total.startswith("-") else ("", total)
    whole, _, decimals = digits.partition(".")
    return f"{sign}{int(whole):,}.{decimals:0<2}" if whole.isdigit() else total


def duration(seconds: float) -> str:
    """Return a length of time: ``0.4 s``, ``12 s``, ``3 min 05 s``, ``2 h 07 min``."""
    whole = round(seconds)
    if seconds < 10:  # noqa: PLR2004 - below ten seconds a tenth is worth saying
        return f"{seconds:.1f} s"
    if whole < 60:  # noqa: PLR2004
        return f"{whole} s"
    minutes, rest = divmod(whole, 60)
    if minutes < 60:  # noqa: PLR2004
        return f"{minutes} min {rest:02} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02} min"


def samples(sample_ids: tuple[str, ...], count: int, shown: int) -> str:
    """Return the first few ids, and how many more there are."""
    listed = ", ".join(sample_ids[:shown])
    more = count - min(shown, len(sample_ids))
    if not listed:
        return ""
    return f"{listed} and {grouped(more)} more" if more else listed


def size(number: int) -> str:
    """Return a number of bytes: ``812 B``, ``1.4 MiB``."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if amount < 1024:  # noqa: PLR2004 - the step between units
            return f"{amount:.3g} {unit}" if unit != "B" else f"{number} B"
        amount /= 1024
    return f"{amount:,.3g} TiB"
