with holdings as (

    select
        book,
        asset_id,
        case state when 'reserved' then 'settled' else state end as state,
        quantity
    from {{ ref('recomputed_balances') }}

)

select
    book,
    '*' as account,
    state,
    asset_id,
    cast(0 as decimal(28, 6)) as ours,
    cast(sum(quantity) as decimal(28, 6)) as recomputed
from holdings
group by book, asset_id, state
having sum(quantity) <> 0
