-- What every order got, as it was booked by the run of the published date.

select
    published.run_date,
    published.as_of,
    published.published_at,
    allocations.book,
    allocations.allocation_id as trade_id,
    allocations.effective_date as dealing_date,
    allocations.pot_id,
    allocations.asset_id,
    allocations.side,
    allocations.units,
    allocations.consideration,
    prices.closing_price,
    allocations.order_id,
    orders.source as order_source,
    orders.kind as order_kind,
    orders.settlement_date,
    allocations.batch_id,
    allocations.line_id,
    allocations.journal_id,
    allocations.reverses as replaces_trade_id
from {{ source('core', 'allocations') }} as allocations
inner join {{ ref('stg_publications') }} as published
    on published.run_date = allocations.run_date
left join {{ source('stage', 'posted_orders') }} as orders
    on orders.run_date = allocations.run_date
    and orders.order_id = allocations.order_id
left join {{ source('stage', 'price_book') }} as prices
    on prices.run_date = allocations.run_date
    and prices.asset_id = allocations.asset_id
    and prices.price_date = allocations.effective_date
where allocations.run_date in {{ built_dates() }}
