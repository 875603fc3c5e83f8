"""Accounts for the local AWS, and three uses of them: the stage, the demo and the playground."""
