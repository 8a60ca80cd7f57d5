-- What every pot holds of every asset, and what it is worth at the newest accepted price.

select
    published.run_date,
    published.as_of,
    published.published_at,
    balances.book,
    substr(balances.account, 5) as pot_id,
    balances.asset_id,
    pots.risk_profile_id,
    balances.total as units,
    balances.settled as units_settled,
    balances.reserved as units_reserved,
    balances.in_flight as units_in_flight,
    prices.price_date,
    prices.closing_price,
    case
        when assets.is_cash then {{ money("balances.total") }}
        else {{ money_product("balances.total", "prices.closing_price") }}
    end as value
from {{ ref('stg_balances') }} as balances
inner join {{ ref('stg_publications') }} as published
    on published.run_date = balances.run_date
inner join {{ ref('stg_assets') }} as assets
    on assets.run_date = balances.run_date and assets.asset_id = balances.asset_id
left join {{ ref('stg_prices') }} as prices
    on prices.run_date = balances.run_date and prices.asset_id = balances.asset_id
left join {{ source('core', 'pots') }} as pots
    on pots.run_date = balances.run_date
    and pots.book = balances.book
    and pots.pot_id = substr(balances.account, 5)
where balances.account like 'pot/%'
