"""Classes whose methods are written at their first call do what classes of Python's own dataclass do."""

from __future__ import annotations

import copy
import dataclasses
import pickle
import sys
from collections.abc import Iterator
from types import ModuleType
from typing import Any

import pytest

from hostsim.cli import dataclasses_later

SOURCE = """
from __future__ import annotations
from dataclasses import dataclass, field

@dataclass(frozen=True)
class Base:
    "A base."
    a: int
    b: list = field(default_factory=list, compare=False)

@dataclass(frozen=True)
class Frozen(Base):
    "A frozen one."
    c: float = 0.5

@dataclass(order=True)
class Free:
    "A free one."
    a: int = 1
"""


def made(name: str) -> ModuleType:
    module = ModuleType(name)
    sys.modules[name] = module
    exec(SOURCE, vars(module))  # noqa: S102
    return module


@pytest.fixture
def both() -> Iterator[tuple[ModuleType, ModuleType]]:
    before = vars(dataclasses).get(dataclasses_later.CREATE)
    setattr(dataclasses, dataclasses_later.CREATE, getattr(before, "whole", before))
    names = "plain_example", "hostsim.later_example"
    plain = made(names[0])
    dataclasses_later.write_later()
    yield plain, made(names[1])
    setattr(dataclasses, dataclasses_later.CREATE, before)
    for name in names:
        del sys.modules[name]


def answers(module: Any) -> list[Any]:
    one, two = module.Frozen(1, [2]), module.Frozen(1, c=0.5)
    found = [one == two, one == module.Base(1), hash(one) == hash(two), {one: 1}[two], repr(one), str(two), one != two]
    copied = pickle.loads(pickle.dumps(one)), copy.copy(two)  # noqa: S301
    found += [dataclasses.asdict(dataclasses.replace(one, c=3)), *map(repr, copied)]
    for act in (lambda: setattr(one, "a", 2), lambda: delattr(one, "c"), module.Frozen, lambda: hash(module.Free())):
        with pytest.raises((dataclasses.FrozenInstanceError, TypeError)) as error:
            act()
        found.append(str(error.value).replace(module.__name__, ""))
    free = module.Free(2)
    free.a += 1
    return [*found, free > module.Free(), sorted([free, module.Free()]), module.Base.__init__.__qualname__]


def test_they_answer_alike(both: tuple[ModuleType, ModuleType]) -> None:
    plain, later = both
    assert repr(answers(later)) == repr(answers(plain))
    assert repr(answers(later)) == repr(answers(plain))  # written by now


def test_a_method_is_written_once(both: tuple[ModuleType, ModuleType]) -> None:
    _, later = both
    first = later.Base.__init__
    later.Frozen(1)
    assert later.Base.__init__ is first  # that of the subclass was called
    later.Base(1), later.Base(2)
    written = later.Base.__init__
    later.Base(3)
    assert later.Base.__init__ is written
