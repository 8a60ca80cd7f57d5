with ours as (

    select book, account, state, asset_id, quantity
    from {{ source('core', 'ledger_balances') }}
    where run_date = {{ run_date() }}

)

select
    book,
    account,
    state,
    asset_id,
    ours.quantity as ours,
    recomputed.quantity as recomputed
from ours
full outer join {{ ref('recomputed_balances') }} as recomputed
    using (book, account, state, asset_id)
where ours.quantity is distinct from recomputed.quantity
