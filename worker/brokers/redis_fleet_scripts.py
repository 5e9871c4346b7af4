"""What Redis does for a fleet's rate in one step, in Lua. Times are microseconds of its own clock.

They run also when Redis is full: what they write is small, and goes by itself.
"""

from __future__ import annotations

from typing import Final

RESERVE: Final = """#!lua flags=allow-oom
-- Gives out slots of one rate: a virtual schedule (GCRA of burst 1) that hands the next slots to whoever asks.
-- KEYS: state; workers by when they were last heard of; workers by ceiling.
-- ARGV: worker, ceiling, slots, accepted, refused, cool-down, told, willing, rate, climb, expected, absent,
-- answered.
local FORGET, GATHER, LEASE = 30e6, 5e6, 3e6
local LONGEST, CATCH_UP, EXPIRE = 300e6, 2e3, 600
local clock = redis.call('TIME')
local now = clock[1] * 1e6 + clock[2]
local arg = {}
for i = 2, 12 do arg[i] = tonumber(ARGV[i]) end
local state = redis.call('HMGET', KEYS[1], 'tat', 'resume', 'rate', 'climb', 'leader', 'leads_until',
                         'expected', 'expected_until', 'since')
local function known(i) return tonumber(state[i] or 0) end
-- What lasts for so long at most and is still further off is from before the clock was set back: it is over.
local function ends(i, most) return known(i) <= now + most and known(i) or 0 end

-- Who is there. One that went silent may pace itself: its share is kept free until it is forgotten. So is, after
-- Redis was away, that of those who have not come back yet.
redis.call('ZADD', KEYS[2], now, ARGV[1])
redis.call('ZADD', KEYS[3], arg[2], ARGV[1])
for _, gone in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - FORGET)) do
  redis.call('ZREM', KEYS[2], gone)
  redis.call('ZREM', KEYS[3], gone)
end
local workers = redis.call('ZCARD', KEYS[2])
local gathering = now < ends(8, GATHER)
local expected = gathering and known(7) or 0
local since = gathering and known(9) or 0
if arg[11] > 0 then
  expected = math.max(expected, arg[11])
  if since == 0 then since = now end
  redis.call('HSET', KEYS[1], 'expected', expected, 'expected_until', now + GATHER, 'since', since)
end
local present = redis.call('ZCOUNT', KEYS[2], math.max(now - arg[12], since), '+inf')

-- The rate. One worker leads: what it knows of the limit holds; a new one goes on from there.
local rate, climb = known(3), state[4] or '-1'
local led = state[5] == ARGV[1] and now < ends(6, LEASE)
local leads = arg[8] == 1 and (led or now >= ends(6, LEASE))
if leads then redis.call('HSET', KEYS[1], 'leader', ARGV[1], 'leads_until', now + LEASE) end
if (leads and led) or rate == 0 then rate, climb = arg[9], ARGV[10] end
local ceiling = tonumber(redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2])
local force = math.min(rate, ceiling)
local interval = 1e6 / (force * math.min(1, present / math.max(workers, expected)))

-- The cool-down: only ever moved later, and never for long at once.
local resume = math.min(known(2), now + LONGEST)
if arg[6] > 0 then resume = math.max(resume, now + math.min(arg[6], LONGEST)) end

-- The slots. A moment for which nobody asked is lost. What is further ahead than workers reserve is from a clock
-- that was set, or from a slower rate. What was reserved when a cool-down began is given up by all who hear of it.
local tat = resume > known(2) and 0 or math.min(known(1), now + 1e6 + 2 * workers * interval)
tat = math.max(tat, resume, now - CATCH_UP)
local slots = resume > now and 0 or arg[3]
redis.call('HSET', KEYS[1], 'tat', tat + slots * interval, 'resume', resume, 'rate', rate, 'climb', climb)
local accepted = redis.call('HINCRBY', KEYS[1], 'accepted', ARGV[4])
local refused = redis.call('HINCRBY', KEYS[1], 'refused', ARGV[5])
local answered = redis.call('HINCRBY', KEYS[1], 'answered', ARGV[13])
if arg[7] > 0 then redis.call('HSET', KEYS[1], 'told', ARGV[7]) end
local told = redis.call('HGET', KEYS[1], 'told') or 0
for i = 1, 3 do redis.call('EXPIRE', KEYS[i], EXPIRE) end

local answer = {now, tat, interval, slots, resume, ceiling, force, rate, climb, told, leads and 1 or 0,
                accepted, refused, workers, present, answered}
for i = 1, #answer do answer[i] = string.format('%.17g', answer[i]) end
return answer
"""

LEAVE: Final = """#!lua flags=allow-oom
-- Takes a worker out that goes, so that its share is free at once. KEYS: as above. ARGV: worker.
redis.call('ZREM', KEYS[2], ARGV[1])
redis.call('ZREM', KEYS[3], ARGV[1])
if redis.call('HGET', KEYS[1], 'leader') == ARGV[1] then redis.call('HDEL', KEYS[1], 'leader', 'leads_until') end
"""

COUNT: Final = """#!lua flags=allow-oom
-- Counts rows if the hour has room for them, and says in how many seconds to ask again if not.
-- The minute an hour ago counts as a whole: no hour ever has more.
-- KEYS: rows by minute. ARGV: rows, most.
local now = redis.call('TIME')[1]
local minute = math.floor(now / 60)
local sum, oldest = 0, minute
local counts = redis.call('HGETALL', KEYS[1])
for i = 1, #counts, 2 do
  local of = tonumber(counts[i])
  if of < minute - 60 then
    redis.call('HDEL', KEYS[1], counts[i])
  else
    sum, oldest = sum + counts[i + 1], math.min(oldest, of)
  end
end
if sum + ARGV[1] > tonumber(ARGV[2]) then return (oldest + 61) * 60 - now end
redis.call('HINCRBY', KEYS[1], minute, ARGV[1])
redis.call('EXPIRE', KEYS[1], 3720)
return 0
"""
