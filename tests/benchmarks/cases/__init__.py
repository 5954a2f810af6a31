"""The cases that are measured, one kind a file."""
