"""References for aeframe. Each trains `Work` in its own way and leaves a checkpoint per epoch."""
