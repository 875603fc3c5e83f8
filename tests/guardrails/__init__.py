"""The proof of the compiled policies: probes, properties, and the vocabulary against that of IAM."""
