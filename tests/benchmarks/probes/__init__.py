"""Scripts that rows run as processes of their own. Their imports are measured."""
