"""Memory of the host: frames, reclaim, swap, page ageing."""
