"""Compare our models with published ones, all causal, with the delay as an axis: docs/board.md."""
