-- Balances as of the close of the business date before the run date, from what the run before
-- handed on and what the post of this run made (rules §8.7). DECIMAL sums are exact in DuckDB;
-- a sum that no longer fits DECIMAL(28,6) raises.

with entries as (

    select book, account, state, asset_id, quantity
    from {{ source('core', 'ledger_balances') }}
    where run_date = {{ previous_run_date() }}

    union all

    -- What the decide of the run before reserved and paid: effective on its own date, so that
    -- its own balances, struck before, could not hold it yet.
    select book, account, state, asset_id, quantity
    from {{ source('core', 'ledger_postings') }}
    where run_date = {{ previous_run_date() }}
      and effective_date = {{ previous_run_date() }}

    union all

    select book, account, state, asset_id, quantity
    from {{ source('stage', 'posted_postings') }}
    where run_date = {{ run_date() }}
      and effective_date < {{ run_date() }}

)

select
    book,
    account,
    state,
    asset_id,
    cast(sum(quantity) as decimal(28, 6)) as quantity
from entries
group by book, account, state, asset_id
having sum(quantity) <> 0
