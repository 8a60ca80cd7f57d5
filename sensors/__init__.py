"""What starts a run: files arriving, the cut-off. No computation of a day."""
