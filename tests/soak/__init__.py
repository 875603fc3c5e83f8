"""Random nights and malformed input, for `make soak`: see docs/explanation/reliability.md."""
