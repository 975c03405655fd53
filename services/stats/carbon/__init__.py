"""Points on their way to carbon: live, or from a recording."""
