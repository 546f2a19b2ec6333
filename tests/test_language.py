"""The language of messages, help, docstrings, comments and pages: standard terms, and none of the phrases below.

``python -m tests.test_language`` counts what is left in each part; with paths, it lists what is left there.
"""

import ast
import io
import re
import sys
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

PHRASES = {
    # People that do not exist: name the user, the application, another process.
    r"somebody|someone": "another process, the user, the application",
    r"anybody|everybody": "any process, every user",
    r"nobody|no one": "not known, not used",
    r"whoever|whomever": "the caller",
    # Sentences that deny a noun instead of the verb.
    r"(?:is|are|was|were) (?:no(?= )(?! (?:longer|more|later|earlier|larger|smaller|other)\b)|none|nothing)": "is not a, does not exist",
    r"have nothing|has nothing": "does not have any",
    # Words with a standard term.
    r"mend(?:s|ed|ing)?": "fix",
    r"give (?:--[\w-]+|another|it|them|one|the)|given again": "pass, use",
    r"gives? (?:out|way)|gives? it to": "assign, yield, grant",
    r"tells?|told": "report, say, know",
    r"hears?|heard": "receive, is notified",
    r"noted? down|notes? it down": "record",
    r"lets? go of|letting go of": "release",
    r"at work": "running, active",
    r"anew": "again",
    r"just now": "at the moment, currently",
    r"(?:goes|go|went|gone|going) on": "continue",
    r"(?:comes?|came|brings?|brought|bring|gone|goes) to (?:its|their|an) end": "end, finish, complete",
    r"given up|gives? up|gave up|giving up": "abort, stop",
    r"(?:becomes?|became|comes?|came) of": "result, outcome",
    r"for dead|a dead one|dead one's": "expired, no longer running",
    r"(?:comes?|came) (?:in )?between": "intervene, interrupt",
    r"(?:something|anything|nothing) else than": "other data than",
    r"no way back": "cannot be undone",
    r"wants?": "needs, requires",
    r"in the way": "conflict, overlap, prevent",
    r"(?:makes?|made) no sense": "is not valid",
    r"stands? (?:alone|or falls?|for itself)|stand or fall": "standalone, atomic",
    r"of (?:its|their) own accord": "automatically",
    r"not to be found|nowhere to be found": "does not exist",
    r"all the time": "continuously",
    r"in the middle of (?:it|that)": "before it had finished",
    r"see to (?:it|what|that)": "make sure, fix",
    r"sent home|sends? home": "shut down",
    r"looks? (?:on|over the shoulder)": "observe",
    r"at most so (?:many|often|much)|so many (?:of|a)\b": "maximum number of",
    r"as it was": "unchanged, as before",
    r"could hurt": "risks",
    r"rightly": "correctly",
    r"holds? on to": "keep",
    r"who asks|who is asking": "the caller, authentication",
    # What a port promises stands at the port.
    r"^See `\w+\.\w+`": "@override without a docstring",
    # Documents have states and versions, runs have results.
    r"(?:is|are) what (?:it|they) (?:was|were)|what (?:it|they) (?:was|were) before": "unchanged, the earlier version, restored",
    r"as (?:it|they) (?:stands?|stood)|what (?:stands|stood)|(?:stands?|stood) there": "the current version, unchanged, exists",
    r"(?:comes?|came) to nothing|what (?:it|they|each|the \w+) (?:comes?|came) to": "the outcome, the result",
    r"(?:has|have|had) happened to|what (?:has|have|had) happened": "the changes to, changed since",
    r"takes? (?:note|account) of|taking note": "count, record, observe",
    r"with whose help": "the parts that it needs",
    r"by now": "already",
    r"in vain": "without success",
    r"ever after": "from then on",
    r"by (?:itself|themselves)": "automatically, separately, or leave it out",
    r"so (?:many|few)(?! that)": "this number of",
    r"comes? to(?! an)": "the result is",
    r"taken for": "mistaken for, counts as",
    r"at hand": "current, available",
    r"patience": "time limit",
    # A value is in a document, a document in a collection.
    r"stands? (?:in|at|on|with|where|there|beside|behind|before|first|last|together|side by side)|(?:it|they|which) stands?(?! for)": "is in, is shown beside",
    # What a rollback does is restore.
    r"way back|(?:gives?|given|giving|puts?|putting) (?:\w+ )?back": "rollback, restore",
    r"cleared up|clear up": "cleaned up",
    r"left in the middle|cut off between|cut in two": "unfinished, interrupted",
    r"on (?:its|their) way": "in flight, in progress, pending",
    r"are to be had|is to be had": "available",
    r"hold(?:s|ing)? (?:a|the) signal back": "defer a signal",
    # Private terms of the past.
    r"usual (?:kind|bookings?|clients?)|the thorough way|the short cut": "flat booking, fast path, reference path",
    r"glance[sd]?|crew|sight": "fast path, worker pool, statistics",
    r"one (?:and the same )?moment": "a snapshot",
    r"DESIGN\.md|DESIGN, (?:section|invariant)": "the rule itself, or a page of the repository",
}
"""Regular expressions of what is not said, each with what is said instead."""

