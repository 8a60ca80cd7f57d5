-- Breaks not closed, by where, what, state and age.

select
    published.run_date,
    published.as_of,
    published.published_at,
    breaks.book,
    breaks.custodian_id,
    coalesce(breaks.asset_id, '*') as asset_id,
    breaks.class as break_class,
    breaks.state,
    breaks.age_bucket,
    cast(count(*) as bigint) as breaks,
    min(breaks.first_seen) as oldest_seen,
    cast(max(breaks.age) as bigint) as oldest_age,
    {{ quantity_sum("abs(breaks.difference)") }} as absolute_difference
from {{ source('core', 'reconciliation_breaks') }} as breaks
inner join {{ ref('stg_publications') }} as published
    on published.run_date = breaks.run_date
where breaks.run_date in {{ built_dates() }}
  and breaks.state <> 'closed'
group by
    published.run_date,
    published.as_of,
    published.published_at,
    breaks.book,
    breaks.custodian_id,
    coalesce(breaks.asset_id, '*'),
    breaks.class,
    breaks.state,
    breaks.age_bucket
