"""The modules of an application: which file an import means."""

from collections.abc import Iterable, Iterator
from posixpath import dirname, join, normpath

from booking_migrate.audit.scopes import Module

_SUFFIXES = (".ts", ".tsx", ".js", ".jsx", ".mjs", ".cjs", ".mts", ".cts", ".d.ts")
_COMPILED = {".js": (".ts", ".tsx"), ".mjs": (".mts",), ".cjs": (".cts",), ".jsx": (".tsx",)}
_ALIASES = ("@/", "~/", "#/", "$lib/", "src/", "@app/")


class Modules:
    """The modules by their paths."""

    def __init__(self, modules: Iterable[Module]) -> None:
        """Take them all."""
        self._by_path = {module.path: module for module in modules}
        self._resolved: dict[tuple[str, str], Module | None] = {}
        self._by_end: dict[str, list[str]] = {}
        for path in self._by_path:
            self._by_end.setdefault(path.rpartition("/")[2], []).append(path)

    def __iter__(self) -> Iterator[Module]:
        """Iterate over them, in the order in which they were added."""
        return iter(self._by_path.values())

    def __getitem__(self, path: str) -> Module:
        """Return one of them."""
        return self._by_path[path]

    def resolve(self, name: str, importer: Module) -> Module | None:
        """Return the module that an import means; None if it is not one of the application."""
        key = name, importer.path
        if key not in self._resolved:
            find = self._python if importer.is_python else self._javascript
            self._resolved[key] = find(name, importer)
        return self._resolved[key]

    def _javascript(self, name: str, importer: Module) -> Module | None:
        if name.startswith("."):
            return self._first(normpath(join(dirname(importer.path), name)))
        for alias in _ALIASES:
            if name.startswith(alias):
                return self._ending(name.removeprefix(alias), importer)
        return self._ending(name, importer) if "/" in name and not name.startswith("@") else None

    def _first(self, stem: str) -> Module | None:
        return next((self._by_path[each] for each in _candidates(stem) if each in self._by_path), None)

    def _ending(self, stem: str, importer: Module) -> Module | None:
        """Return the module whose path ends so, the one nearest to the importer if there are several."""
        for candidate in _candidates(stem):
            ends = self._by_end.get(candidate.rpartition("/")[2], ())
            found = [path for path in ends if path == candidate or path.endswith(f"/{candidate}")]
            if found:
                return self._by_path[max(found, key=lambda path: _common(path, importer.path))]
        return None

    def _python(self, name: str, importer: Module) -> Module | None:
        level = len(name) - len(name.lstrip("."))
        stem = name[level:].replace(".", "/")
        if level:
            folder = importer.path
            for _ in range(level):
                folder = dirname(folder)
            base = join(folder, stem) if stem else folder
            found = (base + ".py", join(base, "__init__.py"))
            return next((self._by_path[each] for each in found if each in self._by_path), None)
        return self._ending(stem, importer) if stem else None


def _candidates(stem: str) -> Iterator[str]:
    yield stem
    for suffix in _SUFFIXES:
        yield stem + suffix
    for compiled, sources in _COMPILED.items():
        if stem.endswith(compiled):
            yield from (stem.removesuffix(compiled) + source for source in sources)
    yield f"{stem}.py"
    yield f"{stem}/__init__.py"
    for suffix in _SUFFIXES:
        yield f"{stem}/index{suffix}"


def _common(one: str, other: str) -> int:
    count = 0
    for left, right in zip(one.split("/"), other.split("/"), strict=False):
        if left != right:
            break
        count += 1
    return count
