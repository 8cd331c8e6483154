"""Codes as bytes, and back."""
