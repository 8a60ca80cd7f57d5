-- Every process and every check of the published date: whether it came through, and when.

with processes as (

    select
        run_date,
        'process' as kind,
        process as name,
        'completed' as outcome,
        cast(null as boolean) as is_blocking,
        cast(count(*) as bigint) as tables_written,
        cast(sum(row_count) as bigint) as row_count,
        cast(0 as bigint) as failures,
        max(written_at) as finished_at
    from {{ source('platform', 'partitions') }}
    where run_date in {{ built_dates() }}
    group by run_date, process

),

checks as (

    select
        run_date,
        'check' as kind,
        check_name as name,
        case when passed then 'passed' else 'failed' end as outcome,
        blocking as is_blocking,
        cast(0 as bigint) as tables_written,
        cast(0 as bigint) as row_count,
        failures,
        cast(null as timestamp) as finished_at
    from {{ source('core', 'check_results') }}
    where run_date in {{ built_dates() }}

),

together as (

    select * from processes
    union all
    select * from checks

)

select
    published.run_date,
    published.as_of,
    published.published_at,
    together.kind,
    together.name,
    together.outcome,
    together.is_blocking,
    together.tables_written,
    together.row_count,
    together.failures,
    together.finished_at
from together
inner join {{ ref('stg_publications') }} as published
    on published.run_date = together.run_date
