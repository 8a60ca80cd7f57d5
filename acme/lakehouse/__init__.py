"""Where data rests: contracts, lake tables, Postgres, landed files, publication. No dealing rule."""
