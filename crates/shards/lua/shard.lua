-- The working set of a shard: its header by name, and of the rest what the
-- batch needs. `old` has records as they are stored, `new` those that the batch
-- has changed (false: gone), both by their place in `keys`.
--
-- A record is 19 bytes: state + 8 if it was confirmed late + 16 if its entry is
-- in the sorted queue (1), quantity (3), returned (3), granted (6), until (6).
-- States: 0 held, 1 confirmed, 2 cancelled, 3 expired, 4 lost.
-- A queue's entry is 30 bytes: until (6), the record's key (24); so it is live
-- if it begins as its record ends.

local UNARRIVED_RETENTION_MS = 900000

local shards = {}

-- k: the place in KEYS before the shard's own. f: the header as stored: version,
-- revision; settings (3 to 12); counters (13 to 22); claim (23 to 25); sizes of
-- r t a b e s d u (26 to 33); the last deadline in the expiry queue.
local function make(k, keys, f, size)
  return {
    k = k, keys = keys, here = true, old = {}, new = {}, size = size, turn = 0, dirty = false,
    -- Of the buyers in `keys` those up to here have been read.
    counted = 0, units = {},
    e = {name = KEYS[k + 6], len = size[5], popped = 0, n = 0, read = 0},
    version = f[1], revision = f[2],
    selling = f[3], sale_start = f[4], sale_end = f[5], hold_ttl = f[6], max_hold = f[7],
    at_once = f[8], counts = f[9], buyer_max = f[10], units_max = f[11], retention = f[12],
    limited = f[9] and f[10] > 0,
    supply = f[13], available = f[14], held = f[15], sold = f[16], discarded = f[17],
    purged = f[18], gained = f[19], surplus = f[20], sent = f[21], received = f[22],
    claimant = f[23], claim_since = f[24], claim_until = f[25],
    last = f[34],
  }
end

-- Reads a shard; where it has other sizes than its header says, `lost` tells by
-- how many entries.
local function read_shard(place)
  local k, keys, shard = 9 * place - 6, decode(ARGV[place + 2]), nil
  local header = call('GET', KEYS[k + 1])
  if header then
    local f = decode(header)
    --[[rule sizes-are-checked]]
    local size = {
      call('HLEN', KEYS[k + 2]), call('HLEN', KEYS[k + 3]), call('HLEN', KEYS[k + 4]),
      call('HLEN', KEYS[k + 5]), call('LLEN', KEYS[k + 6]), call('ZCARD', KEYS[k + 7]),
      call('LLEN', KEYS[k + 8]), call('LLEN', KEYS[k + 9]),
    }
    --[[else local size = {unpack(f, 26, 33)} ]]
    shard = make(k, keys, f, size)
    for part = 1, 8 do
      if size[part] ~= f[25 + part] then
        shard.lost = shard.lost or {0, 0, 0, 0, 0, 0, 0, 0}
        shard.lost[part] = f[25 + part] - size[part]
      end
    end
    if size[1] > 0 and #keys > 0 then
      shard.old = call('HMGET', KEYS[k + 2], unpack(keys))
    end
  else
    shard = {k = k, keys = keys, here = false}
  end
  shards[place] = shard
  return shard
end

local function touch(shard)
  if shard.turn ~= turn then
    shard.turn, shard.revision, shard.dirty = turn, shard.revision + 1, true
  end
end

-- Some shard has a `gain`: 1, units were put on sale; 2, where there were none.
local gains = false

-- Puts units on sale. What was ever gained wraps at 2^53, where numbers end.
local function gain(shard, units)
  if units > 0 and shard.gain ~= 2 then
    shard.gain, gains = shard.available == 0 and 2 or 1, true
  end
  shard.available = shard.available + units
  if shard.gained > TOTAL_MAX - units then
    shard.gained = shard.gained - (TOTAL_MAX - units) - 1
  else
    shard.gained = shard.gained + units
  end
end

-- Units of a buyer. Reads those of all records that are known in one go.
local function units_of(shard, buyer)
  local units = shard.units
  if units[buyer] or shard.size[4] == 0 then return units[buyer] or 0 end
  local ask, m, keys = {buyer}, 1, shard.keys
  units[buyer] = 0
  for at = shard.counted + 1, #keys do
    local other = sub(keys[at], 17)
    if not units[other] then
      m = m + 1
      units[other], ask[m] = 0, other
    end
  end
  shard.counted = #keys
  local got = call('HMGET', KEYS[shard.k + 5], unpack(ask))
  for at = 1, m do
    if got[at] then units[ask[at]] = tonumber(got[at]) end
  end
  return units[buyer]
end

local function set_units(shard, buyer, units)
  shard.units[buyer] = units
  shard.recounted = shard.recounted or {}
  shard.recounted[buyer] = true
end

-- These units are not the buyer's any more; after an accepted loss it may know
-- of fewer.
local function uncount(shard, buyer, units)
  local has = units_of(shard, buyer)
  if has > 0 then set_units(shard, buyer, max(0, has - units)) end
end

-- A queue: its stored part, then the entries that this batch pushed (1 to n).
local function queue(shard, part)
  local q = shard[part]
  if not q then
    local at = part == 'd' and 7 or 8
    q = {name = KEYS[shard.k + 1 + at], len = shard.size[at], popped = 0, n = 0, read = 0}
    shard[part] = q
  end
  return q
end

local function sort_in(shard, entry, is_in)
  shard.sorting = shard.sorting or {}
  shard.sorting[entry] = is_in
end

-- Ends a record, or ends it differently; the new state is one byte.
local function finish(shard, at, record, state, until6)
  local key = shard.keys[at]
  if byte(record) >= 16 then sort_in(shard, sub(record, 14) .. key, false) end
  local arrived = sub(record, 2, 4) ~= '\0\0\0'
  local q = queue(shard, arrived and 'd' or 'u')
  q.n = q.n + 1
  q[q.n] = until6 .. key
  record = state .. sub(record, 2, 13) .. until6
  shard.new[at] = record
  touch(shard)
  return record
end

-- Says a word about a record: ended ones with the time from when on they are
-- not found.
local function show(shard, word, record)
  out[n + 1], out[n + 2] = word, record
  n = n + 2
  if byte(record) % 16 ~= 0 then
    local keep = shard.retention
    if sub(record, 2, 4) == '\0\0\0' then keep = UNARRIVED_RETENTION_MS end
    n = n + 1
    out[n] = parse('>I6', record, 14) + keep
  end
end

local function reading(shard)
  local all = {
    shard.version, shard.revision, shard.selling, shard.sale_start, shard.sale_end,
    shard.hold_ttl, shard.max_hold, shard.at_once, shard.counts, shard.buyer_max,
    shard.units_max, shard.retention, shard.supply, shard.available, shard.held, shard.sold,
    shard.discarded, shard.purged, shard.gained, shard.surplus, shard.sent, shard.received,
  }
  for at = 1, #all do out[n + at] = all[at] end
  n = n + #all
end
