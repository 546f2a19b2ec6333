"""The verifier has no conversion code in common with the migration, and import-linter checks it."""

import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[3]
_CONTRACT = "The verifier shares no conversion code with the migration"
_SLICER_CONTRACT = "The verifier's full check does not use the slicer of flat documents"


def _lint(folder: Path) -> "subprocess.CompletedProcess[str]":
    code = "import sys; from importlinter.cli import lint_imports; sys.exit(lint_imports(no_cache=True))"
    return subprocess.run(
        [sys.executable, "-c", code], cwd=folder, capture_output=True, text=True, check=False, timeout=120
    )


@pytest.fixture
def package(tmp_path: Path) -> Path:
    """A copy of the package and its configuration."""
    shutil.copytree(
        ROOT / "booking_migrate",
        tmp_path / "booking_migrate",
        ignore=shutil.ignore_patterns("__pycache__"),
    )
    configuration = (ROOT / "pyproject.toml").read_text(encoding="utf-8")
    tmp_path.joinpath("pyproject.toml").write_text(configuration, encoding="utf-8")
    return tmp_path


def test_contract_exists() -> None:
    """The contract names the modules that convert and consolidate, and allows no way around."""
    linter = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["tool"]["importlinter"]
    contract = next(each for each in linter["contracts"] if each["name"] == _CONTRACT)
    domain = {f"booking_migrate.domain.{name}" for name in ("session", "consolidate", "client_document")}
    verbs = {"booking_migrate.fastpath", "booking_migrate.migrate"}

    assert ["booking_migrate.verify"] == contract["source_modules"]
    assert domain | verbs <= set(contract["forbidden_modules"])
    assert not contract.get("allow_indirect_imports", False)
    assert "ignore_imports" not in contract


@pytest.mark.parametrize(
    ("module", "offence", "contract"),
    [
        ("verify/rules.py", "from booking_migrate.domain.client_document import session_id", _CONTRACT),
        ("verify/run.py", "from booking_migrate.fastpath import flat", _CONTRACT),
        ("verify/run.py", "from booking_migrate.migrate import lookup", _CONTRACT),
        # Not by way of a module that may be imported either.
        ("bson/format.py", "from booking_migrate.domain import session", _CONTRACT),
        ("verify/expected.py", "from booking_migrate.bson import layout", _SLICER_CONTRACT),
    ],
)
def test_offence_is_found(package: Path, module: str, offence: str, contract: str) -> None:
    """An import of the conversion, or of the slicer where it must not be, breaks the contract, direct or not."""
    path = package / "booking_migrate" / module
    path.write_text(f"{path.read_text(encoding='utf-8')}\n{offence}\n", encoding="utf-8")
    result = _lint(package)

    assert result.returncode != 0
    assert f"{contract} BROKEN" in " ".join(result.stdout.split())


def test_contracts_are_kept(package: Path) -> None:
    """The package as it is keeps both contracts."""
    said = " ".join(_lint(package).stdout.split())

    assert [True, True] == [f"{contract} KEPT" in said for contract in (_CONTRACT, _SLICER_CONTRACT)]
