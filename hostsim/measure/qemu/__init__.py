"""Real migrations by the QEMU of this host under its KVM, recorded in the form of measured cases."""
