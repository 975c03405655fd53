"""Fire drills: faults by plan, and what they cost."""
