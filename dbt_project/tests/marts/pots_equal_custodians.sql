-- What pots and suspense hold is what the custodians should hold, asset by asset (rules §8.2).

select run_date, book, asset_id, units, units_in_suspense, units_at_custodian
from {{ ref('holdings_by_asset') }}
where units + units_in_suspense <> units_at_custodian
