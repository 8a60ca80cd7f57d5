"""Where data rests: contracts, lake tables, Postgres, landed files. No dealing rule."""
