-- One row for each published date: what the other marts of that date are part of.

with batches as (

    select
        run_date,
        cast(count(*) as bigint) as batches,
        cast(sum(order_count) as bigint) as orders_dealt,
        max(case when book = 'live' then seal end) as live_seal
    from {{ source('core', 'dealing_batches') }}
    where run_date in {{ built_dates() }}
    group by run_date

),

checks as (

    select
        run_date,
        cast(count(*) as bigint) as checks,
        cast(sum(case when passed then 1 else 0 end) as bigint) as checks_passed
    from {{ source('core', 'check_results') }}
    where run_date in {{ built_dates() }}
    group by run_date

),

datasets as (

    select
        run_date,
        cast(count(*) as bigint) as tables_published,
        cast(sum(rows) as bigint) as rows_published
    from {{ source('core', 'publications') }}
    where run_date in {{ built_dates() }}
    group by run_date

)

select
    published.run_date,
    published.as_of,
    published.published_at,
    published.known_at,
    batches.batches,
    batches.orders_dealt,
    batches.live_seal,
    coalesce(checks.checks, 0) as checks,
    coalesce(checks.checks_passed, 0) as checks_passed,
    coalesce(datasets.tables_published, 0) as tables_published,
    coalesce(datasets.rows_published, 0) as rows_published
from {{ ref('stg_publications') }} as published
inner join batches on batches.run_date = published.run_date
left join checks on checks.run_date = published.run_date
left join datasets on datasets.run_date = published.run_date
