-- The money of every pot: what is there, what is promised, what is on its way.

select
    published.run_date,
    published.as_of,
    published.published_at,
    balances.book,
    substr(balances.account, 5) as pot_id,
    balances.asset_id as currency,
    {{ money("balances.settled") }} as settled,
    {{ money("balances.reserved") }} as reserved,
    {{ money("balances.in_flight") }} as in_flight,
    {{ money("balances.total") }} as total,
    balances.settled < 0 as is_overdrawn
from {{ ref('stg_balances') }} as balances
inner join {{ ref('stg_publications') }} as published
    on published.run_date = balances.run_date
inner join {{ ref('stg_assets') }} as assets
    on assets.run_date = balances.run_date and assets.asset_id = balances.asset_id
where assets.is_cash
  and balances.account like 'pot/%'
