"""Random nights and malformed input for `make soak`. See docs/explanation/reliability.md."""
