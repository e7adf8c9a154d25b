"""How many accesses does each page policy find in memory, on the same string, with a tenth of the pages in frames?

Shape of the answer: on a Zipf string FIFO, which knows nothing, is below all, then LRU, CLOCK and the best static choice,
and MIN, which knows the future, above all; what kernels do (two lists, MGLRU) sees only accessed bits and lies among them.
On a loop longer than memory what ranks by age finds nothing; on uniform accesses all are alike but MIN.
"""

from __future__ import annotations

import numpy as np

from hostsim.guest.popularity import zipf_shares
from hostsim.study.policy_hits import NAMES, hit_ratios
from hostsim.theory.hit_ratio import static_hit_ratio

PAGES, FRAMES, REFERENCES, WARM_UP = 4000, 400, 60_000, 20_000


def strings() -> dict[str, np.ndarray]:
    """By name, int64[REFERENCES]."""
    rng = np.random.default_rng(1)
    zipf = rng.choice(PAGES, REFERENCES, p=zipf_shares(PAGES, 0.9))
    loop = np.arange(REFERENCES) % (2 * FRAMES)
    mixed = np.where(rng.random(REFERENCES) < 0.5, zipf, PAGES // 2 + np.arange(REFERENCES) % (PAGES // 2))
    return {"zipf:0.9": zipf, "uniform": rng.integers(0, PAGES, REFERENCES), "loop": loop, "zipf and scan": mixed}


def main() -> None:
    """A line a policy."""
    found = {name: hit_ratios(string.astype(np.int64), PAGES, FRAMES, WARM_UP) for name, string in strings().items()}
    print(f"{'policy':<14}" + "".join(f"{name:>15}" for name in found))
    for policy in NAMES:
        print(f"{policy:<14}" + "".join(f"{found[name][policy]:>15.4f}" for name in found))
    best = static_hit_ratio(zipf_shares(PAGES, 0.9), FRAMES)
    print(f"{'best static':<14}{best:>15.4f}{FRAMES / PAGES:>15.4f}")


if __name__ == "__main__":
    main()
