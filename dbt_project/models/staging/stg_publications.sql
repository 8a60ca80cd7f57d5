-- The published dates that are built: the close their books show, and when they were published.

select
    published.run_date,
    batches.as_of,
    published.published_at,
    published.known_at
from {{ source('platform', 'publications') }} as published
inner join (
    -- Every book of a run is sealed on the prices of the same close.
    select run_date, min(price_date) as as_of
    from {{ source('core', 'dealing_batches') }}
    where run_date in {{ built_dates() }}
    group by run_date
) as batches
    on batches.run_date = published.run_date
where published.run_date in {{ built_dates() }}
