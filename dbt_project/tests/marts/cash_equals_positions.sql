-- The money of a pot is the same in cash_by_pot and in positions.

select run_date, book, pot_id, cash.total, positions.value
from {{ ref('cash_by_pot') }} as cash
full outer join (
    select positions.run_date, positions.book, positions.pot_id, positions.value
    from {{ ref('positions') }} as positions
    inner join {{ ref('stg_assets') }} as assets
        on assets.run_date = positions.run_date and assets.asset_id = positions.asset_id
    where assets.is_cash
) as positions
    using (run_date, book, pot_id)
where cash.total is distinct from positions.value
