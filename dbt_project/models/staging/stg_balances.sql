-- Balances of every account and asset, one column for each state.

select
    run_date,
    book,
    account,
    asset_id,
    {{ quantity_sum("case when state = 'settled' then quantity end") }} as settled,
    {{ quantity_sum("case when state = 'reserved' then quantity end") }} as reserved,
    {{ quantity_sum("case when state = 'in_flight' then quantity end") }} as in_flight,
    {{ quantity_sum("quantity") }} as total
from {{ source('core', 'ledger_balances') }}
where run_date in {{ built_dates() }}
group by run_date, book, account, asset_id
