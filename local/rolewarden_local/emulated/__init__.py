"""The parts of AWS that MiniStack and moto do not supply.

docs/explanation/local-aws.md says which module supplies which part.
"""
