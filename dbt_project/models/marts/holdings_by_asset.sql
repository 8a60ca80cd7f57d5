-- All pots together, asset by asset, against what the custodian should hold for them.

with pots as (

    select
        run_date,
        book,
        asset_id,
        cast(count(*) as bigint) as pots,
        {{ quantity_sum("units") }} as units,
        {{ quantity_sum("units_settled") }} as units_settled,
        {{ quantity_sum("units_reserved") }} as units_reserved,
        {{ quantity_sum("units_in_flight") }} as units_in_flight,
        {{ money_sum("value") }} as value
    from {{ ref('positions') }}
    group by run_date, book, asset_id

),

others as (

    select
        run_date,
        book,
        asset_id,
        {{ quantity_sum("case when account like 'suspense/%' then total end") }} as units_in_suspense,
        {{ quantity_sum("case when account like 'custodian/%' then -total end") }} as units_at_custodian
    from {{ ref('stg_balances') }}
    where account not like 'pot/%'
    group by run_date, book, asset_id

),

held as (

    select
        coalesce(pots.run_date, others.run_date) as run_date,
        coalesce(pots.book, others.book) as book,
        coalesce(pots.asset_id, others.asset_id) as asset_id,
        coalesce(pots.pots, 0) as pots,
        cast(coalesce(pots.units, 0) as decimal(28, 6)) as units,
        cast(coalesce(pots.units_settled, 0) as decimal(28, 6)) as units_settled,
        cast(coalesce(pots.units_reserved, 0) as decimal(28, 6)) as units_reserved,
        cast(coalesce(pots.units_in_flight, 0) as decimal(28, 6)) as units_in_flight,
        cast(coalesce(others.units_in_suspense, 0) as decimal(28, 6)) as units_in_suspense,
        cast(coalesce(others.units_at_custodian, 0) as decimal(28, 6)) as units_at_custodian,
        pots.value
    from pots
    full outer join others
        on others.run_date = pots.run_date
        and others.book = pots.book
        and others.asset_id = pots.asset_id

)

select
    published.run_date,
    published.as_of,
    published.published_at,
    held.book,
    held.asset_id,
    assets.asset_name,
    assets.custodian_id,
    held.pots,
    held.units,
    held.units_settled,
    held.units_reserved,
    held.units_in_flight,
    held.units_in_suspense,
    held.units_at_custodian,
    prices.price_date,
    prices.closing_price,
    held.value
from held
inner join {{ ref('stg_publications') }} as published
    on published.run_date = held.run_date
inner join {{ ref('stg_assets') }} as assets
    on assets.run_date = held.run_date and assets.asset_id = held.asset_id
left join {{ ref('stg_prices') }} as prices
    on prices.run_date = held.run_date and prices.asset_id = held.asset_id
