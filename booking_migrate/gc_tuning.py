"""How memory is kept by processes that handle very many documents."""

import gc

_COLLECTED_AFTER = 100_000
"""How many more objects must have come than gone before cycles are looked for; 700 is what Python begins with."""


def spare_collector() -> None:
    """Let Python look for cycles of objects seldom.

    A piece of the source makes tens of thousands of objects that are part of no cycle, and looking for some among them took
    one thirteenth of a migration's time.
    """
    gc.set_threshold(_COLLECTED_AFTER)


def keep_loaded() -> None:
    """Let Python never look at what exists now, in a process that has called `spare_collector`.

    Modules stay until the end, and looking at a hundred thousand of their objects takes as long as a small migration's writes. Where the
    program is a guest, in a process of tests, other objects exist, too.
    """
    if gc.get_threshold()[0] == _COLLECTED_AFTER:
        gc.freeze()
