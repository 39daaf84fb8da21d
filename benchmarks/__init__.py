"""Speed and memory, as ratios within one run: `make bench` (see `benchmarks.run`)."""
