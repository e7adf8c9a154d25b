"""The host on SimPy's clock: vCPUs, throttle, link, migration."""
