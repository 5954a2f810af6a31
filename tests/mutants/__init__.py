"""Mutation testing: whether the tests notice a fault in the packages on which everything rests. See CONTRIBUTING.md."""
