"""The operator's command `rolewarden`."""
