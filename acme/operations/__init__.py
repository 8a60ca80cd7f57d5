"""Running the platform: opening an installation, its runs and their state. No dealing rule."""
