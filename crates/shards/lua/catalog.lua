-- The catalog, and the stripe as a whole.
--
-- An entry is stored as {generation, life, version, spread, selling, created,
-- updated, deletion (0 none, 1, 2 with force), former selling, terms, placement,
-- creation}. The last three are the server's own bytes; `selling` stands over
-- that of the terms. The creation is what a repeated create must have the same.
-- Lives: 0 creating, 1 live, 2 deleting, 3 removing.

-- `written`: the entries that this batch has written, a set, once there are any.
local store_catalog, written

if arg[15] then
  local GENERATION, LIFE, VERSION, SPREAD, SELLING, CREATED = 1, 2, 3, 4, 5, 6
  local UPDATED, DELETION, FORMER, TERMS, CREATION = 7, 8, 9, 10, 12

  local entries, changed = {}, {}

  local function entry_of(item)
    local entry = entries[item]
    if entry == nil then
      local stored = call('HGET', KEYS[2], item)
      entry = stored and decode(stored)
      entries[item] = entry
    end
    return entry
  end

  local function say(word, entry)
    out[n + 1], out[n + 2] = word, encode(entry)
    n = n + 2
  end

  local function say_not_found()
    n = n + 1
    out[n] = 'no_entry'
  end

  -- The entry of this life of an item; says so if there is none.
  local function life_of(p)
    local entry = entry_of(ops[p + 1])
    if entry and entry[GENERATION] == ops[p + 2] then return entry end
    say_not_found()
    return nil
  end

  local function next_version(entry)
    entry[VERSION], entry[UPDATED] = entry[VERSION] + 1, now
  end

  -- begin_create: item, the new entry, its creation, which is also in it.
  whole.begin_create = function(p)
    local item, new = ops[p + 1], ops[p + 2]
    local there = entry_of(item)
    if there then
      return say(there[CREATION] == new[CREATION] and 'entry' or 'exists', there)
    end
    if full then
      n = n + 1
      out[n] = 'full'
      return
    end
    new[CREATED], new[UPDATED] = now, now
    entries[item], changed[item] = new, true
    say('entry', new)
  end

  whole.finish_create = function(p)
    local entry = life_of(p)
    if not entry then return end
    if entry[LIFE] == 0 then
      entry[LIFE], changed[ops[p + 1]] = 1, true
    end
    say('entry', entry)
  end

  -- update: item, generation, expected, terms, their selling.
  whole.update = function(p)
    local entry = life_of(p)
    if not entry then return end
    if entry[VERSION] ~= ops[p + 3] or entry[LIFE] ~= 1 then return say('mismatch', entry) end
    entry[TERMS], entry[SELLING] = ops[p + 4], ops[p + 5]
    next_version(entry)
    changed[ops[p + 1]] = true
    say('entry', entry)
  end

  whole.finish_update = function(p)
    local entry, version = life_of(p), ops[p + 3]
    if not entry then return end
    if version > entry[SPREAD] and version <= entry[VERSION] then
      entry[SPREAD], changed[ops[p + 1]] = version, true
    end
    say('entry', entry)
  end

  -- begin_delete: item, generation, force, expected or false.
  whole.begin_delete = function(p)
    local entry, force, expected = life_of(p), ops[p + 3], ops[p + 4]
    if not entry then return end
    if entry[DELETION] > 0 then
      if force and entry[DELETION] == 1 then
        entry[DELETION], changed[ops[p + 1]] = 2, true
      end
      return say('entry', entry)
    end
    if entry[LIFE] ~= 1 or expected and expected ~= entry[VERSION] then
      return say('mismatch', entry)
    end
    entry[DELETION], entry[FORMER] = force and 2 or 1, entry[SELLING]
    entry[LIFE], entry[SELLING] = 2, 3
    next_version(entry)
    changed[ops[p + 1]] = true
    say('entry', entry)
  end

  -- decide_delete: item, generation, version, remove.
  whole.decide_delete = function(p)
    local entry, version, remove = life_of(p), ops[p + 3], ops[p + 4]
    if not entry then return end
    local undecided = entry[LIFE] == 2 and entry[VERSION] == version
    -- Before all shards obey, one of them may still grant; and somebody may have
    -- asked for force since.
    if not undecided or remove and entry[SPREAD] < version
      or not remove and entry[DELETION] == 2 then
      return say('mismatch', entry)
    end
    if remove then
      entry[LIFE] = 3
    else
      entry[SELLING] = entry[FORMER]
      entry[DELETION], entry[FORMER], entry[LIFE] = 0, 0, 1
      next_version(entry)
    end
    changed[ops[p + 1]] = true
    say('entry', entry)
  end

  whole.finish_delete = function(p)
    local entry = life_of(p)
    if not entry then return end
    if entry[LIFE] ~= 3 then return say('entry', entry) end
    entries[ops[p + 1]], changed[ops[p + 1]] = false, true
    say_not_found()
  end

  whole.get = function(p)
    local entry = entry_of(ops[p + 1])
    if entry then return say('entry', entry) end
    say_not_found()
  end

  -- Writes the entries that were changed, and counts them.
  function store_catalog()
    local values, puts, gone = {}, {}, {}
    for item in pairs(changed) do
      written = written or {}
      written[item] = true
      values[item] = entries[item] and encode(entries[item])
      if values[item] then
        puts[#puts + 1], puts[#puts + 2] = 0, item
      else
        gone[#gone + 1] = item
      end
    end
    items = items + write_hash(KEYS[2], changed, values)
    if #puts > 0 then call('ZADD', KEYS[3], unpack(puts)) end
    if #gone > 0 then call('ZREM', KEYS[3], unpack(gone)) end
    changed = {}
  end

  -- Up to `limit` ids after this one. Of a frozen stripe the index may be what
  -- is missing.
  local function ids_after(after, limit)
    if call('HLEN', KEYS[2]) == call('ZCARD', KEYS[3]) then
      return call('ZRANGEBYLEX', KEYS[3], after and '(' .. after or '-', '+', 'LIMIT', 0, limit)
    end
    local all, ids = call('HKEYS', KEYS[2]), {}
    table.sort(all, is_before)
    for at = 1, #all do
      if #ids < limit and (not after or is_before(after, all[at])) then ids[#ids + 1] = all[at] end
    end
    return ids
  end

  -- The entries after an id, as they are stored: what is pending is written
  -- before.
  whole.items = function(p)
    local after, limit = ops[p + 1], ops[p + 2]
    if next(changed) ~= nil then store_catalog() end
    local ids = ids_after(after, limit + 1)
    n = n + 2
    local count_at, count = n, 0
    out[n - 1] = 'page'
    for from = 1, min(limit, #ids), 1000 do
      local to = min(limit, #ids, from + 999)
      local stored = call('HMGET', KEYS[2], unpack(ids, from, to))
      for at = from, to do
        local entry = stored[at - from + 1]
        if entry then
          out[n + 1], out[n + 2] = ids[at], entry
          n, count = n + 2, count + 1
        end
      end
    end
    out[count_at], out[n + 1] = count, #ids > limit
    n = n + 1
  end
  whole.entries = whole.items

  local function visited()
    if frozen then
      out[n + 1], out[n + 2], out[n + 3], out[n + 4] = 'visited', unpack(frozen)
      n = n + 4
    else
      out[n + 1], out[n + 2] = 'visited', false
      n = n + 2
    end
  end

  whole.freeze = function(p)
    frozen = frozen or {ops[p + 1], now, ops[p + 2]}
    visited()
  end

  -- The releases that servers know of count, whatever this guard lost: a loss
  -- before a release is accepted.
  whole.release = function(p)
    if frozen and frozen[1] ~= ops[p + 1] then
      out[n + 1], out[n + 2], out[n + 3], out[n + 4] = 'other_freeze', unpack(frozen)
      n = n + 4
      return
    end
    if frozen then
      -- What comes then in this batch may write at once: so all is read before.
      for place = 1, (#KEYS - 3) / 9 do
        if not shards[place] then read_shard(place) end
      end
      frozen, releases = false, max(releases, arg[5]) + 1
      -- What is there of the catalog is what has to be there.
      items = call('HLEN', KEYS[2])
      if items ~= call('ZCARD', KEYS[3]) then
        local all = call('HKEYS', KEYS[2])
        call('DEL', KEYS[3])
        for at = 1, #all do call('ZADD', KEYS[3], 0, all[at]) end
      end
    end
    visited()
  end
end
