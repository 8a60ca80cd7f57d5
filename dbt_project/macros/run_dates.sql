{#- The dates a run works with, as SQL literals; they come in as vars of the invocation. -#}

{%- macro run_date() -%}
  date '{{ var("run_date") }}'
{%- endmacro -%}

{#- Null where no run came before: no row has such a run date. -#}
{%- macro previous_run_date() -%}
  {%- if var("previous_run_date") -%} date '{{ var("previous_run_date") }}'
  {%- else -%} cast(null as date)
  {%- endif -%}
{%- endmacro -%}

{#- The published dates whose marts are built, as a list for IN: `run_dates` is a list of them. -#}
{%- macro built_dates() -%}
  {%- set dates = var("run_dates") -%}
  {%- if not dates -%} (cast(null as date))
  {%- else -%}
  (
    {%- for day in dates -%} date '{{ day }}'{{ ", " if not loop.last }}{%- endfor -%}
  )
  {%- endif -%}
{%- endmacro -%}
