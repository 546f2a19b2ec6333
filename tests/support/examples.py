"""How many examples a property test has that is slow for each of them."""

from hypothesis import settings

_USUAL = 100
"""As many as hypothesis has by default; the profile `thorough` of `conftest.py` has more."""


def examples(usual: int, *, one_of: int) -> int:
    """Return the number of examples of a test: few by default, and in another profile a part of what that has.

    Args:
        usual: how many by default.
        one_of: in another profile, one of so many examples of a test that is quick.
    """
    count = settings().max_examples
    return usual if count <= _USUAL else count // one_of
