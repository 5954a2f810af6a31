"""cli: the command line and what belongs to it, for a developer's machine only; Lambda has none of it.

The entry point calls ``main.main``; a module is loaded when a command line needs it, and lint, new and calls of a
deployed function work without the driver. May import every other package.
"""

__all__ = ["main"]
