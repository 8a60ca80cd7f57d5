-- wrk: every request is an order of its own, under a key of its own; latencies as JSON.
wrk.method = "POST"
wrk.headers["content-type"] = "application/json"
wrk.headers["authorization"] = "Bearer " .. os.getenv("ACME_API_KEY")
local run, threads, number = os.getenv("ACME_BENCH_RUN"), 0, 0

function setup(thread)
  thread:set("name", threads)
  threads = threads + 1
end

function request()
  number = number + 1
  local reference = run .. "-" .. name .. "-" .. number
  wrk.headers["idempotency-key"] = reference
  return wrk.format(nil, "/v1/orders", nil,
    '{"source_ref":"' .. reference .. '","pot_id":"P-1","kind":"contribution","amount":"10.00"}')
end

-- wrk counts answers of status 400 and above as errors.status.
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format(
    '\nJSON {"requests": %d, "us": %d, "p50_us": %d, "p99_us": %d, "errors": %d}\n',
    summary.requests, summary.duration, latency:percentile(50), latency:percentile(99),
    errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