NAMES = {
    "anew": "again",
    "crew": "pool, workers",
    "doubt": "in_doubt",
    "fates": "dispositions",
    "glance": "fast path",
    "leash": "watchdog",
    "odometer": "progress",
    "patience": "timeout",
    "silence": "null listener, timeout",
    "standing": "existing, in effect",
    "told": "answer",
    "untold": "unanswered",
    "usual": "flat, plain",
}
"""Words that no name of a class, function, variable or module has, each with what is used instead."""

_PATTERNS = {
    re.compile(rf"(?<![\w-])(?:{phrase})(?!\w)", re.IGNORECASE): instead
    for phrase, instead in PHRASES.items()
}

ROOT = Path(__file__).parents[1]
_PARTS = (
    "README.md",
    "examples",
    *sorted(f"booking_migrate/{path.name}" for path in ROOT.glob("booking_migrate/*")),
)
_PAGES = {".md", ".j2", ".toml", ".yml"}


def texts_of(path: Path) -> Iterator[tuple[int, str]]:
    """Yield lines and texts of a file: docstrings, literals and comments of Python, the paragraphs of pages."""
    source = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        for paragraph in re.finditer(r"(?:[^\n]+\n)+", source):
            yield source.count("\n", 0, paragraph.start()) + 1, paragraph.group()
        return
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str):
            yield node.lineno, node.value
    comments = [
        (token.start[0], token.string.lstrip("# "))
        for token in tokenize.generate_tokens(io.StringIO(source).readline)
        if token.type == tokenize.COMMENT
    ]
    yield from comments


def findings(part: str) -> list[str]:
    """Return the phrases in a folder or file, each with its place and what to say instead."""
    path = ROOT / part
    files = [path] if path.is_file() else sorted(path.rglob("*"))
    return [
        f"{file.relative_to(ROOT)}:{line}: {found.group()!r} -> {instead}"
        for file in files
        if file.suffix == ".py" or file.suffix in _PAGES
        for line, text in texts_of(file)
        for pattern, instead in _PATTERNS.items()
        for found in pattern.finditer(" ".join(text.split()))
    ]


@pytest.mark.parametrize("part", _PARTS)
def test_standard_terms(part: str) -> None:
    """Messages, help, docstrings, comments and pages use standard terms."""
    assert [] == findings(part)


def names_in(path: Path) -> Iterator[tuple[int, str]]:
    """Yield the names that a module has or assigns, each with its line."""
    yield 1, path.stem
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        match node:
            case ast.ClassDef() | ast.FunctionDef() | ast.AsyncFunctionDef():
                yield node.lineno, node.name
            case ast.arg():
                yield node.lineno, node.arg
            case ast.Name(ctx=ast.Store()):
                yield node.lineno, node.id
            case ast.Attribute(ctx=ast.Store()):
                yield node.lineno, node.attr
            case _:
                pass


def words_of(name: str) -> set[str]:
    """Return the words of a name in snake case or camel case, in lower case."""
    return set(re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower().split("_"))


def test_names_are_standard_terms() -> None:
    """Classes, functions, variables and modules have names of the field."""
    found = [
        f"{path.relative_to(ROOT)}:{line}: {name} -> {NAMES[word]}"
        for path in sorted(ROOT.glob("booking_migrate/**/*.py"))
        for line, name in names_in(path)
        for word in words_of(name) & NAMES.keys()
    ]

    assert [] == found


@pytest.mark.parametrize(
    ("suffix", "source"),
    [
        (".py", '"""Wait until nobody\nreads it."""'),
        (".py", 'print(f"{name} is no file")'),
        (".py", "x = 1  # somebody waits"),
        (".py", 'hint = "Give --yes at the terminal."'),
        (".md", "# Title\n\nAnother run is at\nwork here.\n"),
    ],
)
def test_phrases_are_found(tmp_path: Path, suffix: str, source: str) -> None:
    """A phrase is found in docstrings, literals, comments and pages, also where a line ends within it."""
    tmp_path.joinpath(f"sample{suffix}").write_text(source, encoding="utf-8")
    texts = [" ".join(text.split()) for _, text in texts_of(tmp_path / f"sample{suffix}")]

    assert 1 == sum(bool(pattern.search(text)) for text in texts for pattern in _PATTERNS)


def test_standard_terms_pass() -> None:
    """Near relatives of the phrases are not among them."""
    text = "It is no longer there. Recommend a telltale header; the file does not exist."

    assert [] == [pattern for pattern in _PATTERNS if pattern.search(text)]


if __name__ == "__main__":
    for asked in sys.argv[1:]:
        sys.stdout.write("".join(f"{finding}\n" for finding in findings(asked)))
    if not sys.argv[1:]:
        sys.stdout.write("".join(f"{len(findings(part)):5} {part}\n" for part in _PARTS))
