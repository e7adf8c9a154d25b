"""How much memory can be reclaimed at a latency budget, and what a migration does to that."""
