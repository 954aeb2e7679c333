"""Faults on purpose: what `make faults` does to builds, checks and registries, on this machine only, bounded."""
