"""What Redis does in one step, in Lua: each script changes a message only while it is its caller's.

They run also when Redis is full, or nobody could work it off: what they record makes room once it is collected.
"""

from __future__ import annotations

from typing import Final

SETTLE: Final = """#!lua flags=allow-oom
-- Records outcomes and acknowledges messages, each of them only while it is ours: a stale worker changes nothing.
-- KEYS: stream, streams of results. ARGV: group, consumer, seconds of a fence, prefix of fences, rows in one bitmap,
-- the messages as MessagePack, then the body of each outcome in their order. A message is: id, whether it is done,
-- whether its rows are fenced, which of KEYS its outcomes go to, and batch and index of each outcome. One without a
-- body is only fenced.
local next_body = 7
local lost = {}
for _, message in ipairs(cmsgpack.unpack(ARGV[6])) do
  local id, complete, fenced, results = message[1], message[2], message[3], KEYS[message[4]]
  local ours = #redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2]) == 1
  for position, row in ipairs(ours and message[5] or {}) do
    local fence = ARGV[4] .. row[1] .. '/' .. math.floor(row[2] / ARGV[5])
    local body = ARGV[next_body + position - 1]
    local bit = row[2] % ARGV[5]
    local is_new = not fenced or redis.call('GETBIT', fence, bit) == 0
    if is_new and body ~= '' then
      redis.call('XADD', results, '*', 'message', body)
    end
    if fenced then  -- last: a script that ends with an error undoes nothing, and this row would never be recorded
      redis.call('SETBIT', fence, bit, 1)
      redis.call('EXPIRE', fence, ARGV[3])
    end
  end
  next_body = next_body + #message[5]
  if not ours then
    lost[#lost + 1] = id
  elseif complete then
    redis.call('XACK', KEYS[1], ARGV[1], id)
    redis.call('XDEL', KEYS[1], id)
    redis.call('DEL', ARGV[4] .. id .. '/0')
  end
end
return lost
"""
BURY: Final = """#!lua flags=allow-oom
-- KEYS: stream, dead letters. ARGV: group, consumer, id, letter.
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2]) == 1 then
  redis.call('XADD', KEYS[2], '*', 'message', ARGV[4])
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
  redis.call('XDEL', KEYS[1], ARGV[3])
end
"""
ACKNOWLEDGE: Final = """#!lua flags=allow-oom
-- KEYS: stream. ARGV: group, consumer, ids.
for i = 3, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2]) == 1 then
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
    redis.call('XDEL', KEYS[1], ARGV[i])
  end
end
"""
JOIN: Final = """#!lua flags=allow-oom
-- KEYS: stream. ARGV: group.
redis.call('XGROUP', 'CREATE', KEYS[1], ARGV[1], '0', 'MKSTREAM')
"""
DEPTH: Final = """#!lua flags=no-writes
-- Both at one moment; a transaction would do, but into one a full Redis 7.0 takes no command, not even these.
-- KEYS: stream. ARGV: group.
return {redis.call('XLEN', KEYS[1]), redis.call('XPENDING', KEYS[1], ARGV[1])}
"""
REMEMBER: Final = """#!lua flags=allow-oom
-- KEYS: a bitmap. ARGV: seconds that it lasts, then the bits to set.
for i = 2, #ARGV do
  redis.call('SETBIT', KEYS[1], ARGV[i], 1)
end
redis.call('EXPIRE', KEYS[1], ARGV[1])
"""
HOLD: Final = """#!lua flags=allow-oom
-- Begins leases anew (idle 0), or ends them (idle as long as a lease, for a consumer that nobody is).
-- KEYS: stream. ARGV: group, consumer, new owner, idle ms, then for each message: id, times.
for i = 5, #ARGV, 2 do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2]) == 1 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[i],
               'IDLE', ARGV[4], 'RETRYCOUNT', ARGV[i + 1], 'JUSTID')
  end
end
"""
