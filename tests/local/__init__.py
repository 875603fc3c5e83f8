"""The tests of the local AWS."""
