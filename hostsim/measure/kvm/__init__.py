"""Real KVM, measured through /dev/kvm."""
