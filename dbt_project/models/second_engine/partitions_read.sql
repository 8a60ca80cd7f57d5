{{ config(materialized='view') }}

-- Which files the engine took the balances from: the platform compares them with the manifest of
-- the run dates, so that a recomputation is never about other bytes than those that were verified.

{%- set partitions = [
    ('core', 'ledger_balances', run_date()),
    ('stage', 'posted_postings', run_date()),
    ('core', 'ledger_balances', previous_run_date()),
    ('core', 'ledger_postings', previous_run_date()),
] %}

{% for schema_name, table_name, date in partitions %}
select
    '{{ schema_name }}.{{ table_name }}' as dataset,
    run_date,
    filename as file,
    count(*) as row_count
from {{ source(schema_name, table_name) }}
where run_date = {{ date }}
group by run_date, filename
{{ 'union all' if not loop.last }}
{% endfor %}
