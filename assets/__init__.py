"""The processes: one folder per team, in it one folder per process."""
