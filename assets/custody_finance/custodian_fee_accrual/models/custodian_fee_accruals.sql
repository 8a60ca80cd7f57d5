-- The fee for the days from the close of P to T. Figures are whole numbers of minor units until the
-- end: the division of two decimals would give a float.
{%- set run_date = "date '" ~ var('run_date') ~ "'" %}
{%- set as_of = "date '" ~ var('as_of') ~ "'" %}
{#- Units and prices have 6 decimals, money 2, rates 4 and a basis point is 10^-4; accruals have 6. #}
{%- set product_per_penny = 10 ** 10 %}
{%- set accrual_divisor = 10 ** 4 * 365 %}

with held as (
  select
    replace(account, 'custodian/', '') as custodian_id,
    asset_id,
    -- The custodian is the contra side of the ledger.
    -sum(quantity) as units
  from {{ source('core', 'ledger_balances') }}
  where book = 'live' and account like 'custodian/%' and state = 'settled'
    and asset_id <> '{{ var("currency") }}'
  group by all
),

before as (
  select * from {{ source('previous_custody_finance', 'custodian_fee_accruals') }}
),

landed as (
  select p.price_date, p.asset_id, p.closing_price, p.status, i.sequence
  from {{ source('core', 'closing_prices') }} as p
  join {{ source('core', 'run_inputs') }} as i using (file_sha256)
  union all
  select p.price_date, p.asset_id, p.closing_price, p.status, i.sequence
  from {{ source('previous_core', 'closing_prices') }} as p
  join {{ source('previous_core', 'run_inputs') }} as i using (file_sha256)
),

newest as (
  select distinct asset_id, closing_price, status
  from landed
  where price_date = {{ as_of }}
  qualify sequence = max(sequence) over (partition by asset_id)
),

-- Where P has no accepted price, the last that was used goes on.
prices as (
  select
    coalesce(n.asset_id, b.asset_id) as asset_id,
    coalesce(n.closing_price, b.price) as price,
    case when n.asset_id is not null then {{ as_of }} else b.price_date end as price_date
  from (select asset_id, closing_price from newest where status = 'accepted') as n
  full join (
    select asset_id, any_value(price) as price, any_value(price_date) as price_date
    from before
    where price is not null
    group by asset_id
  ) as b using (asset_id)
),

rates as (
  select custodian_id, annual_rate_bp
  from {{ ref('custodian_fee_rates') }}
  where valid_from <= {{ as_of }}
  qualify valid_from = max(valid_from) over (partition by custodian_id)
),

-- What is no longer held keeps what it cost this month.
accounts as (
  select
    custodian_id,
    asset_id,
    coalesce(h.units, 0) as units,
    coalesce(b.month_to_date, 0) as month_before
  from held as h
  full join (
    select custodian_id, asset_id, month_to_date
    from before
    where date_trunc('month', valuation_date) = date_trunc('month', {{ as_of }})
  ) as b using (custodian_id, asset_id)
),

valued as (
  select
    a.*,
    p.price,
    p.price_date,
    r.annual_rate_bp,
    cast(a.units * 1000000 as hugeint) * cast(p.price * 1000000 as hugeint) as product
  from accounts as a
  left join prices as p using (asset_id)
  left join rates as r using (custodian_id)
),

-- Half-even to the penny.
rounded as (
  select
    *,
    product // {{ product_per_penny }} + case
      when 2 * (product % {{ product_per_penny }})
        + (product // {{ product_per_penny }}) % 2 > {{ product_per_penny }} then 1
      else 0
    end as pence
  from valued
),

accrued as (
  select
    *,
    coalesce(
      pence * cast(annual_rate_bp * 10000 as hugeint) * ({{ run_date }} - {{ as_of }})
      // {{ accrual_divisor }},
      0
    ) as micro
  from rounded
)

select
  custodian_id,
  asset_id,
  {{ as_of }} as valuation_date,
  cast({{ run_date }} - {{ as_of }} as integer) as days,
  cast(units as decimal(28, 6)) as units,
  cast(price as decimal(18, 6)) as price,
  price_date,
  cast(cast(pence as decimal(28, 0)) * cast('0.01' as decimal(2, 2)) as decimal(18, 2))
    as market_value,
  annual_rate_bp,
  cast(cast(micro as decimal(28, 0)) * cast('0.000001' as decimal(6, 6)) as decimal(18, 6))
    as accrued,
  cast(
    month_before + cast(micro as decimal(28, 0)) * cast('0.000001' as decimal(6, 6))
    as decimal(18, 6)
  ) as month_to_date
from accrued
