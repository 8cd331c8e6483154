"""What aeframe is measured against. Each trains `Work` in its own way and leaves a checkpoint per epoch."""
