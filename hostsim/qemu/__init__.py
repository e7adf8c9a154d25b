"""Migration as QEMU codes it: the thread, RAM, the throttle, the link."""
