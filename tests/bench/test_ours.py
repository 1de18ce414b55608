from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import bench
from bench.ours import PACKAGES, require_own_packages
from latency_tables.errors import LatheError

HOME = Path(bench.__file__).resolve().parent.parent


def test_the_packages_of_this_tree_are_ours() -> None:
    require_own_packages()


@pytest.mark.parametrize("name", PACKAGES)
def test_a_foreign_package_is_named_with_its_folder(name: str) -> None:
    def locate(asked: str) -> Path | None:
        return Path("/elsewhere") / asked if asked == name else HOME / asked

    with pytest.raises(LatheError, match=f"package {name} would come from /elsewhere/{name}"):
        require_own_packages(locate)


def test_a_missing_package_is_named() -> None:
    with pytest.raises(LatheError, match="reports is missing"):
        require_own_packages(lambda asked: None if asked == "reports" else HOME / asked)


def test_a_folder_that_hides_a_package_is_found_out(tmp_path: Path) -> None:
    (tmp_path / "reports").mkdir()
    (tmp_path / "reports" / "__init__.py").write_text("raise SystemExit('the impostor ran')")
    code = f"import bench.ours, sys; sys.path.insert(0, {str(tmp_path)!r}); bench.ours.require_own_packages()"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=HOME, check=False)
    assert f"would come from {tmp_path / 'reports'}" in done.stderr
    assert "the impostor ran" not in done.stderr
