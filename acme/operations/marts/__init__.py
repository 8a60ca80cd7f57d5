"""The marts of finance: built by dbt on two engines, compared, and served by both."""
