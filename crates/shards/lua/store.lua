-- What is written. A batch of 128 operations and 256 steps changes fewer parts
-- than Lua's stack has room for arguments. The number of entries is told by the
-- answers, so that the header's sizes are what is there.

-- Writes the fields of a hash that are in `changed`: those without a value (or
-- with none left) go. How many more there are now.
local function write_hash(name, changed, values)
  local puts, m, gone, g = {}, 0, {}, 0
  for field in pairs(changed) do
    local value = values[field]
    if value and value ~= 0 then
      puts[m + 1], puts[m + 2] = field, value
      m = m + 2
    else
      g = g + 1
      gone[g] = field
    end
  end
  local more = 0
  if m > 0 then more = call('HSET', name, unpack(puts)) end
  if g > 0 then more = more - call('HDEL', name, unpack(gone)) end
  return more
end

local function write_queue(shard, part, size_at)
  local q = shard[part]
  if not q then return end
  local popped, len = q.popped, q.len
  if popped > 0 and len > 0 then
    call('LTRIM', q.name, popped, -1)
    shard.size[size_at] = max(0, len - popped)
  end
  local first = max(1, popped - len + 1)
  if first <= q.n then
    shard.size[size_at] = call('RPUSH', q.name, unpack(q, first, q.n))
  end
  -- Read anew, should the batch go on.
  shard[part] = {name = q.name, len = shard.size[size_at], popped = 0, n = 0, read = 0}
end

local function write_sorted(shard)
  local puts, m, gone, g = {}, 0, {}, 0
  for entry, is_in in pairs(shard.sorting) do
    if is_in then
      puts[m + 1], puts[m + 2] = parse('>I6', entry), entry
      m = m + 2
    else
      g = g + 1
      gone[g] = entry
    end
  end
  local name, more = KEYS[shard.k + 7], 0
  if m > 0 then more = call('ZADD', name, unpack(puts)) end
  if g > 0 then more = more - call('ZREM', name, unpack(gone)) end
  shard.size[6] = shard.size[6] + more
  shard.sorting, shard.sorted, shard.sorted_at = nil, nil, nil
end

local function unlink(k)
  call('UNLINK', KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], KEYS[k + 4], KEYS[k + 5], KEYS[k + 6],
    KEYS[k + 7], KEYS[k + 8], KEYS[k + 9])
end

-- Writes all of a shard but its header.
local function store(shard)
  local k, size = shard.k, shard.size
  if shard.unlink then
    unlink(k)
    shard.unlink = false
  end
  local keys, old, new = shard.keys, shard.old, shard.new
  if next(new) ~= nil then
    local puts, m, gone, g = {}, 0, {}, 0
    for at = 1, #keys do
      local record = new[at]
      if record then
        puts[m + 1], puts[m + 2] = keys[at], record
        m = m + 2
        old[at] = record
      elseif record == false then
        g = g + 1
        gone[g] = keys[at]
        old[at] = false
      end
    end
    if m > 0 then size[1] = size[1] + call('HSET', KEYS[k + 2], unpack(puts)) end
    if g > 0 then size[1] = size[1] - call('HDEL', KEYS[k + 2], unpack(gone)) end
    shard.new = {}
  end
  if shard.returned then
    size[2] = size[2] + write_hash(KEYS[k + 3], shard.returned, shard.returns)
    shard.returned = nil
  end
  if shard.changes then
    size[3] = size[3] + write_hash(KEYS[k + 4], shard.changes, shard.changes)
  end
  if shard.recounted then
    size[4] = size[4] + write_hash(KEYS[k + 5], shard.recounted, shard.units)
    shard.recounted = nil
  end
  write_queue(shard, 'e', 5)
  if shard.sorting then write_sorted(shard) end
  write_queue(shard, 'd', 7)
  write_queue(shard, 'u', 8)
end

local function write_header(shard)
  local size, lost = shard.size, shard.lost
  if lost then
    -- What is missing stays missing until it is accepted.
    for part = 1, 8 do size[part] = max(0, size[part] + lost[part]) end
  end
  call('SET', KEYS[shard.k + 1], encode({
    shard.version, shard.revision, shard.selling, shard.sale_start, shard.sale_end,
    shard.hold_ttl, shard.max_hold, shard.at_once, shard.counts, shard.buyer_max,
    shard.units_max, shard.retention, shard.supply, shard.available, shard.held, shard.sold,
    shard.discarded, shard.purged, shard.gained, shard.surplus, shard.sent, shard.received,
    shard.claimant, shard.claim_since, shard.claim_until,
    size[1], size[2], size[3], size[4], size[5], size[6], size[7], size[8], shard.last,
  }))
end
