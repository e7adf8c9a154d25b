"""Indexes of sptes: one class a design, behind hostsim.mmu.index.protocol.SpteIndex."""
