"""Faults that are planted in a copy of the project, one at a time, and must be found by the test that each names."""
