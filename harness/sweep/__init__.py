"""Many checkpoints, stored or recovered in memory, scored by one engine: `sweep` and `eval`."""
