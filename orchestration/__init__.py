"""How processes become Dagster assets: archetypes, resources, jobs, schedules. No dealing rule."""
