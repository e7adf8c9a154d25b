"""Banned names: see banned.py."""

from __future__ import annotations

import pytest

from tests.tidy.banned import banned_problems
from tests.tidy.source import package_sources, report, source_of


def test_no_banned_names() -> None:
    report([problem for source in package_sources() for problem in banned_problems(source)])


@pytest.mark.parametrize(
    "text",
    [
        "print('x')",
        "import time\ntime.time()",
        "from datetime import datetime\ndatetime.now()",
        "import random",
        "from random import shuffle",
        "import numpy as np\nnp.random.rand(3)",
        "raise NotImplementedError",
        "raise ValueError('x')",
        "assert False, 'never'",
        "assert 0",
        "PAGE_BYTES = 4096",
    ],
)
def test_a_banned_name_is_found(text: str) -> None:
    assert len(banned_problems(source_of(text))) == 1


@pytest.mark.parametrize(
    ("path", "text"),
    [
        ("hostsim/scenario/types.py", "raise ValueError('x')"),
        ("hostsim/qemu/link.py", "import numpy as np\nrng: np.random.Generator"),
        ("hostsim/qemu/link.py", "assert remaining >= 0"),
        ("hostsim/report/progress.py", "import time\ntime.monotonic()"),
    ],
)
def test_what_is_allowed_is_not_reported(path: str, text: str) -> None:
    assert banned_problems(source_of(text, path)) == []
