"""If the hardware keeps a referenced bit, is a fast rmap then a must? Asked with a daemon that ages a guest that runs.

Shape of the answer: with the bit a pass is its look-ups and nothing else, so the index is all that counts. Without it
each page in use costs the guest a fault a pass besides, and the look-ups are still made: the bit is a sufficient reason
for a fast index, not a necessary one. Under a migration the missing bit is the dearer of the two: a page that is zapped
to be aged is mapped writable by its next read, so the dirty log has it again.
"""

from __future__ import annotations

from hostsim.report.age_report import two_by_two_tables
from hostsim.report.console import say, show
from hostsim.study.ageing.two_by_two import ERA, PERIOD_NS, SHEET, run_all
from hostsim.study.ageing.two_by_two_words import verdict_lines

PAGES, VCPUS, SEED = 2048, 2, 1


def main() -> None:
    """Eight VMs, and the same eight without ageing."""
    print(f"{PAGES * 4 // 1024} MiB, {VCPUS} vCPUs, aged each {PERIOD_NS // 1_000_000} ms, kernel {ERA}, machine {SHEET}")
    print()
    cells = run_all(PAGES, VCPUS, SEED)
    for table in two_by_two_tables(cells):
        show(table)
    say(verdict_lines(cells))


if __name__ == "__main__":
    main()
