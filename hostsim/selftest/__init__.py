"""KVM's own selftests, run in the simulator: the same phases, the same lines."""
