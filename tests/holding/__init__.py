"""A site whose save of a notebook can be held between the blob and the row, for a test that kills it there."""
