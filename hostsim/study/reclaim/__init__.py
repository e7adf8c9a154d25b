"""The memory that proactive reclaim can take within a latency budget, with and without a migration."""
