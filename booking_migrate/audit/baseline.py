"""Fingerprints of findings, and the file that keeps those that are known."""

import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

from booking_migrate.audit.findings import Finding
from booking_migrate.errors import BadConfiguration

VERSION = 1
"""The version of the file's format.

1: an object with `version` and `findings`, each with `fingerprint`, `path`, `rule` and `text`.
"""

_LENGTH = 16


def fingerprinted(findings: Iterable[Finding]) -> list[Finding]:
    """Return findings with their fingerprints, made of file, rule, path and the line's text, not of its number.

    Equal ones differ by their order.
    """
    seen: Counter[str] = Counter()
    result = []
    for each in findings:
        text = " ".join(each.text.split())
        key = f"{each.path}\0{each.rule}\0{each.old}\0{text}"
        number = seen[key]
        seen[key] += 1
        digest = sha256(f"{key}\0{number}".encode()).hexdigest()[:_LENGTH]
        result.append(replace(each, fingerprint=digest))
    return result


def read_baseline(path: Path) -> frozenset[str]:
    """Return the fingerprints in a baseline file.

    Raises:
        BadConfiguration: it cannot be read, or is not one.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise BadConfiguration(
            "--baseline",
            f"{str(path)!r} cannot be read: {error.strerror or error}",
            "Write it with --update-baseline.",
        ) from None
    except ValueError as error:
        raise BadConfiguration("--baseline", f"{str(path)!r} is not JSON: {error}") from None
    if not isinstance(content, dict) or content.get("version") != VERSION:
        raise BadConfiguration("--baseline", f"{str(path)!r} is not a baseline file of version {VERSION}")
    entries = content.get("findings")
    listed = entries if isinstance(entries, list) else []
    return frozenset(
        str(each["fingerprint"]) for each in listed if isinstance(each, dict) and "fingerprint" in each
    )


def baseline_text(findings: Sequence[Finding]) -> str:
    """Return the content of a baseline file that holds these findings."""
    entries = [
        {"fingerprint": each.fingerprint, "path": each.path, "rule": each.rule.value, "text": each.text}
        for each in findings
    ]
    return json.dumps({"version": VERSION, "findings": entries}, indent=1, ensure_ascii=False) + "\n"
