"""Presentation: terminal tables, progress, pictures, files."""
