"""A host put together: VMs, daemons, link, migrations on one clock."""
