-- The newest accepted closing price of each asset up to the close that a run's books show.

with accepted as (

    select
        book.run_date,
        book.asset_id,
        book.price_date,
        book.closing_price,
        row_number() over (
            partition by book.run_date, book.asset_id order by book.price_date desc
        ) as age
    from {{ source('stage', 'price_book') }} as book
    inner join {{ ref('stg_publications') }} as published
        on published.run_date = book.run_date
    where book.run_date in {{ built_dates() }}
      and book.price_date <= published.as_of

)

select run_date, asset_id, price_date, closing_price
from accepted
where age = 1
