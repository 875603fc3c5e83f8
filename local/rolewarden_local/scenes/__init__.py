"""What is played on the local AWS: the accounts that it is filled with, the demo and the playground."""
