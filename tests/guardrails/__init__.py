"""Tests of the compiled policies: probes, properties, and names that are compared with IAM's."""
