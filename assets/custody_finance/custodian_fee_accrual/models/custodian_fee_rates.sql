-- Every rate ever stated. The last file that names a custodian and a date decides; one that states
-- it in two ways changes nothing.
with told as (
  select custodian_id, valid_from, annual_rate_bp
  from {{ source('feed', 'custodian_fee_rates') }}
  qualify sequence = max(sequence) over (partition by custodian_id, valid_from)
),

agreed as (
  select custodian_id, valid_from, min(annual_rate_bp) as annual_rate_bp
  from told
  group by custodian_id, valid_from
  having count(distinct annual_rate_bp) = 1
)

select custodian_id, valid_from, annual_rate_bp from agreed
union all
select custodian_id, valid_from, annual_rate_bp
from {{ source('previous_custody_finance', 'custodian_fee_rates') }}
anti join agreed using (custodian_id, valid_from)
