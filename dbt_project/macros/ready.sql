{#- Opens the target's database; `dbt run-operation ready`. -#}
{%- macro ready() -%}
  {%- do run_query("select 1") -%}
{%- endmacro -%}
