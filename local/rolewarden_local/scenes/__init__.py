"""Accounts to fill the local AWS with, and what is shown on them: the stage, the demo and the playground."""
