"""Measurements for which only root has the means, made when they are asked for; the host is left as it was."""
