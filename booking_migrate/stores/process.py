"""This process and others on this machine, as locks name them."""

import getpass
import os
from pathlib import Path

_START_TIME = 19
"""The field of ``/proc/PID/stat`` with the start time, counted behind the command's name (proc(5), number 22)."""


def user_name() -> str:
    """Return the name of the user that runs this process, or its number if it has no name."""
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        return str(os.getuid())


def birth_of(pid: int) -> str:
    """Return what identifies a living process uniquely, or an empty string.

    It is made of the kernel's boot id, the process namespace (a container has its own) and the process's start time,
    so neither a reused number nor another container of the same name is taken for it. Empty where the system does not
    provide it (only Linux does), and for a process that is gone.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = str(Path("/proc/self/ns/pid").readlink())
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    state, *fields = stat.rpartition(")")[2].split()
    if state in ("Z", "X"):
        return ""
    return f"{boot} {space} {fields[_START_TIME - 1]}"


def is_dead(pid: int, birth: str) -> bool:
    """Return whether a process is known to have ended; False if that is not known.

    Args:
        pid: its number.
        birth: what `birth_of` said about it when it lived.
    """
    here = birth_of(os.getpid())
    # Only a process of this machine and this process namespace can be looked for.
    if not birth or not here or birth.rpartition(" ")[0] != here.rpartition(" ")[0]:
        return False
    return birth_of(pid) != birth
