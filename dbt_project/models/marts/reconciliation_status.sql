-- Every custodian's account and asset: what our books say, and whether a break stands on it.

with believed as (

    select
        run_date,
        book,
        substr(account, 11) as custodian_id,
        asset_id,
        cast(-settled - reserved as decimal(28, 6)) as units_settled,
        cast(-total as decimal(28, 6)) as units_traded
    from {{ ref('stg_balances') }}
    where account like 'custodian/%'

),

breaks as (

    select
        run_date,
        book,
        custodian_id,
        -- A break of a whole statement is on no asset.
        coalesce(asset_id, '*') as asset_id,
        cast(sum(case when state in ('open', 'explained') then 1 else 0 end) as bigint)
            as breaks_outstanding,
        cast(
            sum(case when state in ('open', 'explained') and class <> 'timing' then 1 else 0 end)
            as bigint
        ) as breaks_beyond_timing,
        cast(sum(case when state = 'corrected' then 1 else 0 end) as bigint) as breaks_to_close,
        min(case when state in ('open', 'explained') then first_seen end) as outstanding_since
    from {{ source('core', 'reconciliation_breaks') }}
    where run_date in {{ built_dates() }}
    group by run_date, book, custodian_id, coalesce(asset_id, '*')

),

suspended as (

    select distinct run_date, book, asset_id
    from {{ source('core', 'suspended_assets') }}
    where run_date in {{ built_dates() }}

),

compared as (

    select
        coalesce(believed.run_date, breaks.run_date) as run_date,
        coalesce(believed.book, breaks.book) as book,
        coalesce(believed.custodian_id, breaks.custodian_id) as custodian_id,
        coalesce(believed.asset_id, breaks.asset_id) as asset_id,
        cast(coalesce(believed.units_settled, 0) as decimal(28, 6)) as units_settled,
        cast(coalesce(believed.units_traded, 0) as decimal(28, 6)) as units_traded,
        coalesce(breaks.breaks_outstanding, 0) as breaks_outstanding,
        coalesce(breaks.breaks_beyond_timing, 0) as breaks_beyond_timing,
        coalesce(breaks.breaks_to_close, 0) as breaks_to_close,
        breaks.outstanding_since
    from believed
    full outer join breaks
        on breaks.run_date = believed.run_date
        and breaks.book = believed.book
        and breaks.custodian_id = believed.custodian_id
        and breaks.asset_id = believed.asset_id

)

select
    published.run_date,
    published.as_of,
    published.published_at,
    compared.book,
    compared.custodian_id,
    compared.asset_id,
    compared.units_settled,
    compared.units_traded,
    case
        when compared.breaks_beyond_timing > 0 then 'break'
        when compared.breaks_outstanding > 0 then 'timing'
        else 'agreed'
    end as status,
    compared.breaks_outstanding,
    compared.breaks_to_close,
    compared.outstanding_since,
    suspended.asset_id is not null as is_suspended
from compared
inner join {{ ref('stg_publications') }} as published
    on published.run_date = compared.run_date
left join suspended
    on suspended.run_date = compared.run_date
    and suspended.book = compared.book
    and suspended.asset_id = compared.asset_id
