-- Every date that is built has one row in published, and its tables in capacity.

select run_date, published.as_of, tables.tables_written
from {{ ref('published') }} as published
full outer join (
    select run_date, count(*) as tables_written
    from {{ ref('capacity') }}
    group by run_date
) as tables
    using (run_date)
where published.as_of is null or tables.tables_written is null
