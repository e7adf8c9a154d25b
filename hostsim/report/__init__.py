"""What a person sees of a run: tables, a progress bar, a picture, the files."""
