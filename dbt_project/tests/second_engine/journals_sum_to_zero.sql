-- Without this dependency `dbt build` would skip the recomputation of journals that break the test,
-- and with it the balances they make wrong.
-- depends_on: {{ ref('recomputed_balances') }}

with postings as (

    select run_date, book, journal_id, asset_id, quantity
    from {{ source('core', 'ledger_postings') }}
    where run_date = {{ previous_run_date() }}

    union all

    select run_date, book, journal_id, asset_id, quantity
    from {{ source('stage', 'posted_postings') }}
    where run_date = {{ run_date() }}

)

select
    book,
    'journal/' || journal_id as account,
    '*' as state,
    asset_id,
    cast(sum(quantity) as decimal(28, 6)) as ours,
    cast(0 as decimal(28, 6)) as recomputed
from postings
group by run_date, book, journal_id, asset_id
having sum(quantity) <> 0
