-- What falls due: holds past their deadline, reservations past their retention.

-- The entry at a queue's head; nil if it is empty. Reads ever more at a time.
local function head(q)
  local at = q.popped + 1
  if at > q.len then return q[at - q.len] end
  local stored = q.stored
  if at > q.read then
    local more = call('LRANGE', q.name, q.read, q.read + min(64, 4 * q.read))
    if not stored then
      stored = more
      q.stored = stored
    else
      for j = 1, #more do stored[q.read + j] = more[j] end
    end
    q.read = #stored
  end
  return stored[at]
end

-- The place of a record in the working set; reads it, and those of the entries
-- from `from` to `to` with it.
local function place_of(shard, key, entries, from, to)
  local places, keys = shard.places, shard.keys
  if not places then
    places = {}
    for at = 1, #keys do places[keys[at]] = at end
    shard.places = places
  end
  if not places[key] then
    local ask, m, known = {}, 0, #keys
    for at = from, to do
      local other = sub(entries[at], 7)
      if not places[other] then
        m = m + 1
        ask[m], keys[known + m], places[other] = other, other, known + m
      end
    end
    local got = call('HMGET', KEYS[shard.k + 2], unpack(ask))
    for at = 1, m do shard.old[known + at] = got[at] end
  end
  return places[key]
end

-- The record of an entry at a queue's head.
local function record_at(shard, q, entry)
  local at = place_of(shard, sub(entry, 7), q.stored, q.popped + 1, q.read)
  local record = shard.new[at]
  if record == nil then record = shard.old[at] end
  return record, at
end

-- The first stored entry of the sorted queue that is still in it. What this
-- batch put in is never due: a hold lasts longer than a batch.
local function sorted_head(shard)
  if shard.size[6] == 0 then return nil end
  local list, at, sorting = shard.sorted, shard.sorted_at or 1, shard.sorting
  if not list then
    list = {}
    shard.sorted = list
  end
  while true do
    if not list[at] then
      local more = call('ZRANGE', KEYS[shard.k + 7], #list, #list + min(64, 4 * #list))
      if #more == 0 then return nil end
      for j = 1, #more do list[#list + 1] = more[j] end
    end
    shard.sorted_at = at
    if not (sorting and sorting[list[at]] == false) then return list[at], at end
    at = at + 1
  end
end

-- The deadline of a hold has passed: that is its end, whenever it is noticed.
local function expire_one(shard, at, record)
  local quantity = parse('>I3', record, 2)
  shard.held = shard.held - quantity
  gain(shard, quantity)
  uncount(shard, sub(shard.keys[at], 17), quantity)
  return finish(shard, at, record, '\3', sub(record, 14))
end

-- Forgets a reservation and its returns; what was sold stays counted.
local function purge_one(shard, at, record)
  touch(shard)
  if byte(record) % 8 == 1 then
    shard.purged = shard.purged + parse('>I3', record, 2) - parse('>I3', record, 5)
  end
  shard.new[at] = false
  if shard.size[2] > 0 or shard.returns then
    shard.returns, shard.returned = shard.returns or {}, shard.returned or {}
    shard.returns[shard.keys[at]], shard.returned[shard.keys[at]] = false, true
  end
end

-- Works off the next due entry of the expiry queues: 1 if it was live, 0 if it
-- was stale, nil if none is due. dry: only tells.
local function expire_next(shard, dry)
  local q = shard.e
  local entry = head(q)
  if entry and parse('>I6', entry) <= now then
    if dry then return 1 end
    local record, at = record_at(shard, q, entry)
    q.popped, shard.dirty = q.popped + 1, true
    if record and byte(record) == 0 and sub(record, 14) == sub(entry, 1, 6) then
      expire_one(shard, at, record)
      return 1
    end
    return 0
  end
  local from
  entry, from = sorted_head(shard)
  if not entry or parse('>I6', entry) > now then return nil end
  if dry then return 1 end
  local at = place_of(shard, sub(entry, 7), shard.sorted, from, #shard.sorted)
  local record = shard.new[at]
  if record == nil then record = shard.old[at] end
  if not record then
    -- Lost, and the loss accepted: it must not block those behind it.
    sort_in(shard, entry, false)
    shard.dirty = true
    return 0
  end
  expire_one(shard, at, record)
  return 1
end

-- Gives back all that lapsed, as far as the batch's steps go; false if more is
-- due: then a no would not be true. Looks once in a batch in vain.
local function expire_due(shard)
  if shard.idle then return true end
  for _ = 1, steps do
    if not expire_next(shard, false) then
      shard.idle = true
      return true
    end
    steps = steps - 1
  end
  shard.idle = not expire_next(shard, true)
  return shard.idle
end

-- The record as it is now: what lapsed of it is carried out first; false if it
-- is not there any more.
local function settle(shard, at)
  local record = shard.new[at]
  if record == nil then record = shard.old[at] end
  if not record then return false end
  if byte(record) % 16 == 0 then
    if parse('>I6', record, 14) > now then return record end
    record = expire_one(shard, at, record)
  end
  local keep = shard.retention
  if sub(record, 2, 4) == '\0\0\0' then keep = UNARRIVED_RETENTION_MS end
  if parse('>I6', record, 14) + keep <= now then
    purge_one(shard, at, record)
    return false
  end
  return record
end

-- Why so many more cannot be had by this buyer, and up to three numbers about
-- it; nil if they can. All that lapsed is given back before either says no.
local function refusal(shard, buyer, quantity)
  local limited, most = shard.limited, shard.buyer_max
  if shard.available >= quantity
    and not (limited and units_of(shard, buyer) + quantity > most) then
    return nil
  end
  local all_given_back = expire_due(shard)
  if limited then
    local has = units_of(shard, buyer)
    if has + quantity > most then
      if all_given_back then return 'over', has, most end
      return 'again'
    end
  end
  if shard.available >= quantity then return nil end
  if all_given_back then return 'short', quantity, shard.available, shard.held end
  return 'again'
end

-- Takes units off sale for this buyer.
local function take(shard, buyer, quantity)
  shard.available = shard.available - quantity
  if shard.counts then set_units(shard, buyer, units_of(shard, buyer) + quantity) end
end

-- A claim ends with the decision, whatever that is.
local function end_claim(shard, claimant)
  if shard.claimant == claimant then
    touch(shard)
    shard.claimant = false
  end
end
