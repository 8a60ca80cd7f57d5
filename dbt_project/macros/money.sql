{#- Exact arithmetic, the same on both engines (rules §1). Both round a tie away from zero; money
    goes to the even neighbour. -#}

{#- money(x) of the rules: an exact decimal, half-even to the penny. -#}
{%- macro money(x) -%}
  cast(
    case
      when abs(({{ x }}) - round({{ x }}, 2)) = 0.005
        and cast(round({{ x }}, 2) * 100 as decimal(38, 0)) % 2 <> 0
        then round({{ x }}, 2) - case when ({{ x }}) < 0 then -0.01 else 0.01 end
      else round({{ x }}, 2)
    end
    as decimal(18, 2)
  )
{%- endmacro -%}

{#- money(units × price): six decimals times six decimals, exact with its twelve; raises where the
    product has more than 26 digits before the point. -#}
{%- macro money_product(units, price) -%}
  {{ money(
    "cast(" ~ units ~ " as decimal(28, 6)) * cast(" ~ price ~ " as decimal(18, 6))"
  ) }}
{%- endmacro -%}

{#- A sum of quantities: decimals add up exactly on both engines; one that no longer fits raises. -#}
{%- macro quantity_sum(x) -%}
  cast(coalesce(sum({{ x }}), 0) as decimal(28, 6))
{%- endmacro -%}

{#- A sum of money; null where there is none to add. -#}
{%- macro money_sum(x) -%}
  cast(sum({{ x }}) as decimal(18, 2))
{%- endmacro -%}
