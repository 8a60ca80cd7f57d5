-- What was dealt on the published date, line by line of its batches: gross, crossed inside, net.

select
    published.run_date,
    published.as_of,
    published.published_at,
    lines.book,
    lines.line_id,
    lines.batch_id,
    lines.run_date as dealing_date,
    lines.custodian_id,
    lines.asset_id,
    lines.quantity_type,
    lines.order_count as orders,
    lines.gross_buys,
    lines.gross_sells,
    lines.crossed,
    lines.net,
    lines.side,
    lines.instruction_id,
    lines.settlement_date,
    prices.price_date,
    prices.closing_price,
    case lines.quantity_type
        when 'A' then {{ money("lines.gross_buys + lines.gross_sells") }}
        else {{ money_product("lines.gross_buys + lines.gross_sells", "prices.closing_price") }}
    end as gross_value,
    case lines.quantity_type
        when 'A' then {{ money("lines.net") }}
        else {{ money_product("lines.net", "prices.closing_price") }}
    end as net_value
from {{ source('core', 'batch_lines') }} as lines
inner join {{ ref('stg_publications') }} as published
    on published.run_date = lines.run_date
left join {{ ref('stg_prices') }} as prices
    on prices.run_date = lines.run_date and prices.asset_id = lines.asset_id
where lines.run_date in {{ built_dates() }}
