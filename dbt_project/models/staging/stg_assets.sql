-- The version of each asset that is valid on the run date.

with versions as (

    select
        run_date,
        asset_id,
        name,
        currency,
        custodian_id,
        row_number() over (partition by run_date, asset_id order by valid_from desc) as age
    from {{ source('core', 'assets') }}
    where run_date in {{ built_dates() }}
      and valid_from <= run_date

)

select
    run_date,
    asset_id,
    name as asset_name,
    custodian_id,
    asset_id = currency as is_cash
from versions
where age = 1
