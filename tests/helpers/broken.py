"""The command on an engine of which one line is broken so that it loses a write.

``NUMBA_DISABLE_JIT=1 python -m tests.helpers.broken NAME ARGUMENTS...`` is ``hostsim ARGUMENTS...`` on that engine.
"""

from __future__ import annotations

import sys

from hostsim.cli.main import main
from tests.twins.mutate import Mutation, apply

HARVEST, SEND = "hostsim.qemu.harvest", "hostsim.qemu.send"
SKIP_128 = "    if gfn == 128:\n        return\n    pages.zero"
REARM_ALL = "arm_paced(table, c, armed, now_work_ns)"
REARM = "armed.pending[offset + page] = next_touch(table, c, page, now_work_ns)"
LOSSES = {
    "a page has its record and no bit": Mutation(HARVEST, "_record", "pages.bmap[gfn] = 1", "pages.bmap[gfn] = gfn != 128"),
    "a page has no record": Mutation(HARVEST, "_record", "    pages.zero", SKIP_128),
    "a written page passes for zero": Mutation(HARVEST, "_record", "pages.zero[gfn] = 0", "pass"),
    "a sweep is not armed again": Mutation(HARVEST, "harvest", REARM, "pass"),
    "a sweep is armed for never": Mutation(HARVEST, "harvest", REARM, "armed.pending[offset + page] = 1 << 62"),
    "a drawn class is not armed again": Mutation(HARVEST, "harvest_paced", REARM_ALL, "pass"),
    "a hit is cleared and not recorded": Mutation(HARVEST, "harvest_paced", "_record(pages,", "(lambda *_: None)(pages,"),
    "a page is not sent again": Mutation(
        SEND, "send_pages", "copied[gfn] = version[gfn]", "copied[gfn] = version[gfn] if copied[gfn] > 1 << 30 else 0"
    ),
    "a page is never sent": Mutation(
        SEND, "send_pages", "copied[gfn] = version[gfn]", "copied[gfn] = copied[500] if gfn == 500 else version[gfn]"
    ),
    "two bits go with one page": Mutation(SEND, "send_pages", "bmap[gfn] = 0", "bmap[gfn : gfn + 2] = 0"),
}  # fmt: skip
PACKETS = "hostsim.qemu.multifd_send"
MULTIFD_LOSSES = {
    "a packet is dropped before a sync": Mutation(
        PACKETS, "_begin_sync", "net.state[HANDING] = net.state[QUEUED]", "net.state[QUEUED] = 0"
    ),
    "a full packet loses its last page": Mutation(
        PACKETS, "_give_packet", "net.state[QUEUED] -= n_pages", "net.state[QUEUED] = 0"
    ),
    "a channel reads the page of before": Mutation(
        PACKETS, "_read_pages", "= pages.version[gfn]", "= pages.version[gfn] if pages.copied[gfn] > 1 << 30 else 0"
    ),
}  # fmt: skip

if __name__ == "__main__":
    apply((LOSSES | MULTIFD_LOSSES)[sys.argv.pop(1)])
    main()
