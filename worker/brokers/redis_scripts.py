"""What Redis does in one step, in Lua: each script changes a message only while it is its caller's."""

from __future__ import annotations

from typing import Final

SETTLE: Final = """
-- Records outcomes and acknowledges messages, each of them only while it is ours: a stale worker changes nothing.
-- KEYS: stream, streams of results. ARGV: group, consumer, seconds of a fence, prefix of fences, then for each
-- message: id, whether it is complete, whether its rows are fenced, which of KEYS its outcomes go to, how many
-- there are, and for each: batch, index, body.
local next_arg = 5
local lost = {}
while next_arg <= #ARGV do
  local id, complete, fenced = ARGV[next_arg], ARGV[next_arg + 1] == '1', ARGV[next_arg + 2] == '1'
  local results, count = KEYS[tonumber(ARGV[next_arg + 3])], tonumber(ARGV[next_arg + 4])
  next_arg = next_arg + 5
  local ours = #redis.call('XPENDING', KEYS[1], ARGV[1], id, id, 1, ARGV[2]) == 1
  for _ = 1, count do
    if ours then
      local fence = ARGV[4] .. ARGV[next_arg]
      local is_new = not fenced or redis.call('SETBIT', fence, ARGV[next_arg + 1], 1) == 0
      if is_new and ARGV[next_arg + 2] ~= '' then
        redis.call('XADD', results, '*', 'message', ARGV[next_arg + 2])
      end
      if fenced then redis.call('EXPIRE', fence, ARGV[3]) end
    end
    next_arg = next_arg + 3
  end
  if not ours then
    lost[#lost + 1] = id
  elseif complete then
    redis.call('XACK', KEYS[1], ARGV[1], id)
    redis.call('XDEL', KEYS[1], id)
    redis.call('DEL', ARGV[4] .. id)
  end
end
return lost
"""
BURY: Final = """
-- KEYS: stream, dead letters. ARGV: group, consumer, id, letter.
if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[3], ARGV[3], 1, ARGV[2]) == 1 then
  redis.call('XADD', KEYS[2], '*', 'message', ARGV[4])
  redis.call('XACK', KEYS[1], ARGV[1], ARGV[3])
  redis.call('XDEL', KEYS[1], ARGV[3])
end
"""
ACKNOWLEDGE: Final = """
-- KEYS: stream. ARGV: group, consumer, ids.
for i = 3, #ARGV do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2]) == 1 then
    redis.call('XACK', KEYS[1], ARGV[1], ARGV[i])
    redis.call('XDEL', KEYS[1], ARGV[i])
  end
end
"""
HOLD: Final = """
-- Begins leases anew (idle 0), or ends them (idle as long as a lease, for a consumer that nobody is).
-- KEYS: stream. ARGV: group, consumer, new owner, idle ms, then for each message: id, times.
for i = 5, #ARGV, 2 do
  if #redis.call('XPENDING', KEYS[1], ARGV[1], ARGV[i], ARGV[i], 1, ARGV[2]) == 1 then
    redis.call('XCLAIM', KEYS[1], ARGV[1], ARGV[3], 0, ARGV[i],
               'IDLE', ARGV[4], 'RETRYCOUNT', ARGV[i + 1], 'JUSTID')
  end
end
"""
