"""The tests of Rolewarden, by feature, and the helper modules that they share."""
