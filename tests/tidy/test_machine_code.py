"""Machine code on disk is named after the sources it was made of: each of them, or an old version of one would run on."""

from __future__ import annotations

import pytest

from hostsim.compiled import code_store
from tests.tidy.rooms import JIT, imports, loaded
from tests.tidy.source import Source, package_sources


def compiled_from(package: tuple[Source, ...]) -> set[str]:
    """Modules of compiled functions, and modules that these import, directly or by way of others."""
    known = {source.module: source for source in package}
    found: set[str] = set()
    todo = [source.module for source in package if any(i.target == JIT for i in imports(source))]
    while todo:
        module = todo.pop()
        if module not in found:
            found.add(module)
            todo += loaded(known[module], set(known))
    return found


def named() -> set[str]:
    """Modules that the name of the folder depends on."""
    files = {path.relative_to(code_store.PACKAGE) for path in code_store.compiled_files()}
    return {".".join(("hostsim", *path.with_suffix("").parts)) for path in files}


def test_the_folder_is_named_after_every_source_of_machine_code() -> None:
    missing = sorted(compiled_from(package_sources()) - named())
    assert not missing, f"give their files a place in hostsim.compiled.code_store.COMPILED: {', '.join(missing)}"


@pytest.mark.parametrize("pattern", code_store.COMPILED)
def test_each_pattern_finds_a_file(pattern: str) -> None:
    assert list(code_store.PACKAGE.glob(pattern))
