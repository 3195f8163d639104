#!lua flags=allow-oom
-- One run on one stripe: a batch of operations, one after the other, at one
-- instant. The same as `Stripe::run` of crates/shards/src/machine, which says
-- what each operation means; here it says how it is done in Redis.
--
-- KEYS  guard, catalog, index; then nine of each shard that the batch names:
--       h header, r records, t returns, a stock changes, b buyers, and the
--       queues e expiry, s sorted, d ended, u unarrived.
-- ARGV  1: the call: {mode, store id, incarnation, known adoption, known
--          releases, time, most skew, full, freeze id, by mode: ...}; of
--          operations 10 to 16 tell which kinds they are, 17 is the channel
--       2: the operations, flat: {word, operand, ..., word, operand, ...}; equal
--          Reserves of records that follow each other are one word
--       3...: for each shard the records that the batch names, 24 bytes each:
--          request, buyer. Operations call them by their place in it.
--       All of them, and the reply, are arrays in MessagePack without nil.
-- Reply {'ran', SEEN, time, answers..., NEWS...}, where SEEN is adoption,
--       incarnation, seq, releases, log or false, and NEWS nothing, or {entries
--       that were written}, {items of which units were put on sale}, and true if
--       others were told, why not if they could not be, or false; {'taken', SEEN};
--       {'guard', identity, frozen, SEEN}; or, and then nothing was done,
--       {'fenced', SEEN}, {'clock', master's time}, {'none'}, {'foreign', store id}.
--       An answer is that of one operation, or of the next so many of them where
--       'alike' and their number stand before it.
-- Says on the channel, if others have to hear of it, {1, {entries that were
--       written}, {items of which units were put on sale where there were none}}.
--
-- What stands from `rule NAME` to `else` in comments is a rule of src/rules.rs;
-- what follows `else` takes its place where tests switch the rule off.
--
-- Files, in this order: begin (guard, modes), shard (the working set of a
-- shard), lapse (what falls due), store (what is written), after, stock, pages,
-- catalog (what is rare: its functions are only made when the batch has such an
-- operation, since each run makes its functions anew), fold (the batch).
--
-- A value is read once, changed in the working set, and written once, at the
-- end. All that can fail (a key of another type) fails before the first write,
-- since a script that fails is not undone. (Listing writes what is pending
-- first; by then every key was read.)
-- Numbers are doubles, exact up to 2^53; counters stay below it, and arguments
-- come cut to it. Instants are packed in 6 bytes, quantities in 3.
-- Lua's < compares strings by locale: never used here.

local call, min, max = redis.call, math.min, math.max
local pack, parse = struct.pack, struct.unpack
local sub, byte = string.sub, string.byte
local encode, decode = cmsgpack.pack, cmsgpack.unpack

local TOTAL_MAX = 9007199254740991

local arg = decode(ARGV[1])
local mode = arg[1]
local full, freeze_id = arg[8], arg[9]

-- The guard's log of adoptions keeps so many.
local LOG_MAX = 16
-- How long a stripe that was taken over does not serve.
local SETTLE_MS = --[[rule pause-after-adoption]]1000--[[else 0]]

local guard = redis.pcall('HMGET', KEYS[1], 'id', 'inc', 'n', 'from', 'rel', 'seq', 'time', 'frz',
  'items', 'format')
if guard.err and sub(guard.err, 1, 9) ~= 'WRONGTYPE' then return guard end
local identity = not guard.err and guard[1]

if not identity then
  if mode ~= 'init' then return encode({'none'}) end
elseif mode ~= 'read' and sub(identity, 1, 16) ~= arg[2] then
  return encode({'foreign', sub(identity, 1, 16)})
elseif guard[10] ~= '1' then
  return redis.error_reply('ERR holdfast: this store has the format ' .. tostring(guard[10]))
end

local number, serves_from, releases = tonumber(guard[3]), tonumber(guard[4]), tonumber(guard[5])
local seq, now = tonumber(guard[6]), arg[6]

-- Before the fence: what may not be taken over because of it is not told to be
-- on its way.
--[[rule master-knows-the-time]]
if mode == 'ops' then
  local clock = call('TIME')
  local master = clock[1] * 1000 + math.floor(clock[2] / 1000)
  if math.abs(master - now) > arg[7] then return encode({'clock', master}) end
end
--[[else]]

if mode ~= 'ops' or guard[2] ~= arg[3] then
  local function seen(what, with_log)
    local log = with_log and call('HGET', KEYS[1], 'log')
    what[#what + 1], what[#what + 2], what[#what + 3] = number, guard[2], seq
    what[#what + 1], what[#what + 2] = releases, log or false
    return encode(what)
  end

  if mode == 'read' then return seen({'guard', identity, guard[8] ~= ''}, true) end
  if mode == 'init' and identity then return seen({'taken'}, number > arg[4]) end
  if mode == 'ops' or mode == 'adopt' and number ~= arg[10] then
    return seen({'fenced'}, true)
  end

  local clock = call('TIME')
  local master = clock[1] * 1000 + math.floor(clock[2] / 1000)
  if math.abs(master - now) > arg[7] then return encode({'clock', master}) end

  if mode == 'adopt' then
    local log = decode(call('HGET', KEYS[1], 'log'))
    while #log > LOG_MAX * 3 - 3 do table.remove(log, 1) end
    number, now = number + 1, max(now, tonumber(guard[7]))
    log[#log + 1], log[#log + 2], log[#log + 3] = number, arg[3], seq
    seq, guard[2] = seq + 1, arg[3]
    call('HSET', KEYS[1], 'inc', arg[3], 'n', number, 'log', encode(log), 'from',
      now + SETTLE_MS, 'seq', seq, 'time', now)
    return seen({'taken'}, number > arg[4])
  end

  -- Init. What is there of a catalog is counted once it is released.
  local frozen = arg[11] and encode({freeze_id, now, arg[11]}) or ''
  number, seq, releases, guard[2] = 1, 1, 0, arg[3]
  call('DEL', KEYS[1])
  call('HSET', KEYS[1], 'id', arg[10], 'inc', arg[3], 'n', 1, 'log', encode({1, arg[3], 0}),
    'from', now, 'rel', 0, 'seq', 1, 'time', now, 'frz', frozen, 'items', 0, 'format', 1)
  return seen({'taken'}, number > arg[4])
end

seq = seq + 1
now = max(now, tonumber(guard[7]))
local now6 = pack('>I6', now)
-- {id, since, reason} while the stripe is frozen.
local frozen = guard[8] ~= '' and decode(guard[8])
local was_frozen, was_releases, items = frozen, releases, tonumber(guard[9])
local serving = now >= serves_from

local ops = decode(ARGV[2])
local out = {'ran', number, guard[2], seq, releases, false, now}
if number > arg[4] then out[6] = call('HGET', KEYS[1], 'log') end
local n = 7
-- The operation's number, so that each raises a revision once.
local turn = 0
-- Queue entries that this batch may still work off (BATCH_STEPS_MAX).
local steps = 256
