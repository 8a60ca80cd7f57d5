-- What became of the canary book on the published date; no row where there is no canary pot.

with pots as (

    select run_date, cast(count(*) as bigint) as pots
    from {{ source('core', 'pots') }}
    where run_date in {{ built_dates() }}
      and book = 'canary'
    group by run_date

),

batches as (

    select run_date, cast(sum(order_count) as bigint) as orders_dealt
    from {{ source('core', 'dealing_batches') }}
    where run_date in {{ built_dates() }}
      and book = 'canary'
    group by run_date

),

trades as (

    select run_date, cast(count(*) as bigint) as trades_booked
    from {{ source('core', 'allocations') }}
    where run_date in {{ built_dates() }}
      and book = 'canary'
    group by run_date

),

breaks as (

    select run_date, cast(count(*) as bigint) as breaks_outstanding
    from {{ source('core', 'reconciliation_breaks') }}
    where run_date in {{ built_dates() }}
      and state in ('open', 'explained')
      and (book = 'canary' or class = 'canary_leak')
    group by run_date

)

select
    published.run_date,
    published.as_of,
    published.published_at,
    pots.pots,
    coalesce(batches.orders_dealt, 0) as orders_dealt,
    coalesce(trades.trades_booked, 0) as trades_booked,
    coalesce(breaks.breaks_outstanding, 0) as breaks_outstanding,
    -- A canary that deals nothing proves nothing.
    coalesce(batches.orders_dealt, 0) > 0
    and coalesce(breaks.breaks_outstanding, 0) = 0 as is_met
from pots
inner join {{ ref('stg_publications') }} as published
    on published.run_date = pots.run_date
left join batches on batches.run_date = pots.run_date
left join trades on trades.run_date = pots.run_date
left join breaks on breaks.run_date = pots.run_date
