"""Scripts that rows run as processes of their own. What they import is what is measured."""
