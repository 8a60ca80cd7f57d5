"""The steps of schema `control`, oldest first; a step that was released is never edited."""
