"""Compiled loops over the sptes and vCPUs of one VM.

The loops share the parameters below and name them alike.

k: Kvm (layout.py), the whole state of the VM; records and arrays in it are changed in place.
v: number of a vCPU, a row of ``k.vcpus``.
s, c, p: rows of ``k.streams``, ``k.classes`` and ``k.parts``.
host: slot of a process or walker of the host that may hold mmu_lock.
page, first, end: gfn; gfns [first, end).
region: number of 512 pages that one 2 MiB spte may map, ``page >> REGION_BITS``.
sptes, state: ``k.sptes`` and ``k.state``, where a loop needs nothing else of ``k``.
now_ns: host time of the event [ns]; work_ns: time that a work clock has run [ns].
"""
