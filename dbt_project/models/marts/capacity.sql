-- How much every table of the published date holds, beside the number of pots it is for.

with pots as (

    select run_date, cast(count(*) as bigint) as pots
    from {{ source('core', 'pots') }}
    where run_date in {{ built_dates() }}
      and status <> 'closed'
    group by run_date

)

select
    published.run_date,
    published.as_of,
    published.published_at,
    partitions.dataset,
    partitions.process,
    partitions.row_count,
    partitions.size_bytes,
    coalesce(pots.pots, 0) as pots
from {{ source('platform', 'partitions') }} as partitions
inner join {{ ref('stg_publications') }} as published
    on published.run_date = partitions.run_date
left join pots on pots.run_date = partitions.run_date
where partitions.run_date in {{ built_dates() }}
