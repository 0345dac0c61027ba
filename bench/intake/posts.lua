-- Sends prepared posts one after another, and says as JSON what came of them.
local posts, next = {}, 0

function init(arguments)
   local file = assert(io.open(arguments[1], "rb"))
   for length in function() return file:read(8) end do
      posts[#posts + 1] = file:read(tonumber(length))
   end
   file:close()
end

function request()
   next = next + 1
   return posts[(next - 1) % #posts + 1]
end

function done(summary, latency)
   io.write(string.format(
      '\n{"requests": %d, "seconds": %.6f, "refused": %d, "broken": %d, "p50": %.3f, "p99": %.3f, "longest": %.3f}\n',
      summary.requests, summary.duration / 1e6, summary.errors.status,
      summary.errors.connect + summary.errors.read + summary.errors.write + summary.errors.timeout,
      latency:percentile(50) / 1e3, latency:percentile(99) / 1e3, latency.max / 1e3
   ))
end
